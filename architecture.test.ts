import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { describe, expect, it } from 'vitest'

/**
 * What the layout promises, as a table: only `pkcs11/` touches the HSM; every key use passes `policies/gate.ts`; features do not know each other;
 * the service does not know the programs of the other side.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'core': [],
  'policies': ['core'],
  'pkcs11': ['core', 'policies'],
  'kms': ['core', 'policies', 'pkcs11'],
  'card-personalization': ['core', 'policies', 'pkcs11'],
  'attestation': ['core', 'policies', 'pkcs11'],
  'server': ['core', 'policies', 'pkcs11', 'kms', 'card-personalization', 'attestation'],
  // Programs that start from the service's command line.
  'server/cli': ['core', 'policies', 'pkcs11', 'kms', 'card-personalization', 'attestation', 'clients'],
  'clients': ['core', 'policies', 'kms', 'card-personalization', 'attestation'],
  // Benchmarks take the service apart: they may import anything, harnesses too.
  'bench': ['core', 'policies', 'pkcs11', 'kms', 'card-personalization', 'attestation', 'server', 'clients'],
}

/** From outside, a folder is its `index.ts` files and these. `core/` is open. */
const DOORS: readonly RegExp[] = [
  /(^|\/)index\.ts$/,
  /^core\//,
  /^policies\/(permit|caller|operation|gate)\.ts$/,
  /^policies\/firewall\/(decide|parse|compile)\.ts$/,
  /^policies\/audit\/(log|merkle)\.ts$/,
  // The language of searches, which the command line writes.
  /^policies\/audit\/search\/(field|query-text)\.ts$/,
  /^pkcs11\/integrity\.ts$/,
  /^pkcs11\/(root-key-store|key-backup-store)(\.pg)?\.ts$/,
  /^pkcs11\/ceremonies\.ts$/,
]

/** `clients/` may open only pure files: what a vendor or an auditor needs to check the service's word without the service. */
const CLIENT_DOORS: readonly RegExp[] = [
  /^core\//,
  /^policies\/revisions\/activation\.ts$/,
  /^policies\/audit\/(entry|entry-digest|merkle|note|checkpoint|cosignature|witness-policy|witness-request|tiles|tile-path|tile-source|tile-tree|group|verify|verify-export|verify-tiles|consistency|proof|proof-file|export|evidence\/pack)\.ts$/,
  /^card-personalization\/(delivery-row|delivery-format|delivery|imsi|inp[a-z-]*|fault-list)\.ts$/,
  /^attestation\/(authentication|evidence|result|imei|cbor|cose)\.ts$/,
  /^kms\/keys\/statement\.ts$/,
]

/** Package -> the files that may import it. */
const PACKAGES: Readonly<Record<string, RegExp>> = {
  'graphene-pk11': /^pkcs11\//,
  'pkcs11js': /^pkcs11\//,
  'knex': /\.pg\.ts$|^server\//,
  'pg': /\.pg\.ts$|\.pg\.test\.ts$|\/testing\/|^server\//,
  'koa': /^server\//,
  '@koa/router': /^server\//,
  'pkijs': /^kms\/certificates\/|^card-personalization\/|^attestation\/|^clients\//,
  'asn1js': /^kms\/certificates\/|^card-personalization\/|^attestation\/|^clients\//,
  '@peculiar/webcrypto': /^clients\//,
  'node-forge': /^clients\//,
  'autocannon': /^bench\//,
  '@noble/hashes': /^clients\/browser\//,
}

/** Exported name -> the files that may import it. */
const NAMES: Readonly<Record<string, RegExp>> = {
  newPermit: /^policies\/gate\.ts$/,
  expirePermit: /^policies\/gate\.ts$/,
  sqlOf: /\.pg\.ts$/,
  // Keys in clear. The TLS listener's is the one that the service itself holds.
  createPrivateKey: /^pkcs11\/|^clients\/|^server\/tls-identity\.ts$/,
  generateKeyPairSync: /^pkcs11\/|^clients\/|^bench\/|^server\/tls-identity\.ts$/,
  createSecretKey: /^pkcs11\/|^clients\//,
  createHmac: /^pkcs11\/|^clients\//,
  createCipheriv: /^pkcs11\/|^clients\//,
  createDecipheriv: /^pkcs11\/|^clients\//,
  createSign: /^pkcs11\/|^clients\//,
  privateDecrypt: /^pkcs11\/|^clients\//,
}

/** `pkcs11/child.ts` picks what a lane gets to see of it, and `pkcs11/pin.ts` reads a PIN from there. */
const READS_ENVIRONMENT = /^server\/config\.ts$|^server\/cli\/|^bench\/|^clients\/|^pkcs11\/(child|pin)\.ts$|-process\.ts$/

/** Tests and what only they use. They obey the table, but may read the environment, hold keys, open transactions, and borrow each other's harness. */
const isTest = (path: string): boolean => /\.(test|test-d|contract)\.ts$|(^|\/)testing\/|^server\/postgres\/test-/.test(path)
const isHarness = (path: string): boolean => /(^|\/)testing\/|^server\/postgres\/test-/.test(path)
/** They look at the whole from outside. */
const isEndToEnd = (path: string): boolean => path.endsWith('.e2e.test.ts') || path.startsWith('server/testing/')

interface File {
  /** From the root, with forward slashes. */
  readonly path: string
  readonly source: string
}

interface Import {
  readonly target: string
  readonly names: readonly string[]
}

/** Imports of all forms, also of types, and the modules that a worker or child is started from. */
function importsOf(source: string): Import[] {
  const code = source.replace(/\/\*[\s\S]*?\*\/|(^|\s)\/\/.*$/gm, '$1')
  const found: Import[] = []
  for (const [, clause = '', target = ''] of code.matchAll(/^\s*(?:import|export)\s+([\w\s{},*$]*?)\s*from\s*['"]([^'"]+)['"]/gm)) {
    found.push({ target, names: [...clause.matchAll(/[\w$]+/g)].map(([name]) => name) })
  }
  for (const pattern of [
    /^\s*import\s*['"]([^'"]+)['"]/gm,
    /\bimport\(\s*['"]([^'"]+)['"]/g,
    /\bnew URL\(\s*['"](\.[^'"]+\.[jt]s)['"],\s*import\.meta\.url/g,
  ]) {
    for (const [, target = ''] of code.matchAll(pattern)) found.push({ target, names: [] })
  }
  return found
}

const layerOf = (path: string): string => (path.startsWith('server/cli/') ? 'server/cli' : (path.split('/')[0] ?? ''))
const folderOf = (path: string): string => path.split('/')[0] ?? ''
const packageOf = (target: string): string => target.split('/', target.startsWith('@') ? 2 : 1).join('/')

/** Every breach of the tables, as a sentence. Pure. */
export function checkImports(files: readonly File[]): string[] {
  return files.filter(({ path }) => layerOf(path) in MAY_IMPORT && !isEndToEnd(path)).flatMap(checkFile)
}

function checkFile({ path, source }: File): string[] {
  const breaches = importsOf(source).flatMap(({ target, names }) => [...checkTarget(path, target), ...checkNames(path, names)])
  if (/\bprocess\.env\b/.test(source) && !READS_ENVIRONMENT.test(path) && !isTest(path)) breaches.push(`${path} reads the environment`)
  if (/\bnew Tx\(/.test(source) && !path.startsWith('policies/audit/') && !isTest(path)) breaches.push(`${path} opens a transaction`)
  return breaches
}

function checkTarget(path: string, target: string): string[] {
  if (target.startsWith('.')) return checkPath(path, normalize(join(dirname(path), target)).replaceAll('\\', '/'))
  if (target.startsWith('node:')) return []
  const name = packageOf(target)
  if (layerOf(path) === 'core' && !isTest(path)) return [`${path} imports the package ${name}: core/ stands alone`]
  const allowed = PACKAGES[name]
  return allowed === undefined || allowed.test(path) ? [] : [`${path} imports the package ${name}`]
}

function checkPath(path: string, target: string): string[] {
  const [from, to] = [folderOf(path), folderOf(target)]
  if (isHarness(target)) return isTest(path) || from === 'bench' ? [] : [`${path} imports the test harness ${target}`]
  if (from === to) return layerOf(path) === 'server' && layerOf(target) === 'server/cli' && !isTest(path) ? [`${path} imports the program ${target}`] : []
  // The service and the programs of the other side are tested against each other.
  if (isTest(path) && (from === 'clients' || to === 'clients')) return []
  if (!MAY_IMPORT[layerOf(path)]?.includes(to)) return [`${path} imports ${target}: ${layerOf(path)}/ must not know ${to}/`]
  if (from === 'bench') return []
  if (from === 'clients') return CLIENT_DOORS.some((door) => door.test(target)) ? [] : [`${path} imports ${target}, which is not one of the pure files`]
  return DOORS.some((door) => door.test(target)) || (layerOf(path) === 'server/cli' && to === 'clients')
    ? []
    : [`${path} imports ${target}, which is no door of ${to}/`]
}

function checkNames(path: string, names: readonly string[]): string[] {
  if (isTest(path))
    return names.filter((name) => (name === 'newPermit' || name === 'expirePermit') && !path.startsWith('policies/')).map((name) => `${path} imports ${name}`)
  return names.filter((name) => NAMES[name]?.test(path) === false).map((name) => `${path} imports ${name}`)
}

const ROOT = import.meta.dirname
const SKIPPED = new Set(['node_modules', 'dist', 'data', 'coverage'])

function listFiles(folder: string): File[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return entry.name.startsWith('.') || SKIPPED.has(entry.name) ? [] : listFiles(path)
    return /\.tsx?$/.test(entry.name) ? [{ path: relative(ROOT, path).replaceAll('\\', '/'), source: readFileSync(path, 'utf8') }] : []
  })
}

describe('architecture', () => {
  it('is as the tables say', () => {
    const files = listFiles(ROOT)
    expect(files.length).toBeGreaterThan(50)
    expect(checkImports(files)).toEqual([])
  })

  it('has every folder in the table', () => {
    const folders = new Set(listFiles(ROOT).map(({ path }) => folderOf(path)))
    const unknown = [...folders].filter((folder) => !(folder in MAY_IMPORT) && !folder.endsWith('.ts'))
    expect(unknown).toEqual([])
  })
})

describe('the check itself reports', () => {
  const planted: readonly (readonly [claim: string, path: string, source: string])[] = [
    ['core/ knowing anything', 'core/ids.ts', `import { perform } from '../policies/gate.ts'`],
    ['core/ with a package', 'core/ids.ts', `import { ulid } from 'ulid'`],
    ['policies/ knowing the HSM', 'policies/gate.ts', `import type { Hsm } from '../pkcs11/index.ts'`],
    ['pkcs11/ knowing a feature', 'pkcs11/hsm.ts', `import { kmsFeature } from '../kms/index.ts'`],
    ['a feature knowing another', 'kms/index.ts', `import { x } from '../card-personalization/index.ts'`],
    ['a feature knowing another, re-exported', 'attestation/index.ts', `export * from '../kms/index.ts'`],
    ['a feature knowing the server', 'kms/index.ts', `import { readConfig } from '../server/config.ts'`],
    ['the service knowing the clients', 'server/main.ts', `import { vendor } from '../clients/vendor.ts'`],
    ['the service knowing its command line', 'server/main.ts', `import { run } from './cli/gridseal.ts'`],
    ['clients knowing the service', 'clients/demo/main.ts', `import { start } from '../../server/main.ts'`],
    ['clients opening what is not pure', 'clients/vendor.ts', `import { store } from '../card-personalization/order-store.pg.ts'`],
    ['a side door', 'kms/index.ts', `import { lane } from '../pkcs11/lane.ts'`],
    ['a side door, imported late', 'kms/index.ts', `const lane = await import('../pkcs11/lane.ts')`],
    ['a side door, started as a process', 'server/main.ts', `fork(new URL('../pkcs11/lane-process.ts', import.meta.url))`],
    ['a side door over several lines', 'kms/index.ts', `import {\n  type A,\n  b,\n} from '../pkcs11/lane.ts'`],
    ['graphene outside pkcs11/', 'kms/index.ts', `import graphene from 'graphene-pk11'`],
    ['pkcs11js outside pkcs11/', 'server/main.ts', `import * as pkcs11js from 'pkcs11js'`],
    ['knex in a feature', 'kms/keys/key-store.ts', `import knex from 'knex'`],
    ['pg in a feature', 'policies/audit/writer.ts', `import pg from 'pg'`],
    ['koa in a feature', 'kms/index.ts', `import type { Context } from 'koa'`],
    ['pkijs in pkcs11/', 'pkcs11/hsm.ts', `import * as pkijs from 'pkijs'`],
    ['asn1js in kms/keys/', 'kms/keys/view.ts', `import * as asn1js from 'asn1js'`],
    ['node-forge in the service', 'server/cli/p12.ts', `import forge from 'node-forge'`],
    ['webcrypto software in the service', 'kms/certificates/csr.ts', `import { Crypto } from '@peculiar/webcrypto'`],
    ['a permit made outside the gate', 'policies/firewall/decide.ts', `import { newPermit } from '../permit.ts'`],
    ['a permit made in a feature', 'kms/index.ts', `import { newPermit as make } from '../policies/permit.ts'`],
    ['a permit made in a test of a feature', 'kms/keys.test.ts', `import { newPermit } from '../policies/permit.ts'`],
    ['a permit ended outside the gate', 'pkcs11/hsm.ts', `import { expirePermit } from '../policies/permit.ts'`],
    ['SQL outside a store', 'kms/keys/operations/sign.ts', `import { sqlOf } from '../../../core/tx.ts'`],
    ['a transaction opened by a store', 'kms/keys/key-store.pg.ts', 'const tx = new Tx(sql)'],
    ['a private key in a feature', 'kms/keys/view.ts', `import { createPrivateKey } from 'node:crypto'`],
    ['a MAC key in a feature', 'card-personalization/order.ts', `import { createHmac } from 'node:crypto'`],
    ['a test harness in the service', 'server/main.ts', `import { testToken } from '../pkcs11/testing/test-token.ts'`],
    ['the test database in the service', 'server/main.ts', `import { testDatabase } from './postgres/test-database.ts'`],
    ['the environment read in a feature', 'kms/index.ts', `const path = process.env['GRIDSEAL_DATA']`],
  ]
  it.each(planted)('%s', (_claim, path, source) => {
    expect(checkImports([{ path, source }])).toHaveLength(1)
  })

  const admitted: readonly (readonly [claim: string, path: string, source: string])[] = [
    ['a feature at the front doors', 'kms/index.ts', `import type { Hsm } from '../pkcs11/index.ts'\nimport { operation } from '../policies/operation.ts'`],
    ['a store with SQL', 'kms/keys/key-store.pg.ts', `import { sqlOf } from '../../core/tx.ts'`],
    ['the gate with permits', 'policies/gate.ts', `import { expirePermit, newPermit } from './permit.ts'`],
    ['the auditor with the pure verifier', 'clients/audit-verify.ts', `import { verifyLog } from '../policies/audit/verify.ts'`],
    ['the command line with a client', 'server/cli/vendor.ts', `import { vendor } from '../../clients/vendor.ts'`],
    ['a test with a harness of another folder', 'kms/keys/sign.pg.test.ts', `import { testDatabase } from '../../server/postgres/test-database.ts'`],
    ['a word in a comment', 'kms/index.ts', `// import x from 'koa'\n/** import y from 'knex' */`],
  ]
  it.each(admitted)('not: %s', (_claim, path, source) => {
    expect(checkImports([{ path, source }])).toEqual([])
  })
})

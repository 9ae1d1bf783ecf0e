import { execFileSync } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hex, sha256 } from '../core/bytes.ts'
import { newOperationId, newUuid } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import type { CertificateRecord } from '../kms/certificates/certificate.ts'
import { PgCertificateStore } from '../kms/certificates/certificate-store.pg.ts'
import { assembleCrl, crlEntry, encodeTbsCrl } from '../kms/certificates/crl.ts'
import { encodeName } from '../kms/certificates/names.ts'
import { AUTHORITIES, subjectOf } from '../kms/certificates/profile.ts'
import { keyIdentifier } from '../kms/certificates/splice.ts'
import { type KmsFeature, kmsFeature } from '../kms/index.ts'
import { csrDer, ecPair, pemOf, spkiOf } from '../kms/testing/make-csr.ts'
import { bareLoop } from '../pkcs11/bare-loop.ts'
import { type TestToken, testToken } from '../pkcs11/testing/test-token.ts'
import { auditFeature } from '../policies/audit/index.ts'
import type { AuditLog } from '../policies/audit/log.ts'
import { systemCaller } from '../policies/caller.ts'
import { type Gate, perform } from '../policies/gate.ts'
import type { AnyOperation } from '../policies/operation.ts'
import { memoryGate, withTestPermit } from '../policies/testing/memory-gate.ts'
import { type Database, openDatabase } from '../server/database.ts'
import { migrateDatabase } from '../server/migrate.ts'
import { startEmbeddedPostgres } from '../server/postgres/launcher.ts'
import { type Report, result } from './report.ts'

const SECONDS = 6
const BATCH = 500
/** Batches under way at a time: while the token signs one, another is planned or verified. */
const BATCHES = 2
/** Operations under way at a time; each issues one certificate. */
const CALLERS = 16
const CRL_ENTRIES = 100_000

/**
 * The certificate authority on a real token with one lane, a database that waits for the disk, and the real log.
 * The limit of issuing is a bare loop of C_Sign on the same token; that of a CRL is `openssl ca -gencrl` over an index of as many revoked certificates.
 */
export async function benchCa(say: (line: string) => void): Promise<Report> {
  const folder = mkdtempSync(join(tmpdir(), 'gridseal-bench-'))
  const closers: (() => Promise<unknown>)[] = []
  try {
    const token = await testToken()
    closers.push(() => token.close())
    const postgres = await startEmbeddedPostgres({ folder: join(folder, 'postgres') })
    closers.push(() => postgres.stop())
    await migrateDatabase({ ownerUrl: postgres.url('owner'), serviceUrl: postgres.url('service') })
    const database = openDatabase({ serviceUrl: postgres.url('service') })
    closers.push(() => database.close())
    const audit = auditFeature({
      ...{ sql: database.sql, connect: () => database.connect(), integrity: token.integrity },
      ...{ origin: 'bench', checkpointFile: join(folder, 'checkpoint'), writers: 6 },
    })
    closers.push(() => audit.close())
    await audit.start()
    const gate: Gate = { decide: memoryGate().decide, log: audit.log }
    const kms = kmsFeature({
      ...{ hsm: token.hsm, token: token.identity, sealer: token.integrity, sql: database.sql, crlUrl: 'http://pki.bench' },
      callers: { find: (id) => Promise.resolve({ id, kind: 'module', name: 'bench', state: 'active', version: 1 }) },
    })
    const ask = async (op: AnyOperation, body: object): Promise<void> => void (await perform(gate, op, { caller: systemCaller('bench'), body }))
    await ask(kms.systemOperations.establish, {})

    say('bare: C_Sign in a loop, one thread, on the same token ...')
    const bare = await bareLoop({ dataFolder: token.folder, loop: 'sign', seconds: SECONDS })
    say(`bulk: cards, ${String(BATCH)} at a time ...`)
    const bulk = await bulkRate(kms)
    say(`single: ${String(CALLERS)} operations at a time, a certificate each ...`)
    const single = await singleRate(kms, ask)
    say(`crl: ${CRL_ENTRIES.toLocaleString('en')} revoked certificates are written ...`)
    const revoked = await writeRevoked(token, database, audit.log)
    say('crl: openssl ca -gencrl, built alone, issued from the database ...')
    const peer = CRL_ENTRIES / opensslSeconds(folder, revoked)
    const built = CRL_ENTRIES / (await buildSeconds(token, revoked))
    const start = performance.now()
    await ask(kms.systemOperations.issueCrl, { authority: 'cards' })
    const issued = CRL_ENTRIES / ((performance.now() - start) / 1000)
    const again = performance.now()
    await ask(kms.systemOperations.issueCrl, { authority: 'cards' })
    const againMs = performance.now() - again
    const crl = await kms.findCrl('cards')
    if (crl?.count !== CRL_ENTRIES) throw new Error('the CRL does not list what was revoked')

    return {
      bench: 'ca',
      results: [
        result({ metric: 'bulk', value: bulk, unit: 'certificates/s', limit: bare }),
        result({ metric: 'single', value: single, unit: 'certificates/s', limit: bare }),
        result({ metric: 'crl 100000', value: built, unit: 'entries/s', limit: peer }),
        result({ metric: 'crl 100000 issued', value: issued, unit: 'entries/s', limit: peer }),
      ],
      notes: [
        'bulk: planned, signed, parsed and verified; rows and log entries are not in it. single: with its CSR, decision, rows and entries, each durable before the answer.',
        `crl: built is encoded, signed and verified; issued is the operation, from rows whose MACs are checked to the durable list (${(crl.der.length / 1e6).toFixed(1)} MB). The next list, all carried forward: ${againMs.toFixed(0)} ms. The peer reads its index file and checks no MACs.`,
      ],
    }
  } finally {
    for (const close of closers.toReversed()) await close()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function bulkRate({ cardCertificates: certifier }: KmsFeature): Promise<number> {
  const cards = Array.from({ length: BATCH }, (_, at) => ({
    ...{ cardId: newUuid(), iccid: `898601234${String(at).padStart(11, '0')}` },
    spki: spkiOf(ecPair('P-256').publicKey),
  }))
  const batch = async (): Promise<number> => {
    const planned = await certifier.plan(cards)
    if (planned instanceof Problem) throw planned
    return (await withTestPermit([{ action: 'sign', keyId: certifier.signer }], (permit) => certifier.sign(permit, planned))).ders.length
  }
  return rate(BATCHES, batch)
}

async function singleRate({ operations }: KmsFeature, ask: (op: AnyOperation, body: object) => Promise<void>): Promise<number> {
  const issue = operations.find(({ name }) => name === 'kms.certificate.issue')
  if (issue === undefined) throw new Error('no such operation')
  const csr = pemOf(csrDer())
  return rate(CALLERS, async () => {
    await ask(issue, { callerId: newUuid(), csr })
    return 1
  })
}

/** What `work` makes a second, so many at a time, after a first one that is not counted. */
async function rate(parallel: number, work: () => Promise<number>): Promise<number> {
  await work()
  const start = performance.now()
  let made = 0
  const one = async (): Promise<void> => {
    while (performance.now() - start < SECONDS * 1000) {
      // In two steps: `made += await` would add to what it was before the others added to it.
      const more = await work()
      made += more
    }
  }
  await Promise.all(Array.from({ length: parallel }, one))
  return made / ((performance.now() - start) / 1000)
}

/** Sealed rows of revoked certificates, as large as real ones. */
async function writeRevoked({ integrity }: TestToken, { sql }: Database, log: AuditLog): Promise<CertificateRecord[]> {
  const store = new PgCertificateStore(sql, integrity)
  const began = Date.now() - 1000 * CRL_ENTRIES
  const all: CertificateRecord[] = []
  for (let from = 0; from < CRL_ENTRIES; from += 2000) {
    const reserved = Array.from({ length: 2000 }, (_, at): CertificateRecord => {
      const serial = `40${hex(randomBytes(15))}`
      return {
        ...{ serial, version: 1, authority: 'cards', profile: 'card', subjectKind: 'card', subjectId: serial, tbsSha256: randomBytes(32) },
        ...{ notBefore: new Date(began), notAfter: new Date('2036-01-01'), state: 'reserved' },
        revoked: { at: new Date(began + 1000 * (from + at)), reason: 'keyCompromise' },
      }
    })
    const revoked = reserved.map((one): CertificateRecord => {
      const der = randomBytes(520)
      return { ...one, version: 2, state: 'revoked', der, fingerprint: hex(sha256(der)) }
    })
    await log.transact(async ({ tx, append }) => {
      append({ kind: 'event', id: newOperationId(), operation: 'bench.revoked', caller: systemCaller('bench') })
      await store.reserveCertificates(tx, reserved)
      await store.replaceCertificates(tx, revoked)
    })
    all.push(...revoked)
  }
  return all
}

async function buildSeconds({ hsm }: TestToken, revoked: readonly CertificateRecord[]): Promise<number> {
  const [key, thisUpdate] = [AUTHORITIES.cards, new Date()]
  const spki = hsm.rootPublicKey(key)
  const issuer = { name: encodeName(subjectOf.authority('Gridseal', 'cards')), keyIdentifier: keyIdentifier(spki) }
  const start = performance.now()
  const entries = Buffer.concat(revoked.map(crlEntry))
  const tbs = encodeTbsCrl({ issuer, number: 1, thisUpdate, nextUpdate: new Date(thisUpdate.getTime() + 7 * 86_400_000), entries })
  const { signature } = await withTestPermit([{ action: 'sign', keyId: key }], async (permit) => ({
    signature: (await hsm.signWithRoot(permit, key, [tbs]))[0] ?? new Uint8Array(),
  }))
  assembleCrl(tbs, signature, spki)
  return (performance.now() - start) / 1000
}

/** The whole run of `openssl ca -gencrl` with a P-256 key in a file. */
function opensslSeconds(folder: string, revoked: readonly CertificateRecord[]): number {
  const file = (name: string, content = ''): string => {
    writeFileSync(join(folder, name), content, { mode: 0o600 })
    return join(folder, name)
  }
  const date = (at: Date): string => `${at.toISOString().slice(2, 19).replaceAll(/[-:T]/g, '')}Z`
  const key = file('ca.key', generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
  const lines = revoked.map(
    ({ serial, notAfter, revoked: { at } = { at: notAfter } }) =>
      `R\t${date(notAfter)}\t${date(at)},keyCompromise\t${serial.toUpperCase()}\tunknown\t/O=Gridseal/OU=cards/serialNumber=${serial}\n`,
  )
  const settings = {
    ...{ database: file('index.txt', lines.join('')), crlnumber: file('crlnumber', '01\n'), default_md: 'sha256', default_crl_days: '7' },
    ...{ crl_extensions: 'crl', certificate: join(folder, 'ca.pem'), private_key: key },
  }
  const text = ['[ca]', 'default_ca=one', '[one]', ...Object.entries(settings).map(([name, value]) => `${name}=${value}`)]
  const config = file('ca.cnf', [...text, '[crl]', 'authorityKeyIdentifier=keyid', '[req]', 'distinguished_name=dn', '[dn]', ''].join('\n'))
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] })
  openssl(
    'req',
    '-x509',
    '-new',
    '-addext',
    'subjectKeyIdentifier=hash',
    '-config',
    config,
    '-key',
    key,
    '-subj',
    '/O=Gridseal/CN=Gridseal cards CA',
    '-days',
    '30',
    '-out',
    settings.certificate,
  )
  const start = performance.now()
  openssl('ca', '-config', config, '-gencrl', '-out', join(folder, 'peer.crl'))
  return (performance.now() - start) / 1000
}

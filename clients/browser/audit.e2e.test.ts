import { type ChildProcess, spawn } from 'node:child_process'
import { generateKeyPairSync, sign } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'vite'
import { beforeAll, describe, expect, it } from 'vitest'
import { newOperationId } from '../../core/ids.ts'
import { canRun } from '../../core/testing/tools.ts'
import { auditFeature, type AuditFeature, type AuditKeys } from '../../policies/audit/index.ts'
import { draftOf } from '../../policies/audit/testing/drafts.ts'
import { softKeys } from '../../policies/audit/testing/soft-keys.ts'
import { perform } from '../../policies/gate.ts'
import type { Download } from '../../policies/operation.ts'
import { memoryGate } from '../../policies/testing/memory-gate.ts'
import { testDatabase } from '../../server/postgres/test-database.ts'
import { mirror } from '../audit-mirror.ts'

/** A page whose files are served here, with nothing else allowed, and what it says of them. */
type Files = Record<string, { readonly type: string; readonly body: string | Uint8Array }>

const CSP = "default-src 'none'; script-src 'self'; connect-src 'self'"

async function browse(files: Files): Promise<unknown> {
  const profile = mkdtempSync(join(tmpdir(), 'gridseal-chromium-'))
  let browser: ChildProcess | undefined
  const told = new Promise<string>((resolve, reject) => {
    const server = createServer((request, response) => {
      if (request.method === 'POST') {
        void request.toArray().then((chunks: Buffer[]) => {
          response.end()
          server.close()
          resolve(Buffer.concat(chunks).toString())
        })
        return
      }
      const file = files[request.url ?? '']
      response.writeHead(file === undefined ? 404 : 200, { 'content-type': file?.type ?? 'text/plain', 'content-security-policy': CSP }).end(file?.body)
    })
    server.listen(0, '127.0.0.1', () => {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
      const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-background-networking']
      browser = spawn('chromium', [...flags, `--user-data-dir=${profile}`, url], {
        detached: true,
        stdio: 'ignore',
        env: { PATH: process.env['PATH'], HOME: profile },
      })
      browser.on('error', reject)
      browser.on('exit', () => reject(new Error('the browser ended before it had said anything')))
    })
  })
  try {
    return JSON.parse(await told)
  } finally {
    if (browser !== undefined && browser.exitCode === null) {
      const ended = once(browser, 'exit')
      // The group: its helpers write into the profile, and outlive it for a moment.
      if (browser.pid !== undefined) process.kill(-browser.pid, 'SIGKILL')
      await ended
    }
    rmSync(profile, { recursive: true, force: true, maxRetries: 20 })
  }
}

/** The bundle that a page loads: what the field `browser` of package.json stands for is in it, and nothing of Node. */
async function bundle(): Promise<string> {
  const built = await build({
    root: join(import.meta.dirname, '../..'),
    configFile: false,
    logLevel: 'error',
    build: { write: false, target: 'es2023', lib: { entry: join(import.meta.dirname, 'audit.ts'), formats: ['es'], fileName: 'audit' } },
  })
  const [output] = Array.isArray(built) ? built : []
  const code = output?.output[0].code ?? ''
  expect(code).toContain('verifyTiledLog')
  expect(code).not.toMatch(/node:|\bBuffer\b|__vite-browser-external/)
  return code
}

/** What the page does. Each answer is `ok` and what was found. */
const PAGE = `
import { verifyConsistency, verifyExportedLog, verifyProof, verifyTiledLog } from './audit.js'
const text = async (path) => (await fetch(path)).text()
const keys = [await text('/key')]
const said = ({ ok, size, reason, findings }) => ({ ok, size, reason, findings: [...new Set(findings?.map(({ code }) => code))] })
const exported = async (path, known) => said(await verifyExportedLog((await fetch(path)).body, { keys, ...(known && { known }) }))
const tiles = (prefix) => ({ read: async (path) => {
  const answer = await fetch(prefix + path)
  return answer.ok ? new Uint8Array(await answer.arrayBuffer()) : undefined
} })
const proven = async (entry, proof) => said(await verifyProof({ bytes: new Uint8Array(await (await fetch(entry)).arrayBuffer()), proof: await text(proof), vkey: keys[0] }))
const answers = {}
const ask = async (name, work) => { answers[name] = await work().catch((error) => ({ error: String(error) })) }
const [older, otherLog] = [await text('/older'), await text('/other-log')]
await ask('export', () => exported('/export.ndjson'))
await ask('export with a checkpoint from before', () => exported('/export.ndjson', [older]))
await ask('export with a checkpoint of another log', () => exported('/export.ndjson', [otherLog]))
await ask('tampered export', () => exported('/tampered.ndjson'))
await ask('cut export', () => exported('/cut.ndjson'))
await ask('export with a forged checkpoint', () => exported('/forged.ndjson'))
await ask('tiles', async () => said(await verifyTiledLog(tiles('/log/'), { keys })))
await ask('tampered tiles', async () => said(await verifyTiledLog(tiles('/bad/'), { keys })))
await ask('proof', () => proven('/entry', '/proof'))
await ask('tampered entry', () => proven('/other-entry', '/proof'))
await ask('tampered proof', () => proven('/entry', '/other-proof'))
await ask('consistency', async () => said(await verifyConsistency({ older, newer: await text('/log/checkpoint') }, { keys, tiles: tiles('/log/') })))
await ask('inconsistency', async () => said(await verifyConsistency({ older: otherLog, newer: await text('/log/checkpoint') }, { keys, tiles: tiles('/log/') })))
await fetch('/', { method: 'POST', body: JSON.stringify(answers) })
`

let code: string
beforeAll(async () => {
  code = await bundle()
})

function p256Keys(): AuditKeys {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return {
    ...softKeys(),
    signCheckpoint: (text) => Promise.resolve(sign('sha256', text, pair.privateKey)),
    checkpointKey: { algorithm: 'ecdsa-p256', publicKey: pair.publicKey.export({ format: 'der', type: 'spki' }) },
  }
}

describe.runIf(canRun('chromium'))('in Chromium', () => {
  it.each([
    ['Ed25519', softKeys],
    ['P-256', p256Keys],
  ])('a real log signed with %s is verified, and everything tampered with is refused', async (_algorithm, makeKeys) => {
    const own = await testDatabase()
    const folder = mkdtempSync(join(tmpdir(), 'gridseal-browser-'))
    const audit = auditFeature({
      ...{ sql: own.sql, connect: own.database.connect, integrity: makeKeys(), origin: 'grid.example/audit' },
      checkpointFile: join(folder, 'checkpoint'),
    })
    try {
      expect(await browse({ ...page(), ...(await filesOf(audit, folder)) })).toEqual({
        'export': { ok: true, size: 603, findings: [] },
        'export with a checkpoint from before': { ok: true, size: 603, findings: [] },
        'export with a checkpoint of another log': { error: expect.stringMatching(/^NoteError: a checkpoint kept from earlier: .*did not sign/) as string },
        'tampered export': { ok: false, size: 603, findings: expect.arrayContaining(['root-mismatch']) as string[] },
        'cut export': { ok: false, size: 602, findings: ['uncovered'] },
        'export with a forged checkpoint': { ok: false, size: 603, findings: ['checkpoint-invalid', 'uncovered'] },
        'tiles': { ok: true, size: 603, findings: [] },
        'tampered tiles': { ok: false, size: 603, findings: ['tile-mismatch'] },
        'proof': { ok: true, size: 603, findings: [] },
        'tampered entry': { ok: false, reason: expect.stringContaining('does not lead') as string, findings: [] },
        'tampered proof': { ok: false, reason: expect.stringContaining('does not verify') as string, findings: [] },
        'consistency': { ok: true, findings: [] },
        'inconsistency': { ok: false, reason: expect.stringContaining('did not sign') as string, findings: [] },
      })
    } finally {
      await audit.close()
      await own.close()
      rmSync(folder, { recursive: true })
    }
  })

  const page = (): Files => ({
    '/': { type: 'text/html', body: '<!doctype html><script type="module" src="/page.js"></script>' },
    '/page.js': { type: 'text/javascript', body: PAGE },
    '/audit.js': { type: 'text/javascript', body: code },
  })

  /** 603 entries, with a checkpoint after the first 300; each file once as it is, and once changed. */
  async function filesOf(audit: AuditFeature, folder: string): Promise<Files> {
    const gate = memoryGate()
    const ask = async (name: string, body: object): Promise<unknown> => {
      const op = audit.operations.find((one) => one.name === name)
      if (op === undefined) throw new Error(`no operation ${name}`)
      return perform(gate, op, { caller: { kind: 'auditor', name: 'wang', id: 'a1' }, body })
    }
    const download = async (name: string, body: object): Promise<Buffer> => {
      const chunks: Uint8Array[] = []
      for await (const chunk of ((await ask(name, body)) as Download).chunks) chunks.push(chunk)
      return Buffer.concat(chunks)
    }
    const write = async (count: number): Promise<void> => {
      await Promise.all(Array.from({ length: count }, () => audit.log.append(draftOf('event'))))
      await audit.flush()
    }
    const noteNow = async (): Promise<string> => ((await ask('policies.audit.checkpoint', {})) as { note: string }).note
    await write(300)
    const older = await noteNow()
    const id = newOperationId()
    await audit.log.transact(({ append }) => Promise.resolve(append(draftOf('intent', id, { facts: { personal: { iccid: '89860099000000020027' } } }))))
    await audit.log.transact(({ append }) => Promise.resolve(append(draftOf('outcome', id))))
    await write(301)
    const exported = (await download('policies.audit.export', {})).toString()
    const proven = (await ask('policies.audit.proof', { operationId: id })) as { entries: { bytes: string; proof: string }[] }
    const [first = { bytes: '', proof: '' }, second = first] = proven.entries
    await mirror({
      ...{ folder: join(folder, 'mirror'), keys: [audit.key.vkey] },
      log: {
        checkpoint: async () => ({ note: await noteNow() }),
        bundles: (index, count, width) => download('policies.audit.bundle', { index, count, width }),
      },
    })
    const lines = exported.split('\n')
    const at = lines.findIndex((line) => line.startsWith('{"index":7,'))
    const stored = (path: string): Buffer => readFileSync(join(folder, 'mirror', path))
    const octets = (body: string | Uint8Array): Files[string] => ({ type: 'application/octet-stream', body })
    const tiles = [
      'checkpoint',
      ...['0/000', '0/001', '0/002.p/91', '1/000.p/2', 'entries/000', 'entries/001', 'entries/002.p/91'].map((path) => `tile/${path}`),
    ]
    return {
      '/key': octets(audit.key.vkey),
      '/older': octets(older),
      '/other-log': octets(older.replaceAll('grid.example', 'grud.example')),
      '/export.ndjson': octets(exported),
      '/tampered.ndjson': octets(lines.with(at, (lines[at - 1] ?? '').replace('"index":6,', '"index":7,')).join('\n')),
      '/cut.ndjson': octets(lines.slice(0, -3).join('\n')),
      '/forged.ndjson': octets(exported.replace(/\\n603\\n(?![^]*\\n603\\n)/, '\\n604\\n')),
      '/entry': octets(Buffer.from(first.bytes, 'base64')),
      '/other-entry': octets(Buffer.from(second.bytes, 'base64')),
      '/proof': octets(first.proof),
      '/other-proof': octets(first.proof.replace('\n603\n', '\n602\n')),
      ...Object.fromEntries(tiles.map((path) => [`/log/${path}`, octets(stored(path))])),
      ...Object.fromEntries(tiles.map((path) => [`/bad/${path}`, octets(path === 'tile/0/001' ? stored('tile/0/000') : stored(path))])),
    }
  }
})

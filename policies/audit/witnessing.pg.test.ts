import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { addCheckpoint, type WitnessedHead } from '../../clients/witness/witness.ts'
import { testDatabase, type TestDatabase } from '../../server/postgres/test-database.ts'
import { auditFeature, type AuditFeature, type AuditKeys, logKey, parseWitnessPolicy } from './index.ts'
import type { LogKey } from './checkpoint.ts'
import type { LogFault } from './log-fault.ts'
import { EMPTY_ROOT } from './merkle.ts'
import { draftOf } from './testing/drafts.ts'
import { softKeys } from './testing/soft-keys.ts'
import { testWitness } from './testing/test-witness.ts'
import { judgeCheckpoint } from './witness-policy.ts'

const ORIGIN = 'grid.example/audit'

/** A witness over HTTP, that can be lost, slow, wrong, or set to what it never saw. */
class HttpWitness {
  readonly name: string
  readonly witness: ReturnType<typeof testWitness>
  readonly server: Server
  readonly key: LogKey
  head: WitnessedHead = { size: 0, root: EMPTY_ROOT }
  mode: 'well' | 'away' | 'mute' | 'forges' = 'well'
  asked = 0
  atOnce = 0
  mostAtOnce = 0

  constructor(name: string, key: LogKey) {
    this.name = name
    this.key = key
    this.witness = testWitness(`witness.example/${name}`)
    this.server = createServer((request, response) => {
      this.asked += 1
      this.atOnce += 1
      this.mostAtOnce = Math.max(this.mostAtOnce, this.atOnce)
      response.once('close', () => (this.atOnce -= 1))
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        if (this.mode === 'away') return response.destroy()
        if (this.mode === 'mute') return undefined
        const { status, type, body } = addCheckpoint(Buffer.concat(chunks).toString('utf8'), {
          state: { keysOf: () => [this.key], headOf: () => this.head, record: (_origin, head) => void (this.head = head) },
          cosign: (text) => this.witness.cosign(this.mode === 'forges' ? `${text} ` : text, 1_700_000_000),
        })
        return response.writeHead(status, { 'content-type': type }).end(body)
      })
    })
  }

  async listen(): Promise<string> {
    this.server.listen(0, '127.0.0.1')
    await once(this.server, 'listening')
    return `witness ${this.name} ${this.witness.key.vkey} http://127.0.0.1:${String((this.server.address() as AddressInfo).port)}/\n`
  }

  close(): void {
    this.server.closeAllConnections()
    this.server.close()
  }
}

let db: TestDatabase
let keys: AuditKeys
let key: LogKey
let folder: string
let witnesses: readonly [HttpWitness, HttpWitness, HttpWitness]
let policyText: string
const opened: { audit: AuditFeature; faults: LogFault[] }[] = []

beforeEach(async () => {
  db = await testDatabase()
  keys = softKeys()
  key = logKey(ORIGIN, 'ed25519', keys.checkpointKey.publicKey)
  folder = mkdtempSync(join(tmpdir(), 'gridseal-log-'))
  witnesses = [new HttpWitness('a', key), new HttpWitness('b', key), new HttpWitness('c', key)]
  const lines = await Promise.all(witnesses.map((one) => one.listen()))
  policyText = `${lines.join('')}group g 2 a b c\nquorum g\n`
})
afterEach(async () => {
  await Promise.all(opened.splice(0).map(({ audit }) => audit.close()))
  for (const one of witnesses) one.close()
  await db.close()
  rmSync(folder, { recursive: true })
})

function open({ mustAnswer = false, at = db, file = 'checkpoint' } = {}): { audit: AuditFeature; faults: LogFault[] } {
  const faults: LogFault[] = []
  const audit = auditFeature({
    ...{ sql: at.sql, connect: at.database.connect, integrity: keys, origin: ORIGIN, checkpointFile: join(folder, file), writers: 2 },
    witnesses: { policy: parseWitnessPolicy(Buffer.from(policyText)), mustAnswer, onChange: () => undefined, intervalMs: 20, timeoutMs: 400, behindMs: 300 },
    onFault: (fault) => faults.push(fault),
  })
  opened.push({ audit, faults })
  return { audit, faults }
}

async function write({ log, flush }: Pick<AuditFeature, 'log' | 'flush'>, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => log.append(draftOf('event'))))
  await flush()
}

const sizeOf = async (audit: AuditFeature): Promise<number> => {
  const note = await audit.newestWitnessed()
  return note === undefined ? -1 : judgeCheckpoint(note, parseWitnessPolicy(Buffer.from(policyText)), [key]).checkpoint.size
}

/** What a mirror is told. */
async function checkpointTold({ operations }: AuditFeature): Promise<object> {
  const operation = operations.find(({ name }) => name === 'policies.audit.checkpoint')
  if (operation === undefined) throw new Error('no such operation')
  const target: unknown = await operation.locate({}, { kind: 'auditor', name: 'ann', id: 'ann' })
  const { note, witnessed } = operation.respond(target, await operation.execute(undefined as never, target)) as { note: string; witnessed?: string }
  return { note, witnessed }
}

describe('a log with witnesses', () => {
  it('gives the newest checkpoint that enough of them cosigned, across tiles, restarts and the loss of one', async () => {
    const { audit } = open({ mustAnswer: true })
    await audit.start()
    expect(await audit.newestWitnessed()).toBeUndefined()
    await write(audit, 300)
    await expect.poll(() => sizeOf(audit)).toBe(300)
    witnesses[0].mode = 'away'
    await write(audit, 300)
    await expect.poll(() => sizeOf(audit)).toBe(600)
    const kept = (): unknown => judgeCheckpoint(readFileSync(join(folder, 'checkpoint-witnessed'), 'utf8'), parseWitnessPolicy(Buffer.from(policyText)), [key])
    await expect.poll(kept).toMatchObject({ satisfied: true, checkpoint: { size: 600 } })
    expect(await checkpointTold(audit)).toEqual({ note: expect.not.stringContaining('witness.example') as string, witnessed: await audit.newestWitnessed() })
    // Two away: the log goes on, and says so; what it can prove to be witnessed stays where it was.
    witnesses[1].mode = 'mute'
    await write(audit, 10)
    expect(audit.status()).toMatchObject({ signedSize: 610, fault: undefined })
    await expect.poll(() => audit.witnesses().map(({ state }) => state)).toEqual(['behind', 'behind', 'ready'])
    expect(audit.witnesses()[0]).toMatchObject({ size: 300, lag: 310, problem: expect.stringContaining('cannot be reached') as string })
    expect(await sizeOf(audit)).toBe(600)
    await audit.close()
    opened.pop()
    for (const one of witnesses) one.mode = 'well'
    const again = open({ mustAnswer: true })
    await again.audit.start()
    await expect.poll(() => sizeOf(again.audit)).toBe(610)
    expect(again.audit.witnesses().map(({ size, lag }) => [size, lag])).toEqual([
      [610, 0],
      [610, 0],
      [610, 0],
    ])
    expect(again.faults).toEqual([])
  })

  it('has one request in flight to each, and leaves out what they were too slow for', async () => {
    const { audit } = open()
    await audit.start()
    for (let at = 0; at < 30; at += 1) await write(audit, 2)
    await expect.poll(() => sizeOf(audit)).toBe(60)
    expect(witnesses.map(({ mostAtOnce }) => mostAtOnce)).toEqual([1, 1, 1])
    expect(witnesses[0].asked).toBeLessThanOrEqual(32)
  })

  it('does not count a cosignature that does not verify, or one of another witness', async () => {
    witnesses[0].mode = 'forges'
    witnesses[1].mode = 'forges'
    const { audit, faults } = open()
    await audit.start()
    await write(audit, 3)
    await expect.poll(() => audit.witnesses().map(({ state }) => state)).toEqual(['behind', 'behind', 'ready'])
    expect(audit.witnesses()[0]?.problem).toContain('no cosignature by its key that verifies')
    expect(await audit.newestWitnessed()).toBeUndefined()
    expect(faults).toEqual([])
  })
})

describe('witnesses against a database that was set back', () => {
  /** The service's log grows to 40, and an older copy of its database is the one of 25. */
  async function setBack(): Promise<TestDatabase> {
    const { audit } = open()
    await audit.start()
    await write(audit, 25)
    await expect.poll(() => audit.witnesses().map(({ size }) => size)).toEqual([25, 25, 25])
    await audit.close()
    opened.pop()
    const copy = await testDatabase({ like: db })
    const later = open()
    await later.audit.start()
    await write(later.audit, 15)
    await expect.poll(() => later.audit.witnesses().map(({ size }) => size)).toEqual([40, 40, 40])
    await later.audit.close()
    opened.pop()
    return copy
  }

  it('refuse its start, though every file is gone', async () => {
    const copy = await setBack()
    for (const one of witnesses.slice(1)) one.mode = 'away'
    const { audit } = open({ at: copy, file: 'none' })
    await expect(audit.start()).rejects.toMatchObject({
      code: 'database-behind',
      message: expect.stringMatching(/witness a .* 40 entries, .* has 25/) as string,
    })
    await audit.close()
    opened.pop()
    const empty = await testDatabase()
    await expect(open({ at: empty, file: 'none' }).audit.start()).rejects.toMatchObject({ code: 'database-behind' })
    await opened.pop()?.audit.close()
    await empty.close()
    await copy.close()
  })

  it('stop it once they are heard again, where it went on without them: behind, or grown past them with another history', async () => {
    const copy = await setBack()
    for (const one of witnesses) one.mode = 'away'
    await expect(open({ at: copy, file: 'none', mustAnswer: true }).audit.start()).rejects.toThrow('witnessesMustAnswer')
    await opened.pop()?.audit.close()
    const { audit, faults } = open({ at: copy, file: 'none' })
    await audit.start()
    await write(audit, 5)
    witnesses[2].mode = 'well'
    await expect.poll(() => faults.map(({ code }) => code)).toEqual(['database-behind'])
    await expect(audit.flush()).rejects.toMatchObject({ code: 'database-behind' })
    await audit.close()
    opened.pop()
    witnesses[2].mode = 'away'
    const other = open({ at: copy, file: 'none' })
    await other.audit.start()
    await write(other.audit, 50)
    witnesses[1].mode = 'well'
    await expect.poll(() => other.faults.map(({ code, message }) => [code, message])).toEqual([['history-changed', expect.stringContaining('witness b')]])
    await opened.pop()?.audit.close()
    await copy.close()
  })

  it('cannot stop it by contradicting what they themselves signed', async () => {
    const { audit, faults } = open()
    await audit.start()
    await write(audit, 25)
    await expect.poll(() => audit.witnesses().map(({ size }) => size)).toEqual([25, 25, 25])
    witnesses[0].head = { size: 25, root: EMPTY_ROOT }
    await write(audit, 5)
    await expect
      .poll(() => audit.witnesses()[0])
      .toMatchObject({ state: 'behind', problem: expect.stringContaining('contradicts its own cosignature') as string })
    expect(faults).toEqual([])
    expect(await sizeOf(audit)).toBe(30)
  })
})

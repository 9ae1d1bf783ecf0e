import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { testDatabase, type TestDatabase } from '../../../server/postgres/test-database.ts'
import type { Decision } from '../../firewall/decide.ts'
import { type Gate, perform } from '../../gate.ts'
import type { AnyOperation, Download } from '../../operation.ts'
import { auditFeature, type AuditFeature } from '../index.ts'
import { draftOf } from '../testing/drafts.ts'
import { softKeys } from '../testing/soft-keys.ts'

const ENTRIES = 1200
const MINUTE = 60_000
const START = Date.parse('2026-11-26T08:00:00.000Z')

let db: TestDatabase
let audit: AuditFeature
let gate: Gate
let written = 0
const folder = mkdtempSync(join(tmpdir(), 'gridseal-export-'))

beforeAll(async () => {
  db = await testDatabase()
  audit = auditFeature({
    ...{ sql: db.sql, connect: db.database.connect, integrity: softKeys(), origin: 'grid.example/audit', version: '1.2.3' },
    checkpointFile: join(folder, 'checkpoint'),
    now: () => new Date(START + written * MINUTE),
  })
  await audit.start()
  const allow: Decision = { effect: 'allow', rule: 'test', revision: 'test', reason: '' }
  gate = { decide: () => allow, log: audit.log }
  // A minute apart, some to a group. The last entry of an hour is at its 59th minute.
  for (; written < ENTRIES; written += 1) {
    const draft = draftOf('event', undefined, { operation: written % 2 === 0 ? 'test.even' : 'system.started' })
    if (written % 100 === 99 || written < 30) await audit.log.append(draft)
    else await audit.log.transact(({ append }) => Promise.resolve(append(draft)))
  }
  await audit.flush()
})
afterAll(async () => {
  await audit.close()
  await db.close()
  rmSync(folder, { recursive: true })
})

const exported = async (body: object): Promise<Download> => {
  const op = audit.operations.find((one: AnyOperation) => one.name === 'policies.audit.export')
  if (op === undefined) throw new Error('no export')
  return (await perform(gate, op, { caller: { kind: 'auditor', name: 'wang', id: 'a1' }, body })) as Download
}
const textOf = async (body: object): Promise<string> => {
  const chunks: Uint8Array[] = []
  for await (const chunk of (await exported(body)).chunks) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}
const csvIndexes = (text: string): number[] =>
  text
    .split('\r\n')
    .slice(1, -1)
    .map((line) => Number(line.split(',')[0]))
const ocsfIndexes = (text: string): number[] =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => (JSON.parse(line) as { metadata: { sequence: number } }).metadata.sequence)
const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, at) => from + at)

describe('exports', () => {
  it('has each entry once, in order, in both forms, with its product version', async () => {
    const csv = await textOf({ format: 'csv', to: String(ENTRIES) })
    expect(csvIndexes(csv)).toEqual(numbers(0, ENTRIES))
    const ocsf = await textOf({ format: 'ocsf', to: String(ENTRIES) })
    expect(ocsfIndexes(ocsf)).toEqual(numbers(0, ENTRIES))
    expect(JSON.parse(ocsf.split('\n')[1] ?? '')).toMatchObject({ class_uid: 6002, metadata: { product: { version: '1.2.3' } } })
  })

  it('has the entries of an index range, a page or more of them', async () => {
    expect(csvIndexes(await textOf({ format: 'csv', from: '499', to: '1001' }))).toEqual(numbers(499, 1001))
    expect(ocsfIndexes(await textOf({ format: 'ocsf', from: '7', to: '8' }))).toEqual([7])
    expect(csvIndexes(await textOf({ format: 'csv', from: '8', to: '8' }))).toEqual([])
    await expect(exported({ format: 'csv', from: '9', to: '8' })).rejects.toMatchObject({ code: 'conflict' })
    await expect(exported({ from: '999999' })).rejects.toMatchObject({ code: 'conflict' })
  })

  it('has the entries of a time, wherever it is told from', async () => {
    const at = (minute: number): string => new Date(START + minute * MINUTE).toISOString()
    expect(csvIndexes(await textOf({ format: 'csv', since: at(100), until: at(160), to: String(ENTRIES) }))).toEqual(numbers(100, 160))
    expect(ocsfIndexes(await textOf({ format: 'ocsf', since: '2026-11-27T03:55:00+08:00', to: String(ENTRIES) }))).toEqual(numbers(715, ENTRIES))
    expect(csvIndexes(await textOf({ format: 'csv', until: at(3), from: '1' }))).toEqual([1, 2])
    expect(csvIndexes(await textOf({ format: 'csv', since: at(90_000) }))).toEqual([])
  })

  it('refuses times for a verifier, and forms that are none', async () => {
    await expect(exported({ since: '2026-11-26T08:00:00Z' })).rejects.toMatchObject({ code: 'request-invalid' })
    await expect(exported({ format: 'xlsx' })).rejects.toMatchObject({ code: 'request-invalid' })
    await expect(exported({ format: 'csv', since: 'yesterday' })).rejects.toMatchObject({ code: 'request-invalid' })
  })

  it('gives parts of the verifier’s lines that make the whole, side by side', async () => {
    const to = String(ENTRIES)
    const whole = await textOf({ to })
    const [first, second] = [await textOf({ to: '700' }), await textOf({ from: '700', to })]
    expect(first + second.slice(second.indexOf('\n') + 1)).toBe(whole)
  })

  it('says in the log what was exported', async () => {
    await exported({ format: 'csv', from: '3', to: '9', since: '2026-11-26T08:00:00Z' })
    await audit.flush()
    const asked = await audit.searcher.prepare({ field: 'operation', is: ['policies.audit.export'] })
    const { entries } = await audit.searcher.search(asked, { order: 'oldest', from: ENTRIES, limit: 1000 })
    const facts = { format: 'csv', from: 3, to: 9, since: '2026-11-26T08:00:00Z' }
    expect(entries.filter(({ entry }) => entry.kind === 'outcome').map(({ entry }) => entry.facts)).toContainEqual(expect.objectContaining(facts))
  })

  it('ends short where an entry was tampered with: nobody verifies these lines', async () => {
    await db.ownerSql.query('ALTER TABLE audit_groups DISABLE TRIGGER append_only')
    await db.ownerSql.query(
      `UPDATE audit_groups g SET mac = substring(sha256(mac) FROM 1 FOR 16) FROM audit_entries e
       WHERE e.index = 1100 AND g.writer = e.writer AND g.epoch = e.epoch AND g.first_seq = e.group_seq`,
    )
    await expect(textOf({ format: 'csv' })).rejects.toMatchObject({ code: 'integrity-failed' })
    await expect(textOf({ format: 'ocsf', from: '1100' })).rejects.toMatchObject({ code: 'integrity-failed' })
    expect(csvIndexes(await textOf({ format: 'csv', to: '1000' }))).toEqual(numbers(0, 1000))
  })
})

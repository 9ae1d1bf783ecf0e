import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeReport, verifyExportedLog } from '../../../clients/audit-verify.ts'
import { newOperationId } from '../../../core/ids.ts'
import { testDatabase, type TestDatabase } from '../../../server/postgres/test-database.ts'
import { type Caller } from '../../caller.ts'
import type { Decision } from '../../firewall/decide.ts'
import { type Gate, perform } from '../../gate.ts'
import type { AnyOperation, Download } from '../../operation.ts'
import { auditFeature, type AuditFeature } from '../index.ts'
import { draftOf } from '../testing/drafts.ts'
import { softKeys } from '../testing/soft-keys.ts'

interface Found {
  readonly entries: { readonly index: number; readonly bytes: string; readonly entry: Record<string, unknown> }[]
}

let db: TestDatabase
let audit: AuditFeature
let gate: Gate
const folder = mkdtempSync(join(tmpdir(), 'gridseal-audit-'))
const auditor: Caller = { kind: 'auditor', name: 'wang', id: 'a1' }
const [first, second] = [newOperationId(), newOperationId()]

beforeAll(async () => {
  db = await testDatabase()
  audit = auditFeature({
    sql: db.sql,
    connect: db.database.connect,
    integrity: softKeys(),
    origin: 'grid.example/audit',
    checkpointFile: join(folder, 'checkpoint'),
    callersOf: (person) => Promise.resolve(person === 'wang fang' ? ['urn:gridseal:auditor:wang', 'urn:gridseal:module:billing'] : []),
  })
  await audit.start()
  const allow: Decision = { effect: 'allow', rule: 'test', revision: 'test', reason: '' }
  gate = { decide: () => allow, log: audit.log }
})
afterAll(async () => {
  await audit.close()
  await db.close()
  rmSync(folder, { recursive: true })
})

function ask(name: string, body: unknown = {}): Promise<unknown> {
  const op = audit.operations.find((one: AnyOperation) => one.name === name)
  if (op === undefined) throw new Error(`no operation ${name}`)
  return perform(gate, op, { caller: auditor, body })
}
const search = async (body: unknown): Promise<Found['entries']> => ((await ask('policies.audit.search', body)) as Found).entries

describe('what auditors do', () => {
  it('gets not-found while nothing is signed', async () => {
    await expect(ask('policies.audit.checkpoint')).rejects.toMatchObject({ code: 'not-found' })
    await expect(ask('policies.audit.export')).rejects.toMatchObject({ code: 'not-found' })
  })

  it('finds entries by every filter, and is itself in the log', async () => {
    await audit.log.transact(({ append }) => Promise.resolve(append(draftOf('intent', first, { operation: 'test.a' }))))
    await audit.log.transact(({ append }) => Promise.resolve(append(draftOf('outcome', first, { operation: 'test.a', code: 'forbidden' }))))
    await audit.log.append(draftOf('event', second, { operation: 'test.b', caller: { kind: 'module', name: 'billing', id: 'm1', address: '192.0.2.7' } }))
    await audit.flush()
    expect((await search({ operation: 'test.a' })).map(({ entry }) => entry['kind'])).toEqual(['intent', 'outcome'])
    expect(await search({ operation: 'test.a', code: 'forbidden' })).toHaveLength(1)
    expect(await search({ operation: 'test.?', kind: 'event' })).toHaveLength(1)
    expect(await search({ operationId: second, caller: 'urn:gridseal:module:billing', address: '192.0.2.0/24' })).toHaveLength(1)
    expect(await search({ operationId: second, caller: 'urn:gridseal:module:other' })).toEqual([])
    const decision = { effect: 'allow', rule: 'grant:1', revision: 'r', zones: ['plant'] } as const
    await audit.log.append(draftOf('refusal', undefined, { code: 'ok', decision }))
    await audit.log.append(draftOf('refusal', undefined, { code: 'ok', decision: { ...decision, rule: 'other' } }))
    await audit.flush()
    expect((await search({ rule: 'grant:1' })).map(({ entry }) => entry['decision'])).toEqual([decision])
    expect(await search({ rule: 'other', code: 'ok', zone: 'plant', revision: 'r' })).toHaveLength(1)
    expect(await search({ rule: 'grant:2' })).toEqual([])
    expect(await search({ since: '2020-01-01', until: '2020-01-02' })).toEqual([])
    expect(await search({ person: 'wang fang', operation: 'test.*' })).toHaveLength(1)
    expect(await search({ person: 'nobody' })).toEqual([])
    const all = await search({ from: '1', limit: '2' })
    expect(all.map(({ index }) => index)).toEqual([1, 2])
    expect((await search({ from: '2', limit: '2', order: 'newest' })).map(({ index }) => index)).toEqual([2, 1])
    expect(JSON.parse(Buffer.from(all[0]?.bytes ?? '', 'base64').toString())).toEqual(all[0]?.entry)
    const found = (await ask('policies.audit.get', { operationId: first })) as Found
    expect(found.entries.map(({ entry }) => entry['kind'])).toEqual(['intent', 'outcome'])
    await audit.flush()
    expect(await search({ caller: 'urn:gridseal:auditor:wang', operation: 'policies.audit.search' })).toHaveLength(13)
  })

  it('finds by a query, counts, and says in the log what was looked for, but no personal value', async () => {
    const iccid = '89860123456789012345'
    await audit.log.append(draftOf('event', undefined, { operation: 'test.c', facts: { personal: { iccid } } }))
    await audit.flush()
    const query = { and: [{ personal: 'iccid', value: iccid }, { not: { field: 'operation', is: ['test.a'] } }] }
    const page = (await ask('policies.audit.query', { query })) as Found & { searchedTo: number; size: number; next?: number }
    expect(page.entries.map(({ entry }) => entry['operation'])).toEqual(['test.c'])
    expect([page.searchedTo, page.next]).toEqual([page.size, undefined])
    const counts = await ask('policies.audit.count', { query: { field: 'operation', like: ['test.*'] }, by: 'operation' })
    expect(counts).toMatchObject({
      groups: expect.arrayContaining([
        { value: 'test.a', count: 2 },
        { value: 'test.c', count: 1 },
      ]) as unknown,
      more: 0,
    })
    expect(await ask('policies.audit.count', { by: 'time', query: { field: 'operation', is: ['test.a'] } })).toMatchObject({ total: 2, bucketMs: 1000 })
    await audit.flush()
    const [logged] = await search({ operation: 'policies.audit.query' })
    expect(logged?.entry['facts']).toMatchObject({
      ...{
        query: expect.stringMatching(/^personal\.iccid:#[0-9a-f]{32} AND NOT operation:test\.a$/) as unknown,
        personal: ['iccid'],
        found: 1,
        order: 'newest',
      },
    })
    for (const { bytes } of await search({ limit: 1000 })) expect(Buffer.from(bytes, 'base64').toString()).not.toContain(iccid)
  })

  it('is not found by a personal value whose commitment does not open', async () => {
    const query = { personal: 'imsi', value: '460001234567890' }
    await audit.log.append(draftOf('event', undefined, { facts: { personal: { imsi: query.value } } }))
    await audit.flush()
    expect(((await ask('policies.audit.query', { query })) as Found).entries).toHaveLength(1)
    await db.ownerSql.query(`UPDATE audit_personal SET salt = sha256(salt) WHERE name = 'imsi'`)
    await expect(ask('policies.audit.query', { query })).rejects.toMatchObject({ code: 'integrity-failed' })
    await db.ownerSql.query(`DELETE FROM audit_personal WHERE name = 'imsi'`)
    expect(((await ask('policies.audit.query', { query })) as Found).entries).toEqual([])
  })

  it('is told of wrong questions and unknown operations', async () => {
    for (const body of [{ limit: 1001 }, { from: -1 }, { operationId: 'x' }, { other: 1 }, { address: 'x' }, { since: 'today' }])
      await expect(search(body)).rejects.toMatchObject({ code: 'request-invalid' })
    let deep: unknown = { field: 'code', is: ['ok'] }
    for (let level = 0; level < 5000; level += 1) deep = { not: deep }
    for (const query of [
      deep,
      {},
      { and: [] },
      { field: 'other', is: ['a'] },
      { field: 'code', like: ['a'] },
      { field: 'code', is: [] },
      { since: '2026' },
      [],
    ])
      await expect(ask('policies.audit.query', { query })).rejects.toMatchObject({ code: 'request-invalid' })
    for (const body of [{ by: 'object' }, { by: 'code', bucketMs: 1000 }, {}])
      await expect(ask('policies.audit.count', body)).rejects.toMatchObject({ code: 'request-invalid' })
    await expect(ask('policies.audit.get', { operationId: newOperationId() })).rejects.toMatchObject({ code: 'not-found' })
  })

  it('exports the log, and verifies the file with the key alone and a checkpoint from before', async () => {
    const before = (await ask('policies.audit.checkpoint')) as { note: string; key: string; size: number }
    expect(before.key).toBe(audit.key.vkey)
    await Promise.all(Array.from({ length: 2500 }, () => audit.log.append(draftOf('event'))))
    await audit.flush()
    const download = (await ask('policies.audit.export')) as Download
    const path = join(folder, 'log.ndjson')
    const chunks: Uint8Array[] = []
    for await (const chunk of download.chunks) chunks.push(chunk)
    writeFileSync(path, Buffer.concat(chunks))
    const report = await verifyExportedLog({ path, vkey: before.key, known: [before.note] })
    expect(report).toMatchObject({ ok: true, findings: [], openIntents: [] })
    expect(report.size).toBeGreaterThan(2500)
    expect(describeReport(report)).toMatch(/^VERIFIED: grid\.example\/audit, \d+ entries/)
    const other = softKeys().checkpointKey.publicKey
    expect(other).not.toEqual(audit.key.publicKey)
    writeFileSync(path, Buffer.concat(chunks).toString().replace('"index":7,', '"index":8,'))
    const bad = await verifyExportedLog({ path, vkey: before.key })
    expect(describeReport(bad)).toMatch(/^NOT VERIFIED[^]*index-gap at 8/)
  })
})

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
    await audit.log.append(draftOf('event', second, { operation: 'test.b', caller: { kind: 'module', name: 'billing', id: 'm1' } }))
    await audit.flush()
    expect((await search({ operation: 'test.a' })).map(({ entry }) => entry['kind'])).toEqual(['intent', 'outcome'])
    expect(await search({ operation: 'test.a', code: 'forbidden' })).toHaveLength(1)
    expect(await search({ operationId: second, caller: 'urn:gridseal:module:billing' })).toHaveLength(1)
    expect(await search({ operationId: second, caller: 'urn:gridseal:module:other' })).toEqual([])
    const decision = { effect: 'allow', rule: 'grant:1', revision: 'r' } as const
    await audit.log.append(draftOf('refusal', undefined, { code: 'ok', decision }))
    await audit.log.append(draftOf('refusal', undefined, { code: 'ok', decision: { ...decision, rule: 'other' } }))
    await audit.flush()
    expect((await search({ rule: 'grant:1' })).map(({ entry }) => entry['decision'])).toEqual([decision])
    expect(await search({ rule: 'other', code: 'ok' })).toHaveLength(1)
    expect(await search({ rule: 'grant:2' })).toEqual([])
    const all = await search({ from: '1', limit: '2' })
    expect(all.map(({ index }) => index)).toEqual([1, 2])
    expect(JSON.parse(Buffer.from(all[0]?.bytes ?? '', 'base64').toString())).toEqual(all[0]?.entry)
    const found = (await ask('policies.audit.get', { operationId: first })) as Found
    expect(found.entries.map(({ entry }) => entry['kind'])).toEqual(['intent', 'outcome'])
    await audit.flush()
    expect(await search({ caller: 'urn:gridseal:auditor:wang', operation: 'policies.audit.search' })).toHaveLength(8)
  })

  it('is told of wrong questions and unknown operations', async () => {
    for (const body of [{ limit: 1001 }, { from: -1 }, { operationId: 'x' }, { other: 1 }])
      await expect(search(body)).rejects.toMatchObject({ code: 'request-invalid' })
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

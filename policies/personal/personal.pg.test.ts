import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { verifyExportedLog } from '../../clients/audit-verify.ts'
import { base64url, fromBase64url, sha256, utf8 } from '../../core/bytes.ts'
import { type FaultPoint, noFaults } from '../../core/fault-point.ts'
import { newOperationId, type OperationId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import type { Sql } from '../../core/tx.ts'
import { testDatabase, type TestDatabase } from '../../server/postgres/test-database.ts'
import { commitmentOf, type Entry } from '../audit/entry.ts'
import { auditFeature, type AuditFeature } from '../audit/index.ts'
import { draftOf } from '../audit/testing/drafts.ts'
import { softKeys } from '../audit/testing/soft-keys.ts'
import type { Caller } from '../caller.ts'
import { type Gate, perform } from '../gate.ts'
import { holdFeature } from '../holds/index.ts'
import type { AnyOperation, Download } from '../operation.ts'
import { testSealer } from '../testing/row-sealer.ts'
import { softwareParking } from '../testing/software-parking.ts'
import { alice, bob, problemOf } from '../testing/two-officers.ts'
import { personalFeature } from './index.ts'

type Answer = Record<string, unknown>
const ann: Caller = { kind: 'auditor', name: 'ann', id: 'id-ann', person: { id: 'person-ann', name: 'ann' } }
/** Ann again, by an officer's registration. */
const annAsOfficer: Caller = { kind: 'officer', name: 'ann', id: 'id-ann-2', person: { id: 'person-ann', name: 'ann' } }
const [ICCID, OTHER, PHONE] = ['89860012345678901238', '89860012345678909999', '+8613800138000']

let db: TestDatabase
let audit: AuditFeature
let gate: Gate
let operations: readonly AnyOperation[]
/** With another setting. */
let withRetention: (days: number) => readonly AnyOperation[]
/** What was asked of database and token to find values. */
const looked: string[] = []
/** Where the process dies, once. */
let dies: { readonly point: FaultPoint; readonly operation: string } | undefined
const keys = softKeys()
const folder = mkdtempSync(join(tmpdir(), 'gridseal-personal-'))

class Died extends Error {}

beforeAll(async () => {
  db = await testDatabase()
  audit = auditFeature({ sql: db.sql, connect: db.database.connect, integrity: keys, origin: 'grid.example/audit', checkpointFile: join(folder, 'checkpoint') })
  await audit.start()
  gate = {
    ...{ log: audit.log, decide: () => ({ effect: 'allow', rule: 'test', revision: 'test', reason: '' }) },
    holds: { park: (request) => holds.desk.park(request), take: (id, request) => holds.desk.take(id, request) },
    faults: (point, operation) => {
      if (dies?.point === point && dies.operation === operation) throw new Died(point)
      noFaults(point)
    },
  }
  const holds = holdFeature({
    ...{ sql: db.sql, sealer: testSealer, gate, parking: softwareParking, operations: () => operations },
    ...{ isActive: () => Promise.resolve(true), onExpiryFailure: () => undefined },
  })
  withRetention = (retentionDays) => {
    const watched: Sql = {
      query: (text, values) => {
        looked.push(text)
        return db.sql.query(text, values)
      },
    }
    const blindIndex: typeof keys.blindIndex = (values) => {
      looked.push('blind index')
      return keys.blindIndex(values)
    }
    const personal = personalFeature({ sql: watched, reader: audit.reader, blindIndex, retentionDays })
    return [...audit.operations, ...holds.operations, ...personal.operations]
  }
  operations = withRetention(0)
})
afterAll(async () => {
  await audit.close()
  await db.close()
  rmSync(folder, { recursive: true })
})

async function ask(name: string, body: object, caller: Caller): Promise<Answer> {
  const op = operations.find((candidate) => candidate.name === `policies.${name}`)
  if (op === undefined) throw new Error(`no operation ${name}`)
  return (await perform(gate, op, { caller, body })) as Answer
}

/** Asked and held: the id of the hold. */
async function hold(name: string, body: object, caller: Caller): Promise<string> {
  const before = new Set((await db.sql.query<{ id: string }>('SELECT id FROM holds')).map(({ id }) => id))
  expect((await problemOf(ask(name, body, caller))).code).toBe('held')
  return String((await db.sql.query<{ id: string }>('SELECT id FROM holds')).find(({ id }) => !before.has(id))?.id)
}
async function approve(holdId: string, by: Caller = bob): Promise<void> {
  const { digest } = await ask('hold.get', { holdId }, by)
  await ask('hold.approve', { holdId, digest }, by)
}
async function byTwo(name: string, body: object, caller: Caller): Promise<Answer> {
  const holdId = await hold(name, body, caller)
  await approve(holdId)
  return ask('hold.run', { holdId }, caller)
}

/** An entry about personal values, in the tree: its index. */
async function entryOf(personal: Record<string, string>): Promise<{ index: number; id: OperationId; entry: Entry }> {
  const id = newOperationId()
  await audit.log.append(draftOf('event', id, { facts: { personal } }))
  await audit.flush()
  const [found] = await audit.reader.search({ from: 0, limit: 10, operationId: id })
  if (found === undefined) throw new Error('the entry is not there')
  return { index: found.index, id, entry: found.entry }
}
const lastOf = async (operation: string): Promise<Entry> => {
  await audit.flush()
  const entry = (await audit.reader.search({ from: 0, limit: 1000 })).findLast(({ entry: { operation: name } }) => name === `policies.${operation}`)?.entry
  if (entry === undefined) throw new Error(`no entry of ${operation}`)
  return entry
}

/** Everything that the database holds as text, but the values themselves and what waits, encrypted. */
async function everythingElse(): Promise<string> {
  const tables = await db.ownerSql.query<{ name: string }>(
    `SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'audit_personal'`,
  )
  const texts = await Promise.all(
    tables.map(({ name }) => db.ownerSql.query<{ text: string | null }>(`SELECT string_agg(t::text, ' ') AS text FROM ${name} t`)),
  )
  const bundles = await db.ownerSql.query<{ bundle: Buffer }>('SELECT bundle FROM audit_groups')
  return `${texts.map(([row]) => row?.text ?? '').join(' ')} ${bundles.map(({ bundle }) => bundle.toString('latin1')).join(' ')}`
}

async function exported(): Promise<Buffer> {
  const { chunks } = (await ask('audit.export', {}, ann)) as unknown as Download
  const parts: Uint8Array[] = []
  for await (const part of chunks) parts.push(part)
  return Buffer.concat(parts)
}

describe('a reveal', () => {
  it('shows values with the salts that open their commitments, once an officer has agreed, and nowhere else', async () => {
    const [one, two] = [await entryOf({ iccid: ICCID, imsi: '460001234567890' }), await entryOf({ iccid: OTHER })]
    const wanted = { entries: [one.index, two.index], names: ['iccid'], reason: 'case 12' }
    const holdId = await hold('audit.reveal', wanted, ann)
    expect((await problemOf(ask('hold.run', { holdId }, ann))).code).toBe('forbidden')
    const seen = await ask('hold.get', { holdId }, bob)
    expect(seen).toMatchObject({
      input: wanted,
      facts: { entries: [String(one.index), String(two.index)], reason: 'case 12', names: ['iccid'], of: ['test.thing.do'] },
    })
    expect(JSON.stringify(seen)).not.toContain(ICCID)

    const own = { holdId, digest: seen['digest'] }
    expect((await problemOf(ask('hold.approve', own, annAsOfficer))).detail).toMatch(/Another person/)
    await approve(holdId)
    const { entries } = (await ask('hold.run', { holdId }, ann)) as unknown as {
      entries: { index: number; values: { name: string; value: string; salt: string; commitment: string }[] }[]
    }
    expect(entries.map(({ index, values }) => [index, values.map(({ name, value }) => `${name} ${value}`)])).toEqual([
      [one.index, [`iccid ${ICCID}`]],
      [two.index, [`iccid ${OTHER}`]],
    ])
    for (const [at, { entry }] of [one, two].entries()) {
      const { name, value, salt, commitment } = entries[at]?.values[0] ?? { name: '', value: '', salt: '', commitment: '' }
      expect(commitmentOf({ name, value, salt: fromBase64url(salt) })).toBe(entry.personal?.['iccid']?.commitment)
      expect(commitment).toBe(entry.personal?.['iccid']?.commitment)
    }
    expect((await problemOf(ask('hold.run', { holdId }, ann))).code).toBe('conflict')
    expect(await lastOf('audit.reveal')).toMatchObject({ kind: 'outcome', code: 'ok', facts: { revealed: 2, erased: 0, reason: 'case 12' } })
    const rest = await everythingElse()
    expect(rest).toContain('case 12')
    for (const value of [ICCID, OTHER]) expect(rest).not.toContain(value)
  })

  it('tells of no entry that is not there, and shows none for an entry without values', async () => {
    const { index } = await entryOf({})
    expect((await problemOf(ask('audit.reveal', { entries: [index, 9_999_999], reason: 'x' }, ann))).detail).toContain('9999999')
    expect(await byTwo('audit.reveal', { entries: [index], reason: 'x' }, ann)).toEqual({ entries: [{ index, values: [] }] })
  })

  it.each([
    ['exchanged', `UPDATE audit_personal SET value = 'x' WHERE operation_id = $1`, /does not open the commitment/],
    ['salted anew', `UPDATE audit_personal SET salt = decode(repeat('00', 16), 'hex') WHERE operation_id = $1`, /does not open the commitment/],
    ['deleted', `DELETE FROM audit_personal WHERE operation_id = $1`, /no erasure took it/],
  ])('names the entry whose value was %s in the database, and shows nothing', async (_what, statement, told) => {
    const [good, { index, id }] = [await entryOf({ iccid: OTHER }), await entryOf({ iccid: ICCID })]
    await db.ownerSql.query(statement, [id])
    const holdId = await hold('audit.reveal', { entries: [good.index, index], reason: 'x' }, ann)
    await approve(holdId)
    const problem = await problemOf(ask('hold.run', { holdId }, ann))
    expect([problem.code, problem.detail]).toEqual(['integrity-failed', expect.stringMatching(told)])
    expect(problem.detail).toContain(`the entry ${String(index)} `)
    await audit.flush()
    expect((await lastOf('audit.reveal')).code).toBe('integrity-failed')
  })
})

describe('an erasure', () => {
  it('takes every value of the subject, by two officers, and leaves log, proofs and export as they were', async () => {
    const [one, two, other] = [await entryOf({ iccid: ICCID, userPhone: PHONE }), await entryOf({ responsiblePhone: PHONE }), await entryOf({ iccid: OTHER })]
    const subjects = [{ name: 'iccid', value: ICCID }, { value: PHONE }]
    const counted = await ask('personal.find', { subjects }, alice)
    expect(counted).toMatchObject({ values: Number(counted['values']), names: ['iccid', 'responsiblePhone', 'userPhone'], retained: 0, retentionDays: 0 })
    expect(Date.parse(String(counted['earliest']))).toBeLessThanOrEqual(Date.parse(String(counted['latest'])))
    const before = await exported()
    const proofs = await Promise.all([one, two].map(({ id }) => ask('audit.proof', { operationId: id }, ann)))

    looked.length = 0
    const holdId = await hold('personal.erase', { subjects, reason: 'request 7' }, alice)
    expect(looked).toContain('blind index')
    const seen = await ask('hold.get', { holdId }, bob)
    expect(seen['facts']).toMatchObject({
      reason: 'request 7',
      subjects: 2,
      values: counted['values'],
      entries: counted['entries'],
      earliest: counted['earliest'],
    })
    expect(JSON.stringify(seen['facts'])).not.toMatch(new RegExp(`${ICCID}|138000`))
    await approve(holdId)
    const erased = await ask('hold.run', { holdId }, alice)
    expect(erased).toMatchObject({ values: counted['values'], entries: counted['entries'], retained: 0 })
    expect(await db.sql.query('SELECT FROM audit_personal WHERE value = ANY ($1)', [[ICCID, PHONE]])).toEqual([])
    expect(await db.sql.query('SELECT FROM audit_personal WHERE value = $1', [OTHER])).not.toEqual([])
    expect(await db.sql.query('SELECT FROM hold_inputs WHERE id = $1', [holdId])).toEqual([])
    const rest = await everythingElse()
    for (const value of [ICCID, PHONE]) expect(rest).not.toContain(value)

    const entry = await lastOf('personal.erase')
    expect(entry).toMatchObject({
      kind: 'outcome',
      code: 'ok',
      facts: { erasure: erased['erasure'], erasedValues: erased['values'], positions: erased['positions'] },
    })
    // The digest is made again from what the erasure left behind.
    const left = await db.sql.query<{ line: string }>(
      `SELECT writer || '/' || epoch || '/' || seq || ' ' || name AS line FROM audit_erasures WHERE erasure = $1 ORDER BY writer, epoch, seq, name COLLATE "C"`,
      [erased['erasure']],
    )
    expect(left).toHaveLength(Number(erased['values']))
    expect(base64url(sha256(utf8(left.map(({ line }) => line).join('\n'))))).toBe(erased['positions'])

    expect((await exported()).subarray(0, before.lastIndexOf('\n{"checkpoint"'))).toEqual(before.subarray(0, before.lastIndexOf('\n{"checkpoint"')))
    for (const [at, { id }] of [one, two].entries()) {
      const again = await ask('audit.proof', { operationId: id }, ann)
      const bytes = (answer: Answer = {}): unknown => (answer['entries'] as { bytes: string }[]).map((part) => part.bytes)
      expect(bytes(again)).toEqual(bytes(proofs[at]))
    }
    expect(await byTwo('audit.reveal', { entries: [one.index, two.index, other.index], reason: 'x' }, ann)).toMatchObject({
      entries: [
        {
          values: [
            { name: 'iccid', erasure: erased['erasure'] },
            { name: 'userPhone', erasure: erased['erasure'] },
          ],
        },
        { values: [{ name: 'responsiblePhone', erasure: erased['erasure'] }] },
        { values: [{ name: 'iccid', value: OTHER }] },
      ],
    })
  })

  it('asked again takes what came since, or nothing', async () => {
    const subjects = [{ name: 'iccid', value: '89860099999999999999' }]
    await entryOf({ iccid: '89860099999999999999' })
    expect(await byTwo('personal.erase', { subjects, reason: 'x' }, alice)).toMatchObject({ values: 1 })
    expect(await byTwo('personal.erase', { subjects, reason: 'x' }, alice)).toMatchObject({ values: 0, entries: 0 })
    await entryOf({ iccid: '89860099999999999999' })
    expect(await byTwo('personal.erase', { subjects, reason: 'x' }, alice)).toMatchObject({ values: 1 })
  })

  it('is for officers, whatever the policy says: for others nothing is counted, so that no time tells what the log holds', async () => {
    await entryOf({ userName: 'somebody' })
    for (const value of ['somebody', 'nobody']) {
      looked.length = 0
      expect((await problemOf(ask('personal.erase', { subjects: [{ value }], reason: 'x' }, ann))).detail).toMatch(/auditor:ann is no officer/)
      expect(looked).toEqual([])
      expect((await lastOf('personal.erase')).facts).toEqual({ reason: 'x', subjects: 1 })
    }
  })

  it('under a name takes nothing of another name', async () => {
    await entryOf({ iccid: '1234567', imsi: '1234567' })
    expect(await byTwo('personal.erase', { subjects: [{ name: 'imsi', value: '1234567' }], reason: 'x' }, alice)).toMatchObject({ values: 1 })
    expect(await ask('personal.find', { subjects: [{ value: '1234567' }] }, alice)).toMatchObject({ values: 1, names: ['iccid'] })
  })

  it('leaves what is too young, and says how much', async () => {
    const value = '89860055555555555555'
    const [old] = [await entryOf({ iccid: value }), await entryOf({ iccid: value })]
    await db.ownerSql.query('ALTER TABLE audit_groups DISABLE TRIGGER USER')
    await db.ownerSql.query(`UPDATE audit_groups SET created_at = created_at - interval '31 days' WHERE writer = $1 AND epoch = $2 AND first_seq = $3`, [
      ...[old.entry.writer.slot, old.entry.writer.epoch, old.entry.writer.seq],
    ])
    await db.ownerSql.query('ALTER TABLE audit_groups ENABLE TRIGGER USER')
    operations = withRetention(30)
    try {
      expect(await ask('personal.find', { subjects: [{ value }] }, alice)).toMatchObject({ values: 2, retained: 1, retentionDays: 30 })
      expect(await byTwo('personal.erase', { subjects: [{ value }], reason: 'x' }, alice)).toMatchObject({ values: 1, retained: 1 })
      expect(await ask('personal.find', { subjects: [{ value }] }, alice)).toMatchObject({ values: 1, retained: 1 })
    } finally {
      operations = withRetention(0)
    }
  })

  it.each(['gate.executed', 'gate.outcome-written', 'gate.outcome-committed'] as const)('a crash at %s leaves all of it or none', async (point) => {
    const value = `crash ${point}`
    await entryOf({ userName: value })
    const holdId = await hold('personal.erase', { subjects: [{ value }], reason: 'x' }, alice)
    await approve(holdId)
    dies = { point, operation: 'policies.personal.erase' }
    try {
      await expect(ask('hold.run', { holdId }, alice)).rejects.toMatchObject({ name: expect.stringMatching(/Problem|Error/) as string })
    } finally {
      dies = undefined
    }
    const isErased = point === 'gate.outcome-committed'
    expect(await db.sql.query('SELECT FROM audit_personal WHERE value = $1', [value])).toHaveLength(isErased ? 0 : 1)
    expect((await ask('hold.get', { holdId }, alice))['state']).toBe(isErased ? 'run' : 'waiting')
    expect(await db.sql.query('SELECT FROM open_intents')).toEqual([])
    if (!isErased) expect(await ask('hold.run', { holdId }, alice)).toMatchObject({ values: 1 })
  })

  it('beside writers of the same subject and another erasure: nothing fails, and what is left is what came later', async () => {
    const value = 'much talked of'
    const write = async (): Promise<void> => {
      for (let at = 0; at < 40; at += 1) await audit.log.append(draftOf('event', newOperationId(), { facts: { personal: { userName: value } } }))
    }
    const holds = [
      await hold('personal.erase', { subjects: [{ value }], reason: 'x' }, alice),
      await hold('personal.erase', { subjects: [{ value }], reason: 'y' }, alice),
    ]
    for (const holdId of holds) await approve(holdId)
    const [, ...erased] = await Promise.all([Promise.all([write(), write()]), ...holds.map((holdId) => ask('hold.run', { holdId }, alice))])
    const left = await db.sql.query('SELECT FROM audit_personal WHERE value = $1', [value])
    expect(erased.reduce((sum, answer) => sum + Number(answer['values']), left.length)).toBe(80)
    expect(await byTwo('personal.erase', { subjects: [{ value }], reason: 'z' }, alice)).toMatchObject({ values: left.length })
  })

  it('is the only way: the service’s role deletes no value, and marks none as erased', async () => {
    for (const statement of [
      'DELETE FROM audit_personal',
      'UPDATE audit_personal SET value = NULL',
      'TRUNCATE audit_personal',
      `INSERT INTO audit_erasures VALUES (0, 1, 0, 'iccid', gen_random_uuid())`,
      'DELETE FROM audit_erasures',
    ]) {
      await expect(db.sql.query(statement), statement).rejects.toMatchObject({ code: '42501' })
    }
    await expect(db.ownerSql.query('DELETE FROM audit_erasures')).rejects.toThrow(/append-only/)
  })

  it('leaves a log that verifies', async () => {
    await audit.flush()
    const path = join(folder, 'log.ndjson')
    writeFileSync(path, await exported())
    const report = await verifyExportedLog({ path, vkey: audit.key.vkey })
    expect(report).toMatchObject({ ok: true, openIntents: [] })
    expect(report.size).toBeGreaterThan(100)
  })

  it.each([
    ['no value', { subjects: [{ name: 'iccid' }], reason: 'x' }],
    ['an empty value', { subjects: [{ value: '' }], reason: 'x' }],
    ['nobody', { subjects: [], reason: 'x' }],
    ['a hostile name', { subjects: [{ name: `x' OR 1=1`, value: 'x' }], reason: 'x' }],
    ['no reason', { subjects: [{ value: 'x' }] }],
  ])('refuses %s', async (_what, body) => {
    await expect(ask('personal.erase', body, alice)).rejects.toBeInstanceOf(Problem)
    expect((await problemOf(ask('personal.erase', body, alice))).code).toBe('request-invalid')
  })
})

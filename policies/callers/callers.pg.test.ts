import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestDatabase, testDatabase } from '../../server/postgres/test-database.ts'
import { type Caller, systemCaller } from '../caller.ts'
import { perform } from '../gate.ts'
import { MemoryLog, memoryGate } from '../testing/memory-gate.ts'
import { testSealer } from '../testing/row-sealer.ts'
import { callerFeature } from './index.ts'

const officer: Caller = { kind: 'officer', name: 'alice', id: '00000000-0000-7000-8000-000000000001' }

let db: TestDatabase
let feature: ReturnType<typeof callerFeature>
let log: MemoryLog

beforeAll(async () => {
  db = await testDatabase()
  feature = callerFeature({ sql: db.sql, sealer: testSealer, now: () => new Date('2026-11-23T00:00:00Z') })
  log = new MemoryLog(db.sql)
})
afterAll(() => db.close())

const ask = (name: string, body: unknown, caller: Caller = officer) => {
  const op = feature.operations.find((candidate) => candidate.name === name)
  if (op === undefined) throw new Error(`no operation ${name}`)
  return perform(memoryGate(undefined, log), op, { caller, body }) as Promise<Record<string, string>>
}

describe('callers', () => {
  it('are registered, listed and revoked; a name is given once', async () => {
    const billing = await ask('policies.caller.register', { kind: 'module', name: 'billing' })
    expect(billing).toMatchObject({ urn: 'urn:gridseal:module:billing', state: 'active', registeredBy: 'urn:gridseal:officer:alice' })
    await expect(ask('policies.caller.register', { kind: 'module', name: 'billing' })).rejects.toMatchObject({ code: 'conflict' })
    await ask('policies.caller.register', { kind: 'vendor', name: 'billing' })

    expect(await ask('policies.caller.revoke', { callerId: billing['callerId'] })).toMatchObject({ state: 'revoked' })
    await expect(ask('policies.caller.revoke', { callerId: billing['callerId'] })).rejects.toMatchObject({ code: 'conflict' })
    await expect(ask('policies.caller.register', { kind: 'module', name: 'billing' })).rejects.toMatchObject({ code: 'conflict' })
    expect(await feature.callers.find(billing['callerId'] ?? '')).toMatchObject({ state: 'revoked', version: 2 })
    const outcome = log.entries.findLast(({ operation, code }) => operation === 'policies.caller.revoke' && code === 'ok')
    expect(outcome?.facts?.rows).toMatchObject([{ table: 'callers', id: billing['callerId'], version: 2 }])
  })

  it('an officer does not revoke themselves, nor whom there is not', async () => {
    const bob = await ask('policies.caller.register', { kind: 'officer', name: 'bob' })
    await expect(
      ask('policies.caller.revoke', { callerId: bob['callerId'] }, { kind: 'officer', name: 'bob', id: bob['callerId'] ?? '' }),
    ).rejects.toMatchObject({ code: 'conflict' })
    await expect(ask('policies.caller.revoke', { callerId: officer.id })).rejects.toMatchObject({ code: 'not-found' })
  })

  it('an edited row is refused: a revoked caller is not made active in the database', async () => {
    const mallory = await ask('policies.caller.register', { kind: 'module', name: 'mallory' })
    await ask('policies.caller.revoke', { callerId: mallory['callerId'] })
    await db.ownerSql.query(`UPDATE callers SET state = 'active' WHERE name = 'mallory'`)
    await expect(feature.callers.find(mallory['callerId'] ?? '')).rejects.toMatchObject({ code: 'integrity-failed' })
    await db.ownerSql.query(`UPDATE callers SET state = 'revoked' WHERE name = 'mallory'`)
    expect(await feature.callers.find(mallory['callerId'] ?? '')).toMatchObject({ state: 'revoked' })
  })

  it('the service cannot delete a caller, nor rename one', async () => {
    await expect(db.sql.query('DELETE FROM callers')).rejects.toThrow(/permission denied/)
    await expect(db.sql.query(`UPDATE callers SET kind = 'officer'`)).rejects.toThrow(/permission denied/)
  })
})

describe('the bootstrap', () => {
  const init = systemCaller('init')
  it.each([[['alice']], [['alice', 'alice']], [['alice', 'bob', 'carol']], [['Alice', 'bob']]])('wants exactly two officers: %j', async (names) => {
    await expect(ask('policies.bootstrap.enrol', { names }, init)).rejects.toMatchObject({ code: 'request-invalid' })
  })

  it('enrols two and burns itself', async () => {
    expect(await feature.bootstrap.find()).toBeUndefined()
    expect(await ask('policies.bootstrap.enrol', { names: ['first', 'second'] }, init)).toMatchObject({
      officers: [{ urn: 'urn:gridseal:officer:first' }, { urn: 'urn:gridseal:officer:second' }],
    })
    expect((await feature.bootstrap.find())?.officers).toHaveLength(2)
    await expect(ask('policies.bootstrap.enrol', { names: ['third', 'fourth'] }, init)).rejects.toMatchObject({ code: 'conflict' })
    expect((await feature.callers.list({ limit: 1000 })).map(({ name }) => name)).not.toContain('third')
  })
})

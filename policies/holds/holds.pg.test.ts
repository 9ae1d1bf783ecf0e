import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { base64url } from '../../core/bytes.ts'
import { keyId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { type TestDatabase, testDatabase } from '../../server/postgres/test-database.ts'
import type { Caller } from '../caller.ts'
import type { HoldClaim } from '../firewall/decide.ts'
import { type Gate, perform } from '../gate.ts'
import { type AnyOperation, operation } from '../operation.ts'
import { DatabaseLog } from '../testing/database-log.ts'
import { testSealer } from '../testing/row-sealer.ts'
import { softwareParking } from '../testing/software-parking.ts'
import { canonicalJson, digestOf } from './hold.ts'
import { holdFeature } from './index.ts'

const person = (kind: Caller['kind'], name: string): Caller => ({
  ...{ kind, name, id: `id-${kind}-${name}`, address: '127.0.0.1', person: { id: `person-${name}`, name } },
})
const [alice, bob, carol, auditor] = [person('officer', 'alice'), person('officer', 'bob'), person('officer', 'carol'), person('auditor', 'dave')]

const KEY = keyId('key:test')
/** What was done, with what input. */
const done: string[] = []
const subject = (name: string, effect: 'durable' | 'transient', usesKey: boolean): AnyOperation =>
  operation({
    name,
    summary: 'Does something that is held.',
    effect,
    input: z.strictObject({ what: z.string(), bytes: z.base64().optional() }),
    output: z.strictObject({ did: z.string() }),
    locate: (input) => Promise.resolve(input),
    uses: () => (usesKey ? [{ action: 'sign' as const, keyId: KEY }] : []),
    facts: ({ what }) => ({ public: { what } }),
    execute: (permit, { what }) => {
      if (usesKey) permit.assertAllows('sign', KEY)
      if (what === 'fail') throw new Problem('conflict', 'It cannot be done.')
      done.push(`${name} ${what}`)
      return Promise.resolve({ did: what })
    },
    respond: (_target, result) => result,
  })
const SUBJECTS = [subject('test.thing.make', 'durable', true), subject('test.thing.note', 'durable', false), subject('test.thing.use', 'transient', true)]

let db: TestDatabase
let log: DatabaseLog
let feature: ReturnType<typeof holdFeature>
let gate: Gate
let claim: HoldClaim
const inactive = new Set<string>()
/** What the policy says of the subjects. */
let effect: 'allow' | 'hold' | 'deny'

beforeAll(async () => {
  db = await testDatabase()
})
afterAll(() => db.close())
beforeEach(() => {
  done.length = 0
  inactive.clear()
  effect = 'hold'
  claim = { approvals: 2, of: ['officer:*'], withinMs: 60_000 }
  log = new DatabaseLog(db)
  gate = {
    log,
    decide: ({ operation: name }) => {
      const found = { rule: 'two-officers', revision: 'r1', reason: 'a test says so' }
      return name.startsWith('test.') ? { ...found, effect, ...(effect === 'hold' ? { claims: { hold: claim } } : {}) } : { ...found, effect: 'allow' }
    },
    holds: { park: (request) => feature.desk.park(request), take: (id, request) => feature.desk.take(id, request) },
  }
  feature = holdFeature({
    ...{ sql: db.sql, sealer: testSealer, gate, parking: softwareParking, operations: () => SUBJECTS },
    isActive: (callerId) => Promise.resolve(!inactive.has(callerId)),
    onExpiryFailure: (problem) => expect.unreachable(String(problem)),
  })
})

const ask = async (name: string, body: object, caller: Caller): Promise<Record<string, unknown>> => {
  const op = [...SUBJECTS, ...feature.operations].find((candidate) => candidate.name === name)
  if (op === undefined) throw new Error(`no operation ${name}`)
  return (await perform(gate, op, { caller, body })) as Record<string, unknown>
}
const problemOf = (work: Promise<unknown>): Promise<Problem> =>
  work.then(
    () => expect.unreachable('it was not refused'),
    (error: unknown) => (error instanceof Problem ? error : expect.unreachable(String(error))),
  )
const codeOf = async (work: Promise<unknown>): Promise<string> => (await problemOf(work)).code

/** Asks for what is held. Answers the hold's id and digest. */
async function hold(name = 'test.thing.make', body: object = { what: 'a' }, caller = alice): Promise<{ readonly holdId: string; readonly digest: string }> {
  const before = log.entries.length
  expect(await codeOf(ask(name, body, caller))).toBe('held')
  const entry = log.entries.slice(before).find(({ kind, operation: asked }) => kind === 'refusal' && asked === name)
  expect(entry).toMatchObject({ code: 'held', decision: { effect: 'deny', rule: 'two-officers' } })
  const holdId = entry?.id ?? ''
  const { digest } = await ask('policies.hold.get', { holdId }, bob)
  return { holdId, digest: String(digest) }
}
const approve = (held: { readonly holdId: string; readonly digest: string }, caller: Caller) => ask('policies.hold.approve', held, caller)
const stateOf = async (holdId: string): Promise<unknown> => (await ask('policies.hold.get', { holdId }, bob))['state']

describe('a request that the policy holds', () => {
  it.each(SUBJECTS.map(({ name }) => name))('is done once others have approved it, once, and its answer is the operation’s: %s', async (name) => {
    const held = await hold(name)
    expect(done).toEqual([])
    expect(await codeOf(ask('policies.hold.run', { holdId: held.holdId }, alice))).toBe('forbidden')
    await approve(held, bob)
    const told = await problemOf(ask('policies.hold.run', { holdId: held.holdId }, alice))
    expect(told.detail).toMatch(/2 of officer:\* must approve .* and 1 did/)
    await approve(held, carol)
    expect(await ask('policies.hold.run', { holdId: held.holdId }, alice)).toEqual({ did: 'a' })
    expect(await codeOf(ask('policies.hold.run', { holdId: held.holdId }, alice))).toBe('conflict')
    expect(done).toEqual([`${name} a`])
    const intent = log.entries.find(({ kind, operation: asked }) => kind === 'intent' && asked === name)
    expect(intent).toMatchObject({
      ...{ parent: held.holdId, caller: alice, decision: { effect: 'allow', rule: 'two-officers' } },
      facts: {
        public: { what: 'a', hold: held.holdId, approvers: ['urn:gridseal:officer:bob', 'urn:gridseal:officer:carol'] },
        rows: [
          { table: 'holds', version: 2 },
          { table: 'hold_inputs', version: 2, digest: 'deleted' },
        ],
      },
    })
    expect(log.entries.filter(({ kind, operation: asked }) => kind === 'outcome' && asked === name)).toMatchObject([{ id: intent?.id, code: 'ok' }])
  })

  it('of 16 runs at once one is done', async () => {
    const held = await hold()
    await Promise.all([approve(held, bob), approve(held, carol)])
    const runs = await Promise.allSettled(Array.from({ length: 16 }, () => ask('policies.hold.run', { holdId: held.holdId }, alice)))
    expect(runs.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(done).toHaveLength(1)
  })

  it('is used up by a run that fails', async () => {
    const held = await hold('test.thing.make', { what: 'fail' })
    await Promise.all([approve(held, bob), approve(held, carol)])
    expect((await problemOf(ask('policies.hold.run', { holdId: held.holdId }, alice))).detail).toBe('It cannot be done.')
    expect(await stateOf(held.holdId)).toBe('run')
  })

  it('keeps what was sent, encrypted, and nothing of it once it has ended', async () => {
    const body = { what: 'a secret matter', bytes: randomBytes(100_000).toString('base64') }
    const { holdId } = await hold('test.thing.make', body)
    const [stored] = await db.sql.query<{ parts: Buffer[] }>('SELECT parts FROM hold_inputs WHERE id = $1', [holdId])
    expect(stored?.parts).toHaveLength(3)
    expect(Buffer.concat(stored?.parts ?? []).includes('secret matter')).toBe(false)
    const seen = await ask('policies.hold.get', { holdId }, bob)
    expect(seen['input']).toEqual(body)
    expect(base64url(digestOf(Buffer.from(String(seen['salt']), 'base64url'), body))).toBe(seen['digest'])
    await ask('policies.hold.withdraw', { holdId }, alice)
    expect(await db.sql.query('SELECT 1 FROM hold_inputs WHERE id = $1', [holdId])).toEqual([])
    const after = await ask('policies.hold.get', { holdId }, bob)
    expect([after['state'], after['input'], after['salt']]).toEqual(['withdrawn', undefined, undefined])
  })

  it('is not held when it is more than can be kept', async () => {
    expect(await codeOf(ask('test.thing.make', { what: 'a', bytes: Buffer.alloc(900_000).toString('base64') }, alice))).toBe('body-too-large')
  })

  it.each(['system', 'anonymous', 'person'] as const)('is refused, and nothing of it is kept, where it cannot wait: of %s', async (kind) => {
    const before = await db.sql.query('SELECT 1 FROM holds')
    const told = await problemOf(ask('test.thing.make', { what: 'a' }, { kind, name: 'x', id: 'x' }))
    expect([told.code, told.detail.includes('cannot be held')]).toEqual(['forbidden', true])
    expect(await db.sql.query('SELECT 1 FROM holds')).toHaveLength(before.length)
  })

  it('is decided again when it is run, by the policy of then', async () => {
    const held = await hold()
    await Promise.all([approve(held, bob), approve(held, carol)])
    effect = 'deny'
    expect(await codeOf(ask('policies.hold.run', { holdId: held.holdId }, alice))).toBe('forbidden')
    effect = 'hold'
    claim = { ...claim, approvals: 3 }
    expect(await codeOf(ask('policies.hold.run', { holdId: held.holdId }, alice))).toBe('forbidden')
    claim = { ...claim, approvals: 2, of: ['officer:bob'] }
    expect(await codeOf(ask('policies.hold.run', { holdId: held.holdId }, alice))).toBe('forbidden')
    effect = 'allow'
    expect(await ask('policies.hold.run', { holdId: held.holdId }, alice)).toEqual({ did: 'a' })
    expect(await stateOf(held.holdId)).toBe('run')
  })
})

describe('approvals', () => {
  it('are nothing that auditors see of others’ requests, whatever the policy says; what they asked for themselves they do', async () => {
    const [others, own] = [await hold(), await hold('test.thing.use', { what: 'b' }, auditor)]
    for (const verb of ['get', 'run', 'withdraw'])
      expect(await codeOf(ask(`policies.hold.${verb}`, { holdId: others.holdId }, auditor)), verb).toBe('not-found')
    expect(await ask('policies.hold.get', { holdId: own.holdId }, auditor)).toMatchObject({ input: { what: 'b' } })
  })

  it('are of other people than who asked, of those that the rule names, each once, and of what was looked at', async () => {
    const held = await hold()
    expect(await codeOf(approve(held, alice))).toBe('forbidden')
    expect(await codeOf(approve(held, { ...alice, name: 'alice-2', id: 'another registration' }))).toBe('forbidden')
    expect(await codeOf(approve(held, auditor))).toBe('forbidden')
    expect(await codeOf(approve({ ...held, digest: base64url(randomBytes(32)) }, bob))).toBe('conflict')
    await approve(held, bob)
    expect(await codeOf(approve(held, bob))).toBe('conflict')
    expect(await codeOf(ask('policies.hold.run', { holdId: held.holdId }, alice))).toBe('forbidden')
  })

  it('of 16 at once by one person one counts', async () => {
    const held = await hold()
    const all = await Promise.allSettled(Array.from({ length: 16 }, () => approve(held, bob)))
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(await db.sql.query('SELECT 1 FROM hold_approvals WHERE hold_id = $1', [held.holdId])).toHaveLength(1)
  })

  it('of who was revoked since do not count', async () => {
    const held = await hold()
    await Promise.all([approve(held, bob), approve(held, carol)])
    inactive.add(carol.id)
    expect(await codeOf(ask('policies.hold.run', { holdId: held.holdId }, alice))).toBe('forbidden')
  })

  it('forged in the database are refused', async () => {
    const held = await hold()
    await approve(held, bob)
    await db.ownerSql.query(
      `INSERT INTO hold_approvals SELECT hold_id, 'person-carol', approver_kind, 'carol', 'id-officer-carol', digest, at, mac FROM hold_approvals WHERE hold_id = $1`,
      [held.holdId],
    )
    expect(await codeOf(ask('policies.hold.run', { holdId: held.holdId }, alice))).toBe('integrity-failed')
    await db.ownerSql.query(`DELETE FROM hold_approvals WHERE hold_id = $1 AND person = 'person-carol'`, [held.holdId])
  })
})

describe('the end of a hold', () => {
  it('comes by a refusal, with a reason, of who could approve', async () => {
    const held = await hold()
    expect(await codeOf(ask('policies.hold.refuse', { holdId: held.holdId, reason: 'no' }, alice))).toBe('forbidden')
    expect(await ask('policies.hold.refuse', { holdId: held.holdId, reason: 'not on a Friday' }, bob)).toMatchObject({
      state: 'refused',
      reason: 'not on a Friday',
    })
    expect(await codeOf(approve(held, carol))).toBe('conflict')
    expect(await codeOf(ask('policies.hold.run', { holdId: held.holdId }, alice))).toBe('conflict')
  })

  it('comes by who asked, and nobody else’s request is theirs to withdraw or run', async () => {
    const { holdId } = await hold()
    expect(await codeOf(ask('policies.hold.withdraw', { holdId }, bob))).toBe('not-found')
    expect(await codeOf(ask('policies.hold.run', { holdId }, bob))).toBe('not-found')
    expect(await ask('policies.hold.withdraw', { holdId }, alice)).toMatchObject({ state: 'withdrawn' })
  })

  it('comes with its deadline, whether or not the job was there', async () => {
    claim = { ...claim, approvals: 1, withinMs: 300 }
    const held = await hold()
    await approve(held, bob)
    await expect.poll(() => codeOf(ask('policies.hold.run', { holdId: held.holdId }, alice)), { timeout: 5000 }).toBe('conflict')
    expect(done.length).toBeLessThanOrEqual(1)
    if (done.length === 1) return
    expect(await stateOf(held.holdId)).toBe('expired')
  })

  it('past its deadline is written down by the job, which deletes what was parked', async () => {
    claim = { ...claim, withinMs: 1 }
    const { holdId } = await hold()
    feature.job.start()
    await expect.poll(() => db.sql.query('SELECT state FROM holds WHERE id = $1', [holdId]), { timeout: 5000 }).toEqual([{ state: 'expired' }])
    await feature.job.stop()
    expect(await db.sql.query('SELECT 1 FROM hold_inputs WHERE id = $1', [holdId])).toEqual([])
  })
})

describe('lists', () => {
  it('show what waits, by state and by who asked, the newest first', async () => {
    const [first, second] = [await hold(), await hold('test.thing.note', { what: 'b' }, carol)]
    const idsOf = async (query: object, caller: Caller) =>
      ((await ask('policies.hold.list', query, caller))['holds'] as { holdId: string }[]).map(({ holdId }) => holdId)
    expect((await idsOf({ state: 'waiting' }, bob)).slice(0, 2)).toEqual([second.holdId, first.holdId])
    expect(await idsOf({ mine: 'true', state: 'waiting', limit: '1' }, carol)).toEqual([second.holdId])
    expect((await idsOf({ before: second.holdId, limit: '1' }, bob))[0]).toBe(first.holdId)
  })
})

describe('an edited row', () => {
  it.each([
    ['an approval more', `UPDATE holds SET approvals = 1 WHERE id = $1`],
    ['another deadline', `UPDATE holds SET deadline = deadline + interval '1 day' WHERE id = $1`],
    ['another operation', `UPDATE holds SET operation = 'test.thing.note' WHERE id = $1`],
    ['another input’s key', `UPDATE hold_inputs SET wrapped = wrapped || '\\x00' WHERE id = $1`],
    ['another input', `UPDATE hold_inputs SET parts[1] = parts[1] || '\\x00' WHERE id = $1`],
  ])('is refused: %s', async (_what, statement) => {
    const held = await hold()
    await Promise.all([approve(held, bob), approve(held, carol)])
    await db.ownerSql.query(statement, [held.holdId])
    expect(await codeOf(ask('policies.hold.run', { holdId: held.holdId }, alice))).toBe('integrity-failed')
    expect(done).toEqual([])
  })
})

it('canonical JSON has one text for one value', () => {
  expect(canonicalJson({ b: [1, { d: null, c: 'x' }], a: true })).toBe('{"a":true,"b":[1,{"c":"x","d":null}]}')
  expect(canonicalJson({ a: 1, b: 2 })).toBe(canonicalJson({ b: 2, a: 1 }))
})

import { generateKeyPairSync, sign } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { keyId, newUuid } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { type TestDatabase, testDatabase } from '../../server/postgres/test-database.ts'
import type { Entry } from '../audit/entry.ts'
import type { LogReader } from '../audit/reader.ts'
import { ADMITTED_AT_ANY_TIME, type Caller, systemCaller } from '../caller.ts'
import type { Decide } from '../firewall/index.ts'
import { type Gate, perform } from '../gate.ts'
import type { Grant } from '../grants/grant.ts'
import { PgGrantStore } from '../grants/grant-store.pg.ts'
import { holdFeature } from '../holds/index.ts'
import type { AnyOperation } from '../operation.ts'
import { DatabaseLog } from '../testing/database-log.ts'
import { testSealer } from '../testing/row-sealer.ts'
import { softwareParking } from '../testing/software-parking.ts'
import { activationRow } from './activation.ts'
import { PgActivationStore } from './activation-store.pg.ts'
import { revisionFeature } from './index.ts'

const officer = (name: string): Caller => ({
  ...{ kind: 'officer', name, id: `id-${name}`, address: '10.1.0.7', listener: 'tls', strength: 'certificate', person: { id: `person-${name}`, name } },
})
const OFFICERS = [officer('alice'), officer('bob'), officer('carol')] as const
const [alice, bob, carol] = OFFICERS
const KEY = keyId('root:policy')
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

/** A policy: `more` are lines of its rules, `guard` of its guard. */
const policy = ({
  more = [],
  guard = [],
  officers = 'officer:*',
}: {
  readonly more?: readonly string[]
  readonly guard?: readonly string[]
  readonly officers?: string
} = {}) => `
policy: 2
owner: tests
zones: { plant: { networks: [10.0.0.0/8] } }
${guard.length === 0 ? '' : `guard:\n${guard.map((line) => `  - ${line}`).join('\n')}`}
chains:
  - name: system
    rules: [{ id: jobs, verdict: allow, reason: the service, callers: ['system:*'], operations: ['*'] }]
  - name: plant
    zones: [plant]
    rules:
      - { id: officers, verdict: allow, reason: they change it, callers: ['${officers}'], operations: [policies.*] }
${more.map((line) => `      - ${line}`).join('\n')}
`
const rule = (id: string, operation: string): string => `{ id: ${id}, verdict: allow, reason: a test, callers: ['module:*'], operations: [${operation}] }`

let db: TestDatabase
/** Nodes of one database. */
let nodes: ReturnType<typeof node>[] = []
beforeAll(async () => {
  db = await testDatabase()
})
afterAll(() => db.close())

/** What auditors would read of a log in memory. */
function readerOf({ entries }: DatabaseLog): LogReader {
  const none = () => expect.unreachable('nobody asks for that')
  return {
    search: ({ operationId, limit }) => {
      const found = entries.filter(({ id }) => id === operationId).slice(0, limit)
      return Promise.resolve(
        found.map(({ facts, ...entry }, index) => ({ index, bytes: new Uint8Array(), entry: { ...entry, facts: facts?.public } as unknown as Entry })),
      )
    },
    minimumIndex: () => Promise.resolve(0),
    ...{ read: none, lastCheckpoint: none, checkpoints: none, tiles: none },
  }
}

/** `without`: an operation that this node’s version has not. */
function node({ without }: { readonly without?: string } = {}) {
  const log = new DatabaseLog(db)
  let first: Decide | undefined
  const gate: Gate = {
    log,
    decide: (asked) => (first ?? ((one) => revisions.keeper.decide(one)))(asked),
    holds: { park: (request) => holds.desk.park(request), take: (id, request) => holds.desk.take(id, request) },
  }
  const operations = (): readonly AnyOperation[] => [...revisions.operations, ...holds.operations].filter(({ name }) => name !== without)
  const failures: Problem[] = []
  const holds = holdFeature({
    ...{ sql: db.sql, sealer: testSealer, gate, parking: softwareParking, operations },
    isActive: () => Promise.resolve(true),
    onExpiryFailure: (problem) => void failures.push(problem),
  })
  const revisions = revisionFeature({
    ...{
      sql: db.sql,
      sealer: testSealer,
      gate,
      publicKey,
      reader: readerOf(log),
      grants: new PgGrantStore({ sql: db.sql, sealer: testSealer }),
      onChange: () => undefined,
    },
    signer: {
      keyId: KEY,
      sign: (permit, message) => {
        permit.assertAllows('sign', KEY)
        return Promise.resolve(sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' }))
      },
    },
    operations: () => operations().map(({ name, effect, route }) => ({ name, effect, isRouted: route !== undefined })),
    officersLike: ({ address, listener }) =>
      Promise.resolve(OFFICERS.map((one) => ({ ...one, ...(address === undefined ? {} : { address }), ...(listener === undefined ? {} : { listener }) }))),
    onFailure: (problem) => void failures.push(problem),
  })
  const ask = async (name: string, body: object, caller: Caller): Promise<Record<string, unknown>> => {
    const op = operations().find((candidate) => candidate.name === name)
    if (op === undefined) throw new Error(`no operation ${name}`)
    return (await perform(gate, op, { caller, body })) as Record<string, unknown>
  }
  /** As at the first start: the policy of the file decides that it is taken. */
  const establish = async (text: string): Promise<void> => {
    first = () => ({ effect: 'allow', rule: 'first', revision: 'none', reason: '' })
    await ask('policies.revision.establish', { text }, systemCaller('start'))
    first = undefined
  }
  return { log, ask, establish, failures, keeper: revisions.keeper }
}

const problemOf = (work: Promise<unknown>): Promise<Problem> =>
  work.then(
    () => expect.unreachable('it was not refused'),
    (error: unknown) => (error instanceof Problem ? error : expect.unreachable(String(error))),
  )
const one = () => nodes[0] ?? expect.unreachable('no node')

beforeEach(async () => {
  await db.ownerSql.query('ALTER TABLE policy_activations DISABLE TRIGGER never_deleted')
  await db.ownerSql.query('DELETE FROM policy_activations')
  await db.ownerSql.query('ALTER TABLE policy_activations ENABLE TRIGGER never_deleted')
  nodes = [node(), node()]
  await one().establish(policy())
  await Promise.all(nodes.map(({ keeper }) => keeper.refresh()))
})
afterEach(() => Promise.all(nodes.map(({ keeper }) => keeper.stop())))

/** Asks, has others approve, and runs. */
async function activate(
  text: string,
  { approvers = [bob], confirmWithinSeconds = 600 }: { readonly approvers?: readonly Caller[]; readonly confirmWithinSeconds?: number } = {},
) {
  const { ask, log } = one()
  expect((await problemOf(ask('policies.revision.activate', { text, reason: 'a test', confirmWithinSeconds }, alice))).code).toBe('held')
  const holdId = log.entries.findLast(({ code }) => code === 'held')?.id ?? ''
  for (const approver of approvers) {
    const { digest } = await ask('policies.hold.get', { holdId }, approver)
    await ask('policies.hold.approve', { holdId, digest }, approver)
  }
  return ask('policies.hold.run', { holdId }, alice)
}
const billing: Caller = {
  ...{ kind: 'module', name: 'billing', id: 'id', address: '10.1.0.8', listener: 'tls', strength: 'certificate' },
  admittedUntil: ADMITTED_AT_ANY_TIME,
}
const decides = (at: ReturnType<typeof node>, operation: string) =>
  at.keeper.decide({
    operation,
    caller: billing,
    uses: [],
    facts: {},
    at: Date.now(),
  }).effect

describe('a node of another version', () => {
  it('denies all but what it takes to put the policy right; two officers do, and every node goes on', async () => {
    const old = policy({ more: [rule('modules', 'policies.revision.list'), rule('gone', 'policies.decision.rerun')] })
    await activate(old)
    await one().ask('policies.revision.confirm', { number: 2 }, alice)
    const newer = node({ without: 'policies.decision.rerun' })
    nodes = [...nodes, newer]
    await Promise.all(nodes.map(({ keeper }) => keeper.refresh()))
    const ruleOf = (at: ReturnType<typeof node>): string =>
      at.keeper.decide({ operation: 'kms.key.sign', caller: billing, uses: [], facts: {}, at: Date.now() }).rule
    expect(nodes.map(ruleOf)).toEqual(['default', 'default', 'recovery'])
    expect(newer.keeper.recovery).toMatch(/policies\.decision\.rerun/)
    expect((await problemOf(newer.ask('policies.hold.list', {}, billing))).code).toBe('forbidden')
    const next = policy({ more: [rule('modules', 'policies.revision.list')] })
    // On the newer node itself: it is analysed, compared, asked for, approved, tried and confirmed.
    expect(await newer.ask('policies.revision.compare', { text: next }, bob)).toMatchObject({ regions: [], undecided: [] })
    expect((await problemOf(newer.ask('policies.revision.activate', { text: old, reason: 'again' }, alice))).code).toBe('request-invalid')
    nodes = [newer, ...nodes.filter((at) => at !== newer)]
    expect(await activate(next)).toMatchObject({ number: 3, state: 'trial' })
    await Promise.all(nodes.map(({ keeper }) => keeper.refresh()))
    expect(await newer.ask('policies.revision.confirm', { number: 3 }, alice)).toMatchObject({ state: 'confirmed' })
    expect(nodes.map(ruleOf)).toEqual(['default', 'default', 'default'])
    expect(newer.keeper.recovery).toBeUndefined()
  })
})

describe('a policy that is only looked at', () => {
  const wider = policy({ more: [rule('modules', 'policies.revision.list'), rule('again', 'policies.revision.list')] })

  it('is analysed: its tests, what is of no use, and of one that has run what never decided', async () => {
    expect(await one().ask('policies.revision.analyse', { text: wider }, bob)).toMatchObject({
      ...{ rules: 4, tests: 0, failed: [], more: {}, undecided: [] },
      findings: [
        { anomaly: 'redundant', rule: 'modules' },
        { anomaly: 'redundant', rule: 'again', by: ['modules'] },
      ],
    })
    const text = policy({ more: [rule('sleeping', 'policies.revision.list')] })
    await activate(text)
    const running = (await one().ask('policies.revision.analyse', { text }, bob)) as { findings: unknown[] }
    expect(running.findings).toContainEqual(expect.objectContaining({ anomaly: 'never-hit', rule: 'sleeping' }))
  })

  it('is compared with the one in force, or with another; what it shows can be put to an explanation', async () => {
    const told = (await one().ask('policies.revision.compare', { text: wider }, bob)) as { base: string; revision: string; regions: { example: object }[] }
    expect(told).toMatchObject({
      undecided: [],
      regions: [{ change: 'newly-allowed', before: { effect: 'deny', rule: 'default' }, after: { effect: 'allow', rule: 'modules' } }],
    })
    const request = told.regions[0]?.example
    expect(request).toMatchObject({ caller: expect.stringMatching(/^module:/) as string, operation: 'policies.revision.list', usesKey: false })
    expect(await one().ask('policies.decision.explain', { request }, bob)).toMatchObject({ effect: 'deny', rule: 'default' })
    expect(await one().ask('policies.revision.compare', { text: policy(), base: told.base }, bob)).toMatchObject({ regions: [], undecided: [] })
    expect((await problemOf(one().ask('policies.revision.compare', { text: wider, base: '0123456789abcdef' }, bob))).code).toBe('not-found')
  })

  it('and is none has faults, and nothing is changed', async () => {
    for (const operation of ['policies.revision.analyse', 'policies.revision.compare']) {
      const told = await problemOf(one().ask(operation, { text: `${policy()}colour: red\n` }, bob))
      expect(told).toMatchObject({ code: 'request-invalid', faults: [{ line: 14, message: expect.stringMatching(/not known/) as string }] })
    }
    expect(await one().ask('policies.revision.list', {}, bob)).toMatchObject({ activations: [{ number: 1 }] })
  })
})

describe('a change of the policy', () => {
  const next = policy({ more: [rule('modules', 'policies.revision.list')] })

  it('is asked for by one, approved by another, on trial, on all nodes, and confirmed', async () => {
    expect(nodes.map((at) => decides(at, 'policies.revision.list'))).toEqual(['deny', 'deny'])
    expect(await activate(next)).toMatchObject({ number: 2, state: 'trial', returnsTo: 1 })
    await Promise.all(nodes.map(({ keeper }) => keeper.refresh()))
    expect(nodes.map((at) => decides(at, 'policies.revision.list'))).toEqual(['allow', 'allow'])
    expect(await one().ask('policies.revision.confirm', { number: 2 }, alice)).toMatchObject({ state: 'confirmed' })
    // A node says what it decided by until now.
    await Promise.all(nodes.map(({ keeper }) => keeper.refresh()))
    const list = (await one().ask('policies.revision.list', {}, carol)) as { activations: { number: number }[]; nodes: { number: number }[] }
    expect(list.activations.map(({ number }) => number)).toEqual([2, 1])
    expect(list.nodes.map(({ number }) => number)).toEqual([2, 2])
    const intent = one().log.entries.find(({ operation, kind }) => operation === 'policies.revision.activate' && kind === 'intent')
    expect(intent?.facts?.public).toMatchObject({ number: 2, guardChanged: false, tests: 0, approvers: ['urn:gridseal:officer:bob'] })
  })

  it('is not made by one alone, whatever the policy says', async () => {
    const told = await problemOf(activate(next, { approvers: [] }))
    expect([told.code, told.detail.includes('1 of officer:* must approve')]).toEqual(['forbidden', true])
  })

  it('of the guard chain takes two others', async () => {
    const guarded = policy({ guard: [`{ id: no-night, verdict: deny, reason: night, callers: ['vendor:*'], operations: ['*'] }`] })
    expect((await problemOf(activate(guarded))).detail).toContain('2 of officer:*')
    expect(await activate(guarded, { approvers: [bob, carol] })).toMatchObject({ number: 2 })
    await one().keeper.refresh()
    // To take it away is a change of it too.
    await one().ask('policies.revision.confirm', { number: 2 }, alice)
    await one().keeper.refresh()
    expect((await problemOf(activate(next))).detail).toContain('2 of officer:*')
  })

  it('is rolled back at once by a person, under a number of its own', async () => {
    await activate(next)
    await one().keeper.refresh()
    expect(await one().ask('policies.revision.roll-back', { number: 2, reason: 'too wide' }, bob)).toMatchObject({ number: 3, state: 'confirmed' })
    await Promise.all(nodes.map(({ keeper }) => keeper.refresh()))
    expect(nodes.map((at) => decides(at, 'policies.revision.list'))).toEqual(['deny', 'deny'])
    expect((await problemOf(one().ask('policies.revision.confirm', { number: 2 }, alice))).code).toBe('conflict')
  })

  it('that nobody confirms is rolled back, and written down by one of the nodes', async () => {
    await activate(next, { confirmWithinSeconds: 30 })
    await db.ownerSql.query('ALTER TABLE policy_activations DISABLE TRIGGER never_deleted')
    const store = new PgActivationStore({ sql: db.ownerSql, sealer: testSealer })
    const latest = (await store.latest()) ?? expect.unreachable('none')
    const past = { ...latest, confirmBy: new Date(Date.now() - 1) }
    const [mac] = await testSealer.macRows([activationRow(past)])
    await db.ownerSql.query('UPDATE policy_activations SET confirm_by = $2, mac = $3 WHERE number = $1', [2, past.confirmBy, mac])
    await Promise.all(nodes.map(({ keeper }) => keeper.refresh().catch((error: unknown) => expect(error).toMatchObject({ code: 'conflict' }))))
    expect(nodes.map((at) => decides(at, 'policies.revision.list'))).toEqual(['deny', 'deny'])
    await Promise.all(nodes.map(({ keeper }) => keeper.refresh()))
    expect((await store.latest())?.number).toBe(3)
    expect((await store.find(2))?.state).toBe('rolled-back')
    expect((await store.find(3))?.reason).toBe('not confirmed in time')
  })

  it('waits for the trial before it', async () => {
    await activate(next)
    await one().keeper.refresh()
    const told = await problemOf(
      one().ask('policies.revision.activate', { text: policy({ more: [rule('other', 'policies.revision.get')] }), reason: 'x' }, alice),
    )
    expect(told.detail).toContain('is on trial')
  })
})

describe('a policy that is not taken', () => {
  it.each([
    ['with a mistake, and where it is', policy().replace('verdict: allow', 'verdict: perhaps'), 'request-invalid'],
    [
      'that fails its tests',
      `${policy()}tests: [{ name: x, ask: { caller: 'officer:bob', address: 10.1.0.1, operation: policies.revision.list }, expect: { verdict: deny } }]\n`,
      'request-invalid',
    ],
    ['that is in force', policy(), 'conflict'],
    ['that leaves nobody to change it', policy({ officers: 'officer:dave' }), 'conflict'],
    ['that leaves one alone to change it', policy({ officers: 'officer:alice' }), 'conflict'],
  ])('%s', async (_what, text, code) => {
    const told = await problemOf(one().ask('policies.revision.activate', { text, reason: 'x' }, alice))
    expect(told.code).toBe(code)
    if (code === 'request-invalid') expect(told.faults[0]).toMatchObject({ line: expect.any(Number) as number })
    expect(await db.sql.query('SELECT 1 FROM policy_activations')).toHaveLength(1)
    expect(one().log.entries.some(({ operation, code: found }) => operation === 'policies.revision.activate' && found === 'held')).toBe(false)
  })

  it('is not even read where no officer asks: reading takes time, and comes before the decision', async () => {
    const text = policy({ more: [rule('other', 'policies.revision.get')] })
    const business: Caller = { ...alice, kind: 'business', name: 'eve', id: 'id-eve', person: { id: 'person-eve', name: 'eve' } }
    for (const [caller, read] of [
      [alice, { rules: 3 }],
      [business, { guardChanged: true }],
    ] as const) {
      await problemOf(one().ask('policies.revision.activate', { text, reason: 'x' }, caller))
      const entry = one().log.entries.findLast(({ operation }) => operation === 'policies.revision.activate')
      expect(entry?.facts?.public).toMatchObject(read)
      expect(Object.hasOwn(entry?.facts?.public ?? {}, 'rules')).toBe(caller === alice)
    }
  })

  it('says who could not do what, and why, where it would lock out', async () => {
    const told = await problemOf(one().ask('policies.revision.activate', { text: policy({ officers: 'officer:alice' }), reason: 'x' }, alice))
    expect(told.detail).toContain('urn:gridseal:officer:bob from 10.1.0.7: not policies.revision.activate (default)')
    expect(told.detail).toContain('urn:gridseal:officer:alice from 10.1.0.7: could do all of it, and nobody else could approve')
  })
})

describe('an edited activation', () => {
  it.each([
    ['its text', `UPDATE policy_activations SET text = text || ' '`],
    ['its text and digest', `UPDATE policy_activations SET text = text || ' ', text_sha256 = sha256(convert_to(text || ' ', 'UTF8'))`],
    ['its state', `UPDATE policy_activations SET state = 'rolled-back', returns_to = 1, confirm_by = now()`],
    ['its signature', `UPDATE policy_activations SET signature = decode(repeat('00', 64), 'hex')`],
  ])('is not taken: %s', async (_what, statement) => {
    await db.ownerSql.query('ALTER TABLE policy_activations DISABLE TRIGGER never_deleted')
    await db.ownerSql.query('ALTER TABLE policy_activations DROP CONSTRAINT policy_activations_check')
    await db.ownerSql.query(statement)
    const fresh = node()
    await expect(fresh.keeper.refresh()).rejects.toMatchObject({ code: 'integrity-failed' })
    expect(() => decides(fresh, 'policies.revision.list')).toThrow('no policy')
    await db.ownerSql.query('ALTER TABLE policy_activations ADD CONSTRAINT policy_activations_check CHECK (true)')
  })
})

it('requests that come while the policy changes are each decided by one revision, and none fails', async () => {
  const [wide, narrow] = [policy({ more: [rule('modules', 'policies.revision.list')] }), policy({ more: [rule('modules', 'policies.revision.get')] })]
  nodes.forEach(({ keeper }) => keeper.start())
  const ending = new AbortController()
  const seen = new Set<string>()
  const mixes: string[] = []
  const load = nodes.map(async ({ keeper }) => {
    while (!ending.signal.aborted) {
      const { revision, rule: by } = keeper.decide({ ...{ operation: 'policies.revision.list', caller: alice, uses: [], facts: {} }, at: Date.now() })
      seen.add(revision)
      if (by !== 'officers') mixes.push(by)
      await new Promise((resolve) => setImmediate(resolve))
    }
  })
  for (const text of [wide, narrow]) {
    const { number, revision } = await activate(text)
    await expect.poll(() => nodes.every(({ keeper }) => keeper.inForce?.number === number), { timeout: 10_000 }).toBe(true)
    await one().ask('policies.revision.confirm', { number }, alice)
    await expect.poll(() => nodes.every(({ keeper }) => keeper.inForce?.state === 'confirmed'), { timeout: 10_000 }).toBe(true)
    expect(seen.has(String(revision))).toBe(true)
  }
  ending.abort()
  await Promise.all(load)
  expect(mixes).toEqual([])
  expect(seen.size).toBe(3)
})

describe('decisions of the past', () => {
  const rerun = (operationId: string) => one().ask('policies.decision.rerun', { operationId }, carol)
  const held = () => one().log.entries.filter(({ decision }) => decision !== undefined)

  it('are the same when they are made again, whatever the policy is by then', async () => {
    const module = billing
    const tries = async (): Promise<void> => {
      for (const caller of [alice, module, { ...alice, address: '192.0.2.1' }]) {
        for (const name of ['policies.revision.list', 'policies.hold.list'])
          await one()
            .ask(name, {}, caller)
            .catch(() => undefined)
      }
    }
    await tries()
    await activate(policy({ more: [rule('modules', 'policies.revision.*')] }))
    await one().keeper.refresh()
    await tries()
    const decided = [...held()]
    expect(new Set(decided.map(({ decision }) => decision?.revision)).size).toBe(3)
    let again = 0
    for (const { id, decision, operation } of decided) {
      if (decision?.revision === 'none') continue
      expect(await rerun(id), operation).toMatchObject({ agrees: true, revision: decision?.revision, recorded: { rule: decision?.rule } })
      again += 1
    }
    expect(again).toBeGreaterThan(20)
  })

  it('that were changed in the log show', async () => {
    await one().ask('policies.revision.list', {}, alice)
    const entry = held().at(-1) ?? expect.unreachable('no entry')
    one().log.entries.splice(one().log.entries.indexOf(entry), 1, { ...entry, caller: { ...entry.caller, address: '192.0.2.1' } })
    expect(await rerun(entry.id)).toMatchObject({ agrees: false, recorded: { effect: 'allow', rule: 'officers' }, rerun: { effect: 'deny', rule: 'default' } })
  })

  it('are explained: the rule, and what stopped the others', async () => {
    const module = billing
    await one()
      .ask('policies.revision.list', {}, module)
      .catch(() => undefined)
    const operationId = held().at(-1)?.id ?? ''
    const told = await one().ask('policies.decision.explain', { operationId }, carol)
    expect(told).toMatchObject({ effect: 'deny', rule: 'default', zones: ['plant'], chain: 'plant' })
    expect((told['nearMisses'] as unknown[])[0]).toMatchObject({ rule: 'officers', effect: 'allow', dimension: 'callers', found: 'module:billing' })
    const imagined = { request: { caller: 'officer:alice', operation: 'policies.revision.list', address: '10.9.9.9' } }
    const [from, until] = [new Date(Date.now() - 60_000), new Date(Date.now() + 600_000)]
    const grant: Grant = {
      ...{ id: newUuid(), reason: 'a test', callers: ['urn:gridseal:module:billing'], operations: ['policies.revision.*'], zones: ['plant'], networks: [] },
      ...{ from, until, issuedBy: 'urn:gridseal:officer:alice', issuedAt: from, version: 1 },
    }
    const grants = new PgGrantStore({ sql: db.sql, sealer: testSealer })
    await db.transact((tx) => grants.insert(tx, grant))
    const explain = (more: object): Promise<Record<string, unknown>> =>
      one().ask(
        'policies.decision.explain',
        { request: { caller: 'module:billing', operation: 'policies.revision.list', address: '10.9.9.9', ...more } },
        carol,
      )
    // Grants count in what is imagined too: for whom, where and when they do.
    expect(await explain({})).toMatchObject({ effect: 'allow', rule: `grant:${grant.id}`, reason: expect.stringMatching(/until/) as string })
    expect(await explain({ at: until.toISOString() })).toMatchObject({ effect: 'deny', rule: 'default' })
    expect(await explain({ at: new Date(from.getTime() - 1).toISOString() })).toMatchObject({ effect: 'deny', rule: 'default' })
    expect(await explain({ caller: 'module:traffic' })).toMatchObject({ effect: 'deny', rule: 'default' })
    expect(await explain({ address: '192.0.2.1' })).toMatchObject({ effect: 'deny', rule: 'default' })
    await db.transact((tx) => grants.revoke(tx, { ...grant, version: 2, revoked: { by: 'x', at: new Date(), reason: 'over' } }))
    expect(await explain({})).toMatchObject({ effect: 'deny', rule: 'default' })
    expect(await explain({ at: new Date(from.getTime() + 1000).toISOString() })).toMatchObject({ effect: 'allow', rule: `grant:${grant.id}` })
    expect(await one().ask('policies.decision.explain', imagined, carol)).toMatchObject({ effect: 'allow', rule: 'officers' })
    expect((await problemOf(one().ask('policies.decision.explain', { ...imagined, operationId }, carol))).code).toBe('request-invalid')
    expect((await problemOf(one().ask('policies.decision.explain', { operationId: KEY }, carol))).code).toBe('request-invalid')
    expect((await problemOf(rerun('01890000-0000-7000-8000-000000000000'))).code).toBe('not-found')
  })
})

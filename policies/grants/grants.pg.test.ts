import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Problem } from '../../core/problem.ts'
import type { Entry } from '../audit/entry.ts'
import type { PreparedQuery } from '../audit/search/planner.ts'
import type { Page, Searcher } from '../audit/search/searcher.ts'
import type { Caller } from '../caller.ts'
import { OPERATIONS } from '../firewall/testing/arbitrary.ts'
import { bob, problemOf, TwoOfficers } from '../testing/two-officers.ts'
import { type GrantFeature, grantFeature } from './index.ts'

type Answer = Record<string, unknown>
let desk: TwoOfficers
let feature: GrantFeature
/** What the report asks the log for, and what the log has. */
const asked: { readonly query: PreparedQuery['query']; readonly page: Page }[] = []
let logged: Entry[] = []

const searcher: Pick<Searcher, 'prepare' | 'search'> = {
  prepare: (query) => Promise.resolve({ query, text: '', blind: [] }),
  search: ({ query }, page) => {
    asked.push({ query, page })
    return Promise.resolve({ entries: logged.map((entry, index) => ({ index, bytes: new Uint8Array(), entry })), archivedBefore: 0, searchedTo: 0, size: 0 })
  },
}

beforeAll(async () => {
  desk = await TwoOfficers.open((parts) => (feature = grantFeature({ ...parts, searcher, operations: () => OPERATIONS, mostHours: 8 })).operations)
  await desk.register('module', 'billing')
  await desk.ask('caller.revoke', { callerId: await desk.register('module', 'gone') })
})
afterAll(() => desk.close())
/** The database's clock tells which grants are live. */
beforeEach(() => {
  desk.clock = new Date()
})

const after = (hours: number): string => new Date(desk.clock.getTime() + hours * 3_600_000).toISOString()
const wanted = (change: object = {}): object => ({
  ...{ reason: 'the meters are down', callers: ['urn:gridseal:module:billing'], operations: ['kms.key.sign'], until: after(1), ...change },
})
const ask = (name: string, body: object, caller?: Caller): Promise<Answer> => desk.ask(name, body, caller)
const live = async (): Promise<string[]> => (await feature.grants.live()).map(({ id }) => id)

describe('a grant', () => {
  it('is issued by two officers, is live at once, and is revoked by one', async () => {
    const issued = await desk.byTwo('grant.issue', wanted({ zones: ['plant'], networks: ['10.1.0.0/16'] }))
    const grantId = String(issued['grantId'])
    expect(issued).toMatchObject({
      ...{ state: 'live', rule: `grant:${grantId}`, from: desk.clock.toISOString(), until: after(1), issuedBy: 'urn:gridseal:officer:alice' },
      ...{ callers: ['urn:gridseal:module:billing'], operations: ['kms.key.sign'], zones: ['plant'], networks: ['10.1.0.0/16'], reason: 'the meters are down' },
    })
    expect(await live()).toContain(grantId)
    const outcome = desk.log.entries.findLast(({ operation, kind }) => operation === 'policies.grant.issue' && kind === 'outcome')
    expect(outcome?.facts).toMatchObject({
      public: { grant: `grant:${grantId}`, reason: 'the meters are down' },
      rows: [{ table: 'grants', id: grantId, version: 1 }],
    })

    expect(await ask('grant.revoke', { grantId, reason: 'they are up' }, bob)).toMatchObject({
      ...{ state: 'revoked', revoked: { by: 'urn:gridseal:officer:bob', at: desk.clock.toISOString(), reason: 'they are up' } },
    })
    expect(await live()).not.toContain(grantId)
    expect(await ask('grant.get', { grantId })).toMatchObject({ state: 'revoked' })
    expect((await problemOf(ask('grant.revoke', { grantId, reason: 'again' }))).code).toBe('conflict')
    expect((await ask('grant.list', { live: 'true' }))['grants']).not.toContainEqual(expect.objectContaining({ grantId }))
    expect((await ask('grant.list', {}))['grants']).toContainEqual(expect.objectContaining({ grantId }))
  })

  it('begins when it is run, not when it was asked for, and may begin later', async () => {
    expect(await desk.byTwo('grant.issue', wanted({ from: after(-5), until: after(8) }))).toMatchObject({ from: desk.clock.toISOString() })
    const later = await desk.byTwo('grant.issue', wanted({ from: after(2), until: after(3) }))
    expect(later).toMatchObject({ state: 'coming', from: after(2) })
    expect(await live()).not.toContain(later['grantId'])
    expect((await ask('grant.list', { live: 'true' }))['grants']).toContainEqual(expect.objectContaining({ grantId: later['grantId'] }))
    desk.clock = new Date(after(2))
    expect(await ask('grant.get', { grantId: later['grantId'] })).toMatchObject({ state: 'live' })
    desk.clock = new Date(after(1))
    expect(await ask('grant.get', { grantId: later['grantId'] })).toMatchObject({ state: 'over' })
    expect((await problemOf(ask('grant.revoke', { grantId: later['grantId'], reason: 'x' }))).code).toBe('conflict')
  })

  it('is reported: what the log has by its name', async () => {
    const grantId = String((await desk.byTwo('grant.issue', wanted()))['grantId'])
    const caller = { kind: 'module', name: 'billing', id: 'x', address: '10.1.2.3' } as const
    const decision = { effect: 'allow', rule: `grant:${grantId}`, revision: 'r' } as const
    const id = '01890000-0000-7000-8000-00000000000a'
    logged = [
      {
        v: 1,
        kind: 'outcome',
        effect: 'transient',
        id,
        time: '2026-11-26T08:00:00.000Z',
        operation: 'kms.key.sign',
        caller,
        decision,
        code: 'ok',
        facts: { keyId: 'k' },
      },
    ] as unknown as Entry[]
    expect(await ask('grant.report', { grantId, from: '5', limit: '10' })).toEqual({
      grant: expect.objectContaining({ grantId }) as unknown,
      uses: [
        {
          ...{ index: 0, operationId: id, time: '2026-11-26T08:00:00.000Z', kind: 'outcome', operation: 'kms.key.sign', caller: 'urn:gridseal:module:billing' },
          ...{ address: '10.1.2.3', code: 'ok', facts: { keyId: 'k' } },
        },
      ],
    })
    expect(asked.at(-1)).toEqual({ query: { field: 'rule', is: [`grant:${grantId}`] }, page: { order: 'oldest', from: 5, limit: 10 } })
  })
})

describe('a grant is not', () => {
  it.each<[string, () => object, Problem['code']]>([
    ['for a caller that is not there', () => ({ callers: ['urn:gridseal:module:nobody'] }), 'not-found'],
    ['for a caller that is revoked', () => ({ callers: ['urn:gridseal:module:billing', 'urn:gridseal:module:gone'] }), 'not-found'],
    ['for a job of the service', () => ({ callers: ['urn:gridseal:system:fill'] }), 'request-invalid'],
    ['for whoever has not logged in', () => ({ callers: ['urn:gridseal:anonymous:nobody'] }), 'request-invalid'],
    ['for all of a kind', () => ({ callers: ['urn:gridseal:module:*'] }), 'request-invalid'],
    ['for nobody', () => ({ callers: [] }), 'request-invalid'],
    ['of everything', () => ({ operations: ['*'] }), 'request-invalid'],
    ['of an operation that there is not', () => ({ operations: ['kms.key.sign', 'kms.key.lend'] }), 'not-found'],
    ['of what is the service’s own', () => ({ operations: ['card-personalization.cards.fill'] }), 'not-found'],
    ['for longer than is set', () => ({ until: after(8.01) }), 'conflict'],
    ['over before it begins', () => ({ from: after(2), until: after(1) }), 'conflict'],
    ['of the past', () => ({ until: after(-1) }), 'conflict'],
    ['without a reason', () => ({ reason: '' }), 'request-invalid'],
    ['from a network with bits behind its prefix', () => ({ networks: ['10.1.2.3/8'] }), 'request-invalid'],
  ])('%s', async (_what, change, code) => {
    expect((await problemOf(ask('grant.issue', wanted(change())))).code).toBe(code)
  })

  it('found by an id that is none', async () => {
    const grantId = '01890000-0000-7000-8000-000000000099'
    for (const [name, more] of [
      ['get', {}],
      ['report', {}],
      ['revoke', { reason: 'x' }],
    ] as const)
      expect((await problemOf(ask(`grant.${name}`, { grantId, ...more }))).code, name).toBe('not-found')
  })

  it('run when its time is over by then', async () => {
    const body = wanted({ until: after(0.5) })
    expect((await problemOf(ask('grant.issue', body))).code).toBe('held')
    const holdId = desk.log.entries.findLast(({ code }) => code === 'held')?.id
    const { digest } = await ask('hold.get', { holdId }, bob)
    await ask('hold.approve', { holdId, digest }, bob)
    desk.clock = new Date(after(1))
    expect((await problemOf(ask('hold.run', { holdId }))).code).toBe('conflict')
  })
})

describe('who can write the database', () => {
  it.each([`until_at = until_at + interval '1 day'`, `callers = '{urn:gridseal:module:traffic}'`, `operations = '{kms.key.*}'`, `zones = '{}'`])(
    'grants nothing by %s: nodes read none of it',
    async (change) => {
      const grantId = String((await desk.byTwo('grant.issue', wanted({ zones: ['plant'] })))['grantId'])
      const edit = async (text: string): Promise<void> => {
        await desk.db.ownerSql.query('ALTER TABLE grants DISABLE TRIGGER never_deleted')
        await desk.db.ownerSql.query(text, [grantId])
        await desk.db.ownerSql.query('ALTER TABLE grants ENABLE TRIGGER never_deleted')
      }
      await edit(`UPDATE grants SET ${change} WHERE id = $1`)
      expect((await problemOf(feature.grants.live())).code).toBe('integrity-failed')
      await edit('DELETE FROM grants WHERE id = $1')
    },
  )

  it('a revocation that is taken back is found', async () => {
    const grantId = String((await desk.byTwo('grant.issue', wanted()))['grantId'])
    await ask('grant.revoke', { grantId, reason: 'x' })
    await desk.db.ownerSql.query('UPDATE grants SET revoked_at = NULL, revoked_by = NULL, revoked_for = NULL WHERE id = $1', [grantId])
    expect((await problemOf(feature.grants.live())).code).toBe('integrity-failed')
    await desk.db.ownerSql.query('UPDATE grants SET revoked_at = now(), revoked_by = $2, revoked_for = $3 WHERE id = $1', [grantId, 'x', 'x'])
  })

  it('the service itself deletes none and changes none but by revoking it', async () => {
    await expect(desk.db.sql.query('DELETE FROM grants')).rejects.toThrow(/permission denied/)
    await expect(desk.db.sql.query(`UPDATE grants SET until_at = now()`)).rejects.toThrow(/permission denied/)
    await expect(desk.db.ownerSql.query('DELETE FROM grants')).rejects.toThrow(/only/)
  })
})

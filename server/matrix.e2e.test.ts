import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Participant } from '../clients/site.ts'
import { fastFolder } from './postgres/test-server.ts'
import { EdgeSite, type Reply, type Who } from './testing/edge-site.ts'
import { type Described, describedIn, type OpenApi, seedsOf } from './testing/fuzz.ts'
import { FAR_ZONES, FROM, policyHere } from './testing/loopback-zones.ts'
import { isDenied, NO_ROLE, reviewedTable, wantedOf } from './testing/reviewed-table.ts'

/** Of these a seed is about whoever asks. */
const ABOUT_SELF: ReadonlySet<string> = new Set(['policies.hold.list'])

const folder = mkdtempSync(join(fastFolder(), 'gridseal-matrix-'))
let site: EdgeSite
let business: Participant
let operations: readonly Described[]
let seeds: Awaited<ReturnType<typeof seedsOf>>
beforeAll(async () => {
  writeFileSync(join(folder, 'policy.yaml'), policyHere())
  site = await EdgeSite.open({ GRIDSEAL_POLICY: join(folder, 'policy.yaml') })
  operations = describedIn(JSON.parse((await site.ask({}, { path: '/openapi.json' })).text) as OpenApi)
  seeds = await seedsOf(site)
  business = await site.crash.enrol('business', 'chen')
})
afterAll(async () => {
  await site.close()
  rmSync(folder, { recursive: true, force: true })
})

const seedOf = (operation: string) => seeds[operation] ?? expect.unreachable(`no seed of ${operation}`)
const table = reviewedTable()
const ask = (who: Who, op: Described): Promise<Reply> => site.ask(who, wantedOf(op, seedOf(op.operationId).fields))

/** Somebody of each role. */
const callersOf = () => ({ officer: site.alice, module: site.module, vendor: site.vendor, auditor: site.auditor, business }) satisfies Record<string, Who>

describe('the reviewed table, tried for real', () => {
  it.each(['officer', 'module', 'vendor', 'auditor', 'business'] as const)('by a %s: every operation', async (role) => {
    const who = callersOf()[role]
    const wrong: string[] = []
    let tried = 0
    for (const op of operations.filter(({ operationId }) => !NO_ROLE.test(operationId))) {
      const whose = seedOf(op.operationId).who === who || ABOUT_SELF.has(op.operationId) ? 'own' : 'other'
      const roles = table[whose].get(op.operationId)?.get('local') ?? expect.unreachable(`the table has no ${op.operationId}`)
      const reply = await ask(who, op)
      tried += 1
      if (isDenied(reply) === roles.has(role)) wrong.push(`${op.operationId} (${whose}): ${String(reply.status)} ${reply.text.slice(0, 200)}`)
      expect(reply.status, op.operationId).not.toBe(500)
    }
    expect(wrong).toEqual([])
    expect(tried).toBeGreaterThan(50)
  })
})

describe('what is another’s', () => {
  /** What names a thing of somebody, as it stands in fields. */
  const idsOf = (fields: object): string[] => [...JSON.stringify(fields).matchAll(/"((?:[a-z-]+:)?[0-9a-f]{8}-[0-9a-f-]{27})"/g)].map(([, id = '']) => id)

  it.each([
    ['a vendor', () => ({ who: site.other, whose: site.vendor })],
    ['a module', () => ({ who: site.otherModule, whose: site.module })],
  ] as const)('is not reached by %s: every operation with the other’s identifiers', async (_who, pair) => {
    const { who, whose } = pair()
    const secret = new Set<string>()
    for (const { who: owner, fields } of Object.values(seeds)) if (owner === whose) for (const id of idsOf(fields)) secret.add(id)
    expect(secret.size).toBeGreaterThan(0)
    const nowhere = [...secret].filter((id) => id.startsWith('01890000'))
    for (const id of nowhere) secret.delete(id)
    const reached: string[] = []
    for (const op of operations.filter(({ operationId }) => !NO_ROLE.test(operationId))) {
      const reply = await ask(who, op)
      const named = [...secret].filter((id) => reply.status < 400 && reply.text.includes(id))
      if (named.length > 0) reached.push(`${op.operationId}: ${String(reply.status)} tells ${named.join(', ')}`)
      // An id that is another's opens nothing.
      const isAbout = idsOf(seedOf(op.operationId).fields).some((id) => secret.has(id))
      if (isAbout && reply.status < 400 && !op.operationId.endsWith('.list'))
        reached.push(`${op.operationId}: ${String(reply.status)} ${reply.text.slice(0, 100)}`)
    }
    expect(reached).toEqual([])
  })
})

/** In a province cards and orders of its region are one's own. Of those that seeds are about, this one names it. */
const REGIONAL = /^(card-personalization\.order|attestation\.binding)\./
const OF_THE_PROVINCE: ReadonlySet<string> = new Set(['card-personalization.order.list'])

/** Of each thing (`kms.key`, `policies.hold` ...) so many operations, others in each zone and of each role. */
function sample(turn: number, many = 2): readonly Described[] {
  const things = new Map<string, Described[]>()
  for (const op of operations.filter(({ operationId }) => !NO_ROLE.test(operationId))) {
    const thing = op.operationId.split('.').slice(0, 2).join('.')
    things.set(thing, [...(things.get(thing) ?? []), op])
  }
  return [...things.values()].flatMap((ops) => [
    ...new Set(Array.from({ length: many }, (_, at) => ops[(turn * many + at) % ops.length] ?? expect.unreachable('no operation'))),
  ])
}

describe('the reviewed table, tried for real from every zone', () => {
  it.each(FAR_ZONES)('%s: operations of every thing, by every role', async (zone) => {
    const wrong: string[] = []
    const seen = { allowed: 0, denied: 0 }
    await Promise.all(
      Object.entries(callersOf()).map(async ([role, who], turn) => {
        for (const op of sample(turn + FAR_ZONES.indexOf(zone))) {
          const { who: owner, fields } = seedOf(op.operationId)
          const isOwn = zone === 'provinces' && REGIONAL.test(op.operationId) ? OF_THE_PROVINCE.has(op.operationId) : owner === who
          // What is listed of held requests is one's own.
          const whose = isOwn || op.operationId === 'policies.hold.list' ? 'own' : 'other'
          const may = table[whose].get(op.operationId)?.get(zone)?.has(role) ?? expect.unreachable(`the table has no ${op.operationId}`)
          const reply = await site.ask(who, { ...wantedOf(op, fields), from: FROM[zone] })
          expect(reply.status, op.operationId).not.toBe(500)
          seen[may ? 'allowed' : 'denied'] += 1
          if (isDenied(reply) === may) wrong.push(`${role} ${op.operationId} (${whose}): ${String(reply.status)} ${reply.text.slice(0, 300)}`)
        }
      }),
    )
    expect(wrong).toEqual([])
    expect(seen.denied).toBeGreaterThan(100)
    if (zone === 'internet') expect(seen.allowed).toBe(0)
    else expect(seen.allowed).toBeGreaterThan(zone === 'headquarters' ? 20 : 1)
  })

  it('login is tried where people log in, and nowhere else', async () => {
    const { fields } = seedOf('policies.session.open')
    const op = operations.find(({ operationId }) => operationId === 'policies.session.open') ?? expect.unreachable('no login')
    for (const zone of FAR_ZONES) {
      const reply = await site.ask({}, { ...wantedOf(op, fields), from: FROM[zone] })
      expect([zone, reply.status]).toEqual([zone, zone === 'headquarters' || zone === 'provinces' ? 401 : 403])
    }
  })

  it('an attempt from the internet is in the log with its rule, its reason and where it came from', async () => {
    const reply = await site.ask(site.alice, { path: '/v1/policies/callers', from: FROM.internet })
    const entries = await site.entriesOf(reply.headers['operation-id'] ?? '')
    expect(entries).toMatchObject([
      {
        ...{ kind: 'refusal', caller: { address: FROM.internet }, decision: { effect: 'deny', rule: 'no-key-administration-from-outside' } },
      },
    ])
    const other = await site.ask(site.module, { path: '/v1/policies/holds', from: FROM.internet })
    expect(await site.entriesOf(other.headers['operation-id'] ?? '')).toMatchObject([
      { decision: { rule: 'internet-nobody' }, facts: { 'policy.zones': ['internet'], 'policy.owner': 'security officers' } },
    ])
  })
})

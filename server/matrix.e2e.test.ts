import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EdgeSite, JSON_TYPE, type Reply, type Wanted, type Who } from './testing/edge-site.ts'
import { type Described, describedIn, type OpenApi, seedsOf } from './testing/fuzz.ts'

/** The reviewed table of the shipped policy: by whose matter it is and by operation, the roles that may from this machine. */
function reviewedTable(): Readonly<Record<'own' | 'other', ReadonlyMap<string, ReadonlySet<string>>>> {
  const text = readFileSync(new URL('../policies/firewall/testing/matrix.golden.txt', import.meta.url), 'utf8')
  const [own = '', rest = ''] = text.split('On a matter of another’s, and cards of another province:')
  const [other = ''] = rest.split(/\n\n/)
  const rolesOf = (table: string) =>
    new Map(
      table
        .split('\n')
        .filter((line) => /^[a-z-]+(\.[a-z-]+)+ /.test(line))
        .map((line) => [line.slice(0, 44).trim(), new Set(line.slice(45, 81).trim().split(/[ -]+/).filter(Boolean))]),
    )
  return { own: rolesOf(own), other: rolesOf(other) }
}

/** Of these a seed is about whoever asks. */
const ABOUT_SELF: ReadonlySet<string> = new Set(['policies.hold.list'])
/** What is open to anybody, or to a person in no role: not a matter of the four roles. */
const NO_ROLE = /^policies\.(session|password|totp)\./

let site: EdgeSite
let operations: readonly Described[]
let seeds: Awaited<ReturnType<typeof seedsOf>>
beforeAll(async () => {
  site = await EdgeSite.open()
  operations = describedIn(JSON.parse((await site.ask({}, { path: '/openapi.json' })).text) as OpenApi)
  seeds = await seedsOf(site)
})
afterAll(() => site.close())

/** The request that a seed's fields are. */
function wantedOf({ method, path }: Described, fields: Readonly<Record<string, unknown>>): Wanted {
  const rest = { ...fields }
  const filled = path.replaceAll(/\{(\w+)\}/g, (_all, name: string) => {
    const value = rest[name]
    delete rest[name]
    return encodeURIComponent(String(value))
  })
  if (method === 'POST') return { method, path: filled, headers: JSON_TYPE, body: JSON.stringify(rest) }
  const query = new URLSearchParams(Object.entries(rest).map(([name, value]) => [name, String(value)])).toString()
  return { method, path: query === '' ? filled : `${filled}?${query}` }
}

const seedOf = (operation: string) => seeds[operation] ?? expect.unreachable(`no seed of ${operation}`)
const ask = (who: Who, op: Described): Promise<Reply> => site.ask(who, wantedOf(op, seedOf(op.operationId).fields))
/** Whether it was the policy that said no. */
const isDenied = ({ status, text }: Reply): boolean => status === 403 && /no rule of the policy allows it|of the policy denies it/.test(text)

describe('the reviewed table, tried for real', () => {
  it.each(['officer', 'module', 'vendor', 'auditor'] as const)('by a %s: every operation', async (role) => {
    const table = reviewedTable()
    const who = { officer: site.alice, module: site.module, vendor: site.vendor, auditor: site.auditor }[role]
    const wrong: string[] = []
    let tried = 0
    for (const op of operations.filter(({ operationId }) => !NO_ROLE.test(operationId))) {
      const whose = seedOf(op.operationId).who === who || ABOUT_SELF.has(op.operationId) ? 'own' : 'other'
      const roles = table[whose].get(op.operationId) ?? expect.unreachable(`the table has no ${op.operationId}`)
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

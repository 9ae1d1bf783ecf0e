import fc from 'fast-check'
import { stringify } from 'yaml'
import { ADMITTED_AT_ANY_TIME, type Caller, LISTENERS, STRENGTHS } from '../../caller.ts'
import type { Asked } from '../decide.ts'
import { parsePolicy, type Policy } from '../parse.ts'
import type { OperationFacts } from '../references.ts'
import { DAYS, LEVELS } from '../schema.ts'

/** A small world: few enough values that random rules and random requests meet. */
export const OPERATIONS: readonly OperationFacts[] = [
  { name: 'kms.key.sign', effect: 'transient', isRouted: true },
  { name: 'kms.key.verify', effect: 'transient', isRouted: true },
  { name: 'kms.key.generate', effect: 'durable', isRouted: true },
  { name: 'kms.certificate.issue', effect: 'durable', isRouted: true },
  { name: 'policies.audit.search', effect: 'transient', isRouted: true },
  { name: 'card-personalization.cards.fill', effect: 'durable', isRouted: false },
]
const PATTERNS = ['*', 'kms.*', 'kms.key.*', ...OPERATIONS.map(({ name }) => name)]
/** Some of the kinds: with all of them fewer rules would meet a request. */
const KINDS = ['vendor', 'module', 'officer', 'auditor'] as const
const NAMES = ['a', 'b', 'c']
const LABELS = ['meter-1', 'meter-2', 'meter', 'root', 'x-meter-1', 'Zähler-1', 'm*']
const GLOBS = [...LABELS, 'meter-*', '*-1', 'm?ter', '*', '*e*-?', 'meter-?*']
const REGIONS = ['330106', '330100', '110101', '33010x', '33']
const TIME_ZONES = ['Asia/Shanghai', 'Europe/Berlin', 'UTC']
const ADDRESSES = ['10.1.2.3', '10.2.0.1', '::ffff:10.1.9.9', '192.168.7.7', '2001:db8:1::5', '2001:db8:2::5', '8.8.8.8', '0.0.0.0', '255.255.255.255', '::']
const NETWORKS = ['10.0.0.0/8', '10.1.0.0/16', '10.1.2.0/24', '192.168.0.0/16', '2001:db8::/32', '2001:db8:1::/48', '0.0.0.0/0', '::/0', '8.8.8.8/32']
/** A week with a change of the clocks in Berlin, and the same by minutes and milliseconds around borders. */
const START = Date.parse('2026-10-22T00:00:00Z')
const EXPIRIES = ['2026-10-23T00:00:00Z', '2026-10-25T01:00:00Z', '2026-10-25T00:30:00.500Z']

const some = <Value>(values: readonly Value[], most = 3): fc.Arbitrary<Value[]> => fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: most })
/** Present in one of `n` cases. */
const maybe = <Value>(arbitrary: fc.Arbitrary<Value>, n: number): fc.Arbitrary<Value | undefined> =>
  fc.oneof({ weight: n - 1, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary })

const clock = fc.tuple(fc.integer({ min: 0, max: 23 }), fc.constantFrom('00', '30', '45')).map(([hour, minute]) => `${String(hour).padStart(2, '0')}:${minute}`)
const times = fc
  .record({
    days: maybe(some(DAYS, 5), 2),
    from: maybe(clock, 2),
    to: maybe(fc.oneof(clock, fc.constant('24:00')), 2),
    timeZone: fc.constantFrom(...TIME_ZONES),
  })
  .filter(({ from, to }) => from === undefined || from !== to)
const scalar = fc.constantFrom<(string | number | boolean)[]>('x', 'y', '5', 5, true, 'true', 'urn:gridseal:module:a')
const where = fc.dictionary(
  fc.constantFrom('owner', 'state', 'vendor'),
  fc.oneof(fc.constant('$caller'), scalar, some(['x', 'y', '5', 'true', '$texts']), fc.constant('$texts')),
  { minKeys: 1, maxKeys: 2 },
)
const ORDINARY = KINDS.flatMap((kind) => [`${kind}:*`, ...NAMES.map((name) => `${kind}:${name}`)])
const SYSTEM = ['system:*', 'system:a', 'system:b']

interface Shape {
  readonly callers: readonly string[]
  readonly roles: readonly string[]
  readonly inSystem: boolean
  readonly zones: readonly string[]
  readonly levels: readonly string[]
  readonly verdicts: readonly string[]
}

function rule({ callers, roles, inSystem, zones, levels, verdicts }: Shape): fc.Arbitrary<object> {
  return fc
    .record({
      verdict: fc.constantFrom(...verdicts),
      expires: maybe(fc.constantFrom(...EXPIRIES), 16),
      log: maybe(fc.constantFrom('brief', 'full'), 12),
      callers: some(callers, 6),
      roles: maybe(some(roles), 10),
      strength: maybe(some(STRENGTHS, 1), 16),
      operations: some(PATTERNS, 4),
      zones: inSystem || zones.length === 0 ? fc.constant(undefined) : maybe(some(zones), 12),
      levels: inSystem || levels.length === 0 ? fc.constant(undefined) : maybe(some(levels), 20),
      keyLabels: maybe(some(GLOBS), 10),
      keyClasses: maybe(some(['ec-p256', 'hmac-sha256'], 1), 16),
      vendors: maybe(some(['x', 'y', '$texts']), 12),
      regions: maybe(some(['33', '3301', '330106', '11']), 16),
      organisations: maybe(some(['State Grid', 'x']), 24),
      times: maybe(fc.array(times, { minLength: 1, maxLength: 2 }), 10),
      where: maybe(where, 8),
      rate: maybe(fc.record({ per: fc.constantFrom('caller', 'rule'), count: fc.integer({ min: 1, max: 9 }), every: fc.constant('1s') }), 16),
      quota: maybe(fc.constant({ per: 'caller', sum: { fact: 'cards', most: 5 }, period: 'day', timeZone: 'UTC' }), 20),
    })
    .map(({ rate, quota, ...rest }) => ({
      ...rest,
      ...(rest.verdict === 'deny' ? {} : { rate, quota }),
      ...(rest.verdict === 'hold' ? { hold: { approvals: 2, of: ['officer:*'], within: '1h' } } : {}),
    }))
}

const withoutAbsent = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(withoutAbsent)
    : typeof value === 'object' && value !== null
      ? Object.fromEntries(Object.entries(value).flatMap(([key, one]) => (one === undefined ? [] : [[key, withoutAbsent(one)]])))
      : value

/** The text of a random policy, its parts in any combination that the language takes. */
export const policyText = ({ mostRules = 8 }: { readonly mostRules?: number } = {}): fc.Arbitrary<string> =>
  fc
    .dictionary(
      fc.constantFrom('z1', 'z2', 'z3'),
      fc.record({ networks: some(NETWORKS), listener: maybe(fc.constantFrom(...LISTENERS), 6), level: maybe(fc.constantFrom(...LEVELS.slice(0, 4)), 2) }),
      { minKeys: 1 },
    )
    .chain((named) =>
      fc
        .constantFrom(true, false)
        .map(
          (has): Record<string, (typeof named)[string] | { others: true; level: string }> =>
            has ? { ...named, rest: { others: true, level: 'internet' } } : named,
        ),
    )
    .chain((zones) => {
      const names = Object.keys(zones)
      const levels = [...new Set(Object.values(zones).flatMap(({ level }) => level ?? []))]
      const verdicts = ['allow', 'allow', 'deny', 'hold']
      const ordinary = rule({ ...{ callers: ORDINARY, roles: KINDS, inSystem: false, zones: names, levels, verdicts } })
      const chain = fc.record({
        zones: levels.length === 0 ? some(names) : maybe(some(names), 4),
        levels: levels.length === 0 ? fc.constant(undefined) : some(levels),
        rules: fc.array(ordinary, { maxLength: mostRules }),
      })
      return fc.record({
        zones: fc.constant(zones),
        guard: fc.array(rule({ callers: [...ORDINARY, ...SYSTEM], roles: [...KINDS, 'system'], inSystem: false, zones: names, levels, verdicts: ['deny'] }), {
          maxLength: 2,
        }),
        chains: fc.array(chain, { maxLength: 3 }),
        system: maybe(fc.array(rule({ callers: SYSTEM, roles: ['system'], inSystem: true, zones: [], levels: [], verdicts }), { maxLength: 3 }), 2),
      })
    })
    .map(({ zones, guard, chains, system }) => {
      let number = 0
      const named = (rules: readonly object[]): object[] => rules.map((one) => ({ id: `r${String((number += 1))}`, reason: 'random', ...one }))
      const document = {
        ...{ policy: 2, owner: 'tests', zones, sets: { texts: ['x', '5', 'true'] }, guard: named(guard) },
        chains: [
          ...chains.map((chain, at) => ({ name: `c${String(at)}`, zones: chain.zones, levels: chain.levels, rules: named(chain.rules) })),
          ...(system === undefined ? [] : [{ name: 'system', rules: named(system) }]),
        ],
      }
      return stringify(withoutAbsent(document))
    })

export const policies = (options: { readonly mostRules?: number } = {}): fc.Arbitrary<Policy> =>
  policyText(options).map((text) => parsePolicy(text, OPERATIONS))

/** Most have one for good; some none, or one that ends among the times that are asked about. */
const admission = fc.oneof(
  { weight: 12, arbitrary: fc.constant(ADMITTED_AT_ANY_TIME) },
  { weight: 1, arbitrary: fc.constantFrom(undefined, 0) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 7 * 96 }).map((quarter) => START + quarter * 900_000) },
)
const caller: fc.Arbitrary<Caller> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .record({
        kind: fc.constantFrom(...KINDS),
        name: fc.constantFrom(...NAMES, 'stranger'),
        address: fc.constantFrom(...ADDRESSES),
        listener: fc.constantFrom('tls' as const, 'tls' as const, 'plain' as const),
        strength: fc.constantFrom(...STRENGTHS),
        admission,
      })
      .map(({ admission: admittedUntil, ...one }) => ({ ...one, id: 'x', ...(admittedUntil === undefined ? {} : { admittedUntil }) })),
  },
  { weight: 1, arbitrary: fc.constantFrom('a', 'b', 'c').map((name) => ({ kind: 'system' as const, name, id: 'x' })) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom(...KINDS), name: fc.constantFrom(...NAMES) }).map((one) => ({ ...one, id: 'x' })) },
)

const BORDERS = EXPIRIES.map((text) => Date.parse(text))
const at = fc.oneof(
  fc.integer({ min: 0, max: 7 * 96 }).map((quarter) => START + quarter * 900_000),
  fc.constantFrom(...BORDERS).chain((border) => fc.integer({ min: -1, max: 1 }).map((by) => border + by)),
  fc.integer({ min: 0, max: 7 * 86_400_000 }).map((ms) => START + ms),
)

export const requests: fc.Arbitrary<Asked> = fc.record({
  operation: fc.constantFrom(...OPERATIONS.map(({ name }) => name), 'no.such.operation'),
  caller,
  uses: fc.constantFrom([], [{ action: 'sign' as const, keyId: 'k' as never }]),
  facts: fc
    .record({
      label: maybe(fc.constantFrom(...LABELS), 2),
      algorithm: maybe(fc.constantFrom('ec-p256', 'hmac-sha256'), 2),
      vendor: maybe(scalar, 2),
      region: maybe(fc.constantFrom(...REGIONS), 2),
      organisation: maybe(fc.constantFrom('State Grid', 'x'), 2),
      owner: maybe(fc.oneof(scalar, fc.constantFrom(...KINDS.map((kind) => `urn:gridseal:${kind}:a`)), fc.constant(['urn:gridseal:module:a'])), 2),
      state: maybe(scalar, 2),
      cards: maybe(fc.constantFrom(0, 7, -1, Number.NaN, '7'), 2),
    })
    .map((facts) => withoutAbsent(facts) as Asked['facts']),
  at,
})

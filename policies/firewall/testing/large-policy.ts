import { ADMITTED_AT_ANY_TIME, type Caller, type CallerKind } from '../../caller.ts'
import type { Asked } from '../decide.ts'
import type { OperationFacts } from '../references.ts'
import type { PolicyDocument, RuleDocument } from '../schema.ts'

/** 40 operations of four folders. */
export const LARGE_OPERATIONS: readonly OperationFacts[] = ['kms.key', 'kms.certificate', 'attestation.card', 'card-personalization.order'].flatMap((thing) =>
  ['get', 'list', 'make', 'sign', 'verify', 'encrypt', 'decrypt', 'approve', 'cancel', 'fetch'].map(
    (verb): OperationFacts => ({ name: `${thing}.${verb}`, effect: verb === 'make' || verb === 'approve' ? 'durable' : 'transient', isRouted: true }),
  ),
)

/** Random numbers that are the same in every run: xorshift, 32 bits. */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed | 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

const REGIONS = ['11', '31', '33', '44', '51', '3301', '3302', '4401', '4403', '330106', '330108', '440305']
const CLASSES = ['ec-p256', 'hmac-sha256', 'aes-gcm-256']
const STATES = ['test', 'inventory', 'activated', 'outage']

/**
 * A policy as a large platform could have it: rules about modules, vendors and officers by name or kind, on one to three operations, a third of them on labels of keys, others on vendors,
 * regions, classes, owners, times. All of them allow, so that their order does not matter and Cedar can decide the same. `mixed`: some deny.
 */
export function largePolicy({ rules, seed = 1, mixed = false }: { readonly rules: number; readonly seed?: number; readonly mixed?: boolean }): PolicyDocument {
  const random = randomNumbers(seed)
  const of = <Value>(values: readonly Value[]): Value => values[random(values.length)] as Value
  const chance = (percent: number): boolean => random(100) < percent
  const made = Array.from({ length: rules }, (_, at): RuleDocument => {
    const kind = random(20)
    const caller =
      kind < 12
        ? `module:m${String(random(400))}`
        : kind < 15
          ? `vendor:v${String(random(50))}`
          : kind < 17
            ? `officer:o${String(random(30))}`
            : of(['module:*', 'vendor:*', 'officer:*'])
    const isBroad = caller.endsWith('*')
    const operations = chance(10)
      ? [`${of(['kms.key', 'kms.certificate', 'attestation.card', 'card-personalization.order'])}.*`]
      : Array.from({ length: 1 + random(3) }, () => of(LARGE_OPERATIONS).name)
    return {
      ...{
        id: `rule-${String(at)}`,
        verdict: mixed && chance(20) ? 'deny' : 'allow',
        reason: 'measured',
        callers: [caller],
        operations: [...new Set(operations)],
      },
      ...(isBroad || chance(30) ? { keyLabels: [`team-${String(random(200))}-*`] } : {}),
      ...(chance(15) ? { vendors: [`v${String(random(50))}`] } : {}),
      ...(chance(15) ? { regions: [of(REGIONS)] } : {}),
      ...(chance(20) ? { keyClasses: [of(CLASSES)] } : {}),
      ...(chance(10) ? { cardStates: [of(STATES)] } : {}),
      ...(chance(10) ? { strength: ['certificate' as const] } : {}),
      ...(chance(15) ? { where: { owner: '$caller' } } : {}),
      ...(chance(5) ? { times: [{ timeZone: 'Asia/Shanghai' }] } : {}),
      ...(chance(5) ? { expires: '2099-01-01T00:00:00Z' } : {}),
    }
  })
  return {
    ...{ policy: 2, owner: 'bench', sets: {}, guard: [], tests: [] },
    zones: { intranet: { networks: ['10.0.0.0/8', '2001:db8::/32'], listener: 'tls', level: 'intranet' }, rest: { others: true } },
    chains: [{ name: 'intranet', zones: ['intranet'], rules: made }],
  }
}

const START = Date.parse('2026-11-26T08:00:00Z')

/** Requests to it: every other one made to fit a rule, the rest at random; a millisecond apart. */
export function largeRequests({ document, count, seed = 7 }: { readonly document: PolicyDocument; readonly count: number; readonly seed?: number }): Asked[] {
  const random = randomNumbers(seed)
  const of = <Value>(values: readonly Value[]): Value => values[random(values.length)] as Value
  const rules = document.chains[0]?.rules ?? []
  return Array.from({ length: count }, (_, at): Asked => {
    const rule = random(2) === 0 ? undefined : of(rules)
    const [kind = '', name = ''] = (rule?.callers?.[0] ?? of(['module:*', 'module:*', 'vendor:*', 'officer:*', 'auditor:ann'])).split(':')
    // One literal: objects that are spread together are slower to read.
    const caller: Caller = {
      kind: kind as CallerKind,
      name: name === '*' ? `${kind === 'module' ? 'm' : kind === 'vendor' ? 'v' : 'o'}${String(random(30))}` : name,
      id: 'x',
      address: `10.${String(random(20))}.${String(random(20))}.7`,
      listener: 'tls',
      strength: 'certificate',
      admittedUntil: ADMITTED_AT_ANY_TIME,
    }
    const pattern = rule?.operations[0]
    return {
      ...{ caller, uses: [], at: START + at },
      operation: pattern === undefined || pattern.endsWith('*') ? of(LARGE_OPERATIONS).name : pattern,
      facts: {
        label: `${rule?.keyLabels?.[0]?.slice(0, -1) ?? `team-${String(random(200))}-`}${String(random(20))}`,
        algorithm: rule?.keyClasses?.[0] ?? of(CLASSES),
        vendor: rule?.vendors?.[0] ?? `v${String(random(50))}`,
        region: `${rule?.regions?.[0] ?? of(REGIONS)}0000`.slice(0, 6),
        cardState: rule?.cardStates?.[0] ?? of(STATES),
        owner: `urn:gridseal:${kind}:${random(2) === 0 ? caller.name : 'other'}`,
      },
    }
  })
}

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { analysePolicy } from './analyse.ts'
import { compileRules } from './compile.ts'
import { parsePolicy, type Policy } from './parse.ts'
import { resolvePolicy } from './resolve.ts'
import { OPERATIONS, policies, requests } from './testing/arbitrary.ts'

const NOW = Date.parse('2026-10-22T00:00:00Z')

function analyse(policy: Policy, hits?: ReadonlyMap<string, number>) {
  const resolved = resolvePolicy(policy, OPERATIONS)
  const decide = compileRules(resolved)
  return { decide, resolved, ...analysePolicy(resolved, { decide, at: NOW, ...(hits === undefined ? {} : { hits }) }) }
}

const policyOf = (rules: readonly string[], more = ''): Policy =>
  parsePolicy(
    `policy: 2
owner: me
zones: { a: { networks: [10.0.0.0/8] }, b: { networks: [10.1.0.0/16] }, rest: { others: true } }
${more}
chains:
  - name: a
    zones: [a]
    rules:
${rules.map((rule) => `      - { ${rule}, reason: r }`).join('\n')}
  - { name: rest, zones: [b, rest], rules: [] }
`,
    OPERATIONS,
  )
const told = (policy: Policy, hits?: ReadonlyMap<string, number>): string[] =>
  analyse(policy, hits).findings.map(({ anomaly, rule, by }) => [rule, anomaly, ...by].join(' '))

const KEYS = "operations: ['kms.key.*']"
const SIGN = 'operations: [kms.key.sign]'

describe('anomalies', () => {
  it.each([
    ['none', [`id: x, verdict: allow, callers: ['module:a'], ${SIGN}`, `id: y, verdict: allow, callers: ['module:b'], ${SIGN}`], []],
    [
      'shadowed by one rule that does otherwise',
      [`id: x, verdict: deny, callers: ['module:*'], ${KEYS}`, `id: y, verdict: allow, callers: ['module:a'], ${SIGN}`],
      ['y shadowed x'],
    ],
    [
      'shadowed by the union of two',
      [
        `id: x, verdict: deny, callers: ['module:*'], ${SIGN}, keyClasses: [ec-p256]`,
        `id: y, verdict: deny, callers: ['module:*'], ${KEYS}, keyClasses: [hmac-sha256]`,
        `id: z, verdict: allow, callers: ['module:a'], ${SIGN}, keyClasses: [ec-p256, hmac-sha256]`,
        `id: w, verdict: allow, callers: ['module:a'], ${SIGN}, keyClasses: [ec-p256, hmac-sha256, other]`,
      ],
      ['z shadowed x y', 'w correlated x', 'w correlated y'],
    ],
    ['redundant after', [`id: x, verdict: allow, callers: ['module:a'], ${SIGN}`, `id: y, verdict: allow, callers: ['module:*'], ${KEYS}`], ['x redundant y']],
    [
      'not redundant, as one between does otherwise',
      [
        `id: x, verdict: allow, callers: ['module:a'], ${SIGN}`,
        `id: y, verdict: deny, callers: ['module:*'], ${SIGN}`,
        `id: z, verdict: allow, callers: ['module:*'], ${KEYS}`,
      ],
      ['y generalised x', 'z generalised y'],
    ],
    ['redundant by the default', [`id: x, verdict: deny, roles: [module], ${SIGN}`], ['x redundant']],
    ['not redundant, as it logs in full', [`id: x, verdict: deny, roles: [module], ${SIGN}, log: full`], []],
    [
      'correlated',
      [`id: x, verdict: allow, callers: ['module:a'], ${KEYS}`, `id: y, verdict: deny, callers: ['module:*'], ${SIGN}, log: full`],
      ['y correlated x'],
    ],
    ['the built-in guard before', ['id: x, verdict: allow, roles: [auditor], operations: [kms.key.generate]'], ['x shadowed guard:auditors-change-nothing']],
    [
      'what nobody from outside can do',
      ["id: x, verdict: allow, callers: ['module:*'], operations: [card-personalization.cards.fill]"],
      ['x shadowed guard:service-only'],
    ],
    ['zones that do not enter the chain', [`id: x, verdict: allow, roles: [module], ${SIGN}, zones: [rest]`], ['x unreachable']],
    ['conditions that contradict', [`id: x, verdict: allow, callers: ['module:a'], roles: [vendor], ${SIGN}`], ['x unreachable']],
    ['labels that contradict', [`id: x, verdict: allow, roles: [module], ${SIGN}, keyLabels: ['a*'], where: { label: b }`], ['x unreachable']],
    [
      'labels by beginning and end',
      [
        `id: x, verdict: allow, roles: [module], ${SIGN}, keyLabels: ['a*']`,
        `id: y, verdict: deny, roles: [module], ${SIGN}, keyLabels: ['a?*z'], log: full`,
        `id: z, verdict: deny, roles: [module], ${SIGN}, keyLabels: ['*z'], log: full`,
      ],
      ['y shadowed x', 'z correlated x'],
    ],
    [
      'a province by all that its rules leave',
      [
        `id: x, verdict: allow, roles: [module], ${SIGN}, regions: ['33']`,
        `id: y, verdict: deny, roles: [module], ${SIGN}, regions: ['3301', '330201'], log: full`,
      ],
      ['y shadowed x'],
    ],
    [
      'times that together are the whole week',
      [
        `id: x, verdict: allow, roles: [module], ${SIGN}, times: [{ from: '08:00', to: '20:00', timeZone: UTC }]`,
        `id: y, verdict: deny, roles: [module], ${SIGN}, times: [{ from: '20:00', to: '08:00', timeZone: UTC }], log: full`,
        `id: z, verdict: allow, roles: [module], ${SIGN}, times: [{ days: [mon], timeZone: UTC }]`,
      ],
      ['z shadowed x y'],
    ],
    [
      'expired, and what it took before',
      [
        `id: x, verdict: deny, roles: [module], ${SIGN}, expires: '2026-10-22T00:00:00Z'`,
        `id: y, verdict: allow, callers: ['module:a'], ${SIGN}`,
        `id: z, verdict: allow, callers: ['module:a'], ${SIGN}, expires: '2026-10-23T00:00:00Z'`,
      ],
      ['x expired', 'z redundant y'],
    ],
    [
      'one that expires later does not take all',
      [`id: x, verdict: deny, roles: [module], ${SIGN}, expires: '2026-10-23T00:00:00Z', log: full`, `id: y, verdict: allow, callers: ['module:a'], ${SIGN}`],
      ['y correlated x'],
    ],
    [
      'other terms are another outcome',
      [
        `id: x, verdict: allow, callers: ['module:a'], ${SIGN}, rate: { per: caller, count: 1, every: 1s }`,
        `id: y, verdict: allow, callers: ['module:*'], ${KEYS}`,
      ],
      [],
    ],
    [
      'own matters and others',
      [
        `id: x, verdict: allow, callers: ['module:*'], ${SIGN}, where: { owner: $caller }`,
        `id: y, verdict: deny, callers: ['module:*'], ${SIGN}, where: { owner: [x] }, log: full`,
        `id: z, verdict: allow, callers: ['module:a'], ${SIGN}, where: { owner: $caller }`,
      ],
      ['z redundant x'],
    ],
  ] as const)('%s', (_what, rules, wanted) => {
    expect(told(policyOf(rules))).toEqual(wanted)
  })

  it('rules that have decided nothing, where that is known', () => {
    const policy = policyOf([`id: x, verdict: allow, callers: ['module:a'], ${SIGN}`, `id: y, verdict: allow, callers: ['module:b'], ${SIGN}`])
    expect(told(policy, new Map([['x', 5]]))).toEqual(['y never-hit'])
  })

  it('what is called unreachable, shadowed or expired never decides', { timeout: 60_000 }, () => {
    let [dead, alive] = [0, 0]
    fc.assert(
      fc.property(policies({ mostRules: 6 }), fc.nat(), (policy, seed) => {
        const { findings, decide, resolved } = analyse(policy)
        const never = new Map(
          findings
            .filter(({ anomaly }) => anomaly === 'unreachable' || anomaly === 'shadowed' || anomaly === 'expired')
            .map(({ rule, anomaly }) => [rule, anomaly]),
        )
        for (const asked of fc.sample(requests, { numRuns: 300, seed })) {
          const later = { ...asked, at: Math.max(NOW, asked.at) }
          const { rule } = decide(later)
          expect(never.get(rule), JSON.stringify(later)).toBeUndefined()
        }
        dead += never.size
        alive += resolved.rules.length - never.size
      }),
      { numRuns: 60 },
    )
    expect(dead).toBeGreaterThan(20)
    expect(alive).toBeGreaterThan(100)
  })

  it('without a rule that is called redundant every request comes out the same', { timeout: 60_000 }, () => {
    let redundant = 0
    fc.assert(
      fc.property(policies({ mostRules: 6 }), fc.nat(), (policy, seed) => {
        const { findings, decide, resolved } = analyse(policy)
        const one = findings.find(({ anomaly }) => anomaly === 'redundant')
        if (one === undefined) return
        redundant += 1
        const without = compileRules({ ...resolved, rules: resolved.rules.filter(({ id }) => id !== one.rule) })
        for (const asked of fc.sample(requests, { numRuns: 300, seed })) {
          const later = { ...asked, at: Math.max(NOW, asked.at) }
          expect(without(later).effect).toBe(decide(later).effect)
        }
      }),
      { numRuns: 60 },
    )
    expect(redundant).toBeGreaterThan(5)
  })
})

import fc from 'fast-check'
import { parse, stringify } from 'yaml'
import { describe, expect, it } from 'vitest'
import { ADMITTED_AT_ANY_TIME } from '../caller.ts'
import { outcomeOf } from './analyse.ts'
import { compileRules } from './compile.ts'
import type { Asked } from './decide.ts'
import { compareMeaning } from './meaning.ts'
import { parsePolicy, type Policy } from './parse.ts'
import { type ResolvedPolicy, resolvePolicy } from './resolve.ts'
import type { PolicyDocument } from './schema.ts'
import { OPERATIONS, policies, requests } from './testing/arbitrary.ts'

const NOW = Date.parse('2026-10-22T00:00:00Z')
const compiled = (policy: Policy) => {
  const resolved = resolvePolicy(policy, OPERATIONS)
  return { policy: resolved, decide: compileRules(resolved) }
}
const compare = (before: string, after: string) => compareMeaning(compiled(parsePolicy(before, OPERATIONS)), compiled(parsePolicy(after, OPERATIONS)), NOW)

/** What is done with a request, as the comparison counts it. */
function outcome({ policy, decide }: { readonly policy: ResolvedPolicy; readonly decide: ReturnType<typeof compileRules> }, asked: Asked): string {
  const { rule } = decide(asked)
  const found = policy.rules.find(({ id }) => id === rule)
  return found === undefined ? JSON.stringify(['deny', null, null, null, null]) : outcomeOf(found)
}

const POLICY = `policy: 2
owner: me
zones:
  plant: { networks: [10.0.0.0/8], listener: tls, level: intranet }
  rest: { others: true, level: internet }
sets: { keys: [kms.key.sign, kms.key.verify] }
guard:
  - { id: g, verdict: deny, reason: r, levels: [internet], operations: [kms.certificate.issue] }
chains:
  - name: plant
    zones: [plant]
    rules:
      - { id: a, verdict: deny, reason: r, callers: ['module:guest'], operations: ['*'] }
      - { id: b, verdict: allow, reason: r, callers: ['module:*'], operations: [$keys], where: { owner: $caller } }
      - { id: c, verdict: allow, reason: r, callers: ['officer:*'], operations: [kms.certificate.issue], strength: [certificate] }
      - { id: d, verdict: allow, reason: r, callers: ['vendor:*'], operations: [kms.key.verify], keyLabels: ['meter-*'] }
      - { id: e, verdict: allow, reason: r, callers: ['module:night'], operations: [kms.key.generate], times: [{ from: '22:00', to: '06:00', timeZone: Asia/Shanghai }] }
  - name: rest
    zones: [rest]
    rules: []
`

describe('the meaning of a change', () => {
  it.each([
    ['nothing', (text: string) => text],
    ['names of rules', (text: string) => text.replaceAll(/id: (\w)/g, 'id: new-$1')],
    ['names of sets and zones', (text: string) => text.replaceAll('keys', 'use').replaceAll('plant', 'works')],
    ['comments, owners, reasons', (text: string) => `# new\n${text.replaceAll('reason: r', 'reason: because, owner: you')}`],
    ['the order of rules that share no request', (text: string) => text.replace(/( {6}- \{ id: c.*\n)( {6}- \{ id: d.*\n)/, '$2$1')],
    ['a set spelled out', (text: string) => text.replace('$keys', 'kms.key.verify, kms.key.sign')],
    ['a network in two halves', (text: string) => text.replace('10.0.0.0/8', '10.0.0.0/9, 10.128.0.0/9')],
    [
      'a rule that never decides',
      (text: string) =>
        text.replace('      - { id: c', "      - { id: x, verdict: allow, reason: r, callers: ['module:guest'], operations: [kms.key.sign] }\n      - { id: c"),
    ],
    [
      'a rule that has expired',
      (text: string) =>
        text.replace(
          '      - { id: c',
          "      - { id: x, verdict: allow, reason: r, callers: ['officer:*'], operations: ['*'], expires: '2026-01-01T00:00:00Z' }\n      - { id: c",
        ),
    ],
    ['a denial at the end', (text: string) => text.replace('  - name: rest', "      - { id: x, verdict: deny, reason: r, operations: ['*'] }\n  - name: rest")],
  ])('%s: none', (_what, change) => {
    expect(compare(POLICY, change(POLICY))).toEqual({ regions: [], undecided: [] })
  })

  it.each([
    ['a rule left out', /      - \{ id: a.*\n/, '', [['newly-allowed', 'a', 'b', 'kms.key.sign', 'module:guest']]],
    ['a rule put last', /(      - \{ id: a.*\n)((?: {6}- .*\n)*)/, '$2$1', [['newly-allowed', 'a', 'b', 'kms.key.sign', 'module:guest']]],
    ['a condition left out', ', where: { owner: $caller }', '', [['newly-allowed', 'default', 'b', 'kms.key.sign', 'module:night']]],
    [
      'a network grown',
      '10.0.0.0/8',
      '10.0.0.0/7',
      [
        ['newly-allowed', 'default', 'b', 'kms.key.sign', 'module:night'],
        ['newly-allowed', 'g', 'c', 'kms.certificate.issue', 'officer:anybody'],
        ['newly-allowed', 'default', 'd', 'kms.key.verify', 'vendor:anybody'],
        ['newly-allowed', 'default', 'e', 'kms.key.generate', 'module:night'],
      ],
    ],
    [
      'another listener',
      'listener: tls',
      'listener: plain',
      [
        ['newly-denied', 'b', 'default', 'kms.key.sign', 'module:night'],
        ['newly-denied', 'c', 'default', 'kms.certificate.issue', 'officer:anybody'],
        ['newly-denied', 'd', 'default', 'kms.key.verify', 'vendor:anybody'],
        ['newly-denied', 'e', 'default', 'kms.key.generate', 'module:night'],
        ['newly-allowed', 'default', 'b', 'kms.key.sign', 'module:night'],
        ['newly-allowed', 'default', 'c', 'kms.certificate.issue', 'officer:anybody'],
        ['newly-allowed', 'default', 'd', 'kms.key.verify', 'vendor:anybody'],
        ['newly-allowed', 'default', 'e', 'kms.key.generate', 'module:night'],
      ],
    ],
    ['a shorter label', 'meter-*', 'meter*', [['newly-allowed', 'default', 'd', 'kms.key.verify', 'vendor:anybody']]],
    ['a longer night', "to: '06:00'", "to: '07:00'", [['newly-allowed', 'default', 'e', 'kms.key.generate', 'module:night']]],
    ['an end', 'id: d,', "id: d, expires: '2026-12-01T00:00:00Z',", [['newly-denied', 'd', 'default', 'kms.key.verify', 'vendor:anybody']]],
    [
      'a hold',
      'id: c, verdict: allow',
      "id: c, hold: { approvals: 2, of: ['officer:*'], within: 1h }, verdict: hold",
      [['newly-held', 'c', 'c', 'kms.certificate.issue', 'officer:anybody']],
    ],
    ['a rate', 'id: d,', 'id: d, rate: { per: caller, count: 1, every: 1s },', [['changed-terms', 'd', 'd', 'kms.key.verify', 'vendor:anybody']]],
  ] as const)('%s', (_what, from, to, wanted) => {
    const { regions, undecided } = compare(POLICY, POLICY.replace(from, to))
    expect(undecided).toEqual([])
    const told = regions.map(({ change, before, after, example }) =>
      [change, before.rule, after.rule, example.operation, `${example.caller.kind}:${example.caller.name}`].join(' '),
    )
    expect(new Set(told)).toEqual(new Set(wanted.map((one) => one.join(' '))))
  })

  it('is told in words, with a request', () => {
    const { regions } = compare(POLICY, POLICY.replace("to: '06:00'", "to: '07:00'"))
    expect(regions).toEqual([
      {
        change: 'newly-allowed',
        before: { effect: 'deny', rule: 'default' },
        after: { effect: 'allow', rule: 'e' },
        example: {
          operation: 'kms.key.generate',
          caller: {
            ...{ kind: 'module', name: 'night', id: 'urn:gridseal:module:night', address: '10.0.0.0', listener: 'tls', strength: 'certificate' },
            admittedUntil: ADMITTED_AT_ANY_TIME,
          },
          uses: [],
          facts: {},
          at: Date.parse('2026-10-23T06:00:00+08:00'),
        },
        where: [
          'caller: module:night',
          'from: plant (tls)',
          'operation: kms.key.generate',
          expect.stringMatching(/^Asia\/Shanghai: day 1 from 06:00, /) as string,
        ],
      },
    ])
  })

  it('every example is decided differently; where nothing is found, and nothing is left undecided, no request is', { timeout: 60_000 }, () => {
    const met = { same: 0, different: 0, undecided: 0 }
    fc.assert(
      fc.property(policies({ mostRules: 4 }), policies({ mostRules: 4 }), fc.boolean(), fc.nat(), (one, two, isRelated, seed) => {
        const [before, after] = [compiled(one), compiled(isRelated ? changed(one, seed) : two)]
        const { regions, undecided } = compareMeaning(before, after, NOW)
        for (const { example, before: was, after: is } of regions) {
          expect(before.decide(example)).toMatchObject({ effect: was.effect, rule: was.rule })
          expect(after.decide(example)).toMatchObject({ effect: is.effect, rule: is.rule })
          expect(outcome(before, example)).not.toBe(outcome(after, example))
        }
        met[undecided.length > 0 ? 'undecided' : regions.length > 0 ? 'different' : 'same'] += 1
        if (undecided.length > 0) return
        const pairs = new Set(regions.map(({ before: was, after: is }) => `${was.rule} ${is.rule}`))
        for (const asked of fc.sample(requests, { numRuns: 200, seed })) {
          const later = { ...asked, at: Math.max(NOW, asked.at) }
          if (outcome(before, later) === outcome(after, later)) continue
          expect(pairs, JSON.stringify(later)).toContain(`${before.decide(later).rule} ${after.decide(later).rule}`)
        }
      }),
      { numRuns: 150 },
    )
    expect(met.same).toBeGreaterThan(10)
    expect(met.different).toBeGreaterThan(40)
    expect(met.undecided).toBeLessThan(75)
  })
})

/** The policy with one rule left out, doubled or moved. */
function changed({ document }: Policy, seed: number): Policy {
  const copy = parse(stringify(document, { aliasDuplicateObjects: false })) as PolicyDocument
  const chain = copy.chains[seed % Math.max(1, copy.chains.length)]
  if (chain !== undefined && chain.rules.length > 0) {
    const at = seed % chain.rules.length
    const [rule] = seed % 3 === 0 ? chain.rules.slice(at, at + 1) : chain.rules.splice(at, 1)
    if (rule !== undefined && seed % 3 !== 1) chain.rules.push({ ...rule, id: 'moved' })
  }
  return parsePolicy(stringify(copy, { aliasDuplicateObjects: false }), OPERATIONS)
}

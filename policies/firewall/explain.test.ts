import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ADMITTED_AT_ANY_TIME } from '../caller.ts'
import { compileRules } from './compile.ts'
import { explainer } from './explain.ts'
import { loadPolicy } from './load.ts'
import { parsePolicy } from './parse.ts'
import { PolicyError } from './policy-error.ts'
import { runTests } from './policy-tests.ts'
import { resolvePolicy } from './resolve.ts'
import { OPERATIONS, policies, requests } from './testing/arbitrary.ts'

const POLICY = `policy: 2
owner: me
zones: { a: { networks: [10.0.0.0/8], level: intranet }, rest: { others: true } }
chains:
  - name: a
    zones: [a]
    rules:
      - { id: guest, verdict: deny, reason: r, callers: ['module:guest'], operations: ['*'] }
      - { id: own, verdict: allow, reason: r, callers: ['module:*'], operations: [kms.key.sign], where: { owner: $caller }, keyLabels: ['a*', 'b?'] }
      - { id: bob, verdict: allow, reason: r, callers: ['officer:bob', 'officer:eve'], operations: [kms.key.sign], strength: [certificate] }
      - { id: night, verdict: allow, reason: r, roles: [module], operations: [kms.key.sign], times: [{ days: [fri, sat], from: '22:00', to: '06:00', timeZone: Asia/Shanghai }] }
      - { id: old, verdict: allow, reason: r, roles: [module], operations: [kms.key.sign], expires: '2026-11-26T00:00:00Z' }
  - name: rest
    zones: [rest]
    rules:
      - { id: elsewhere, verdict: allow, reason: r, callers: ['module:*'], operations: [kms.key.sign] }
`
const at = Date.parse('2026-11-26T12:00:00Z')
const caller = {
  kind: 'module',
  name: 'guest',
  id: 'x',
  address: '10.0.0.1',
  listener: 'tls',
  strength: 'certificate',
  admittedUntil: ADMITTED_AT_ANY_TIME,
} as const
const explain = explainer(resolvePolicy(parsePolicy(POLICY, OPERATIONS), OPERATIONS))

describe('an explanation', () => {
  it('says of each near miss what stopped it first, with what was found and what was wanted', () => {
    const told = explain({ operation: 'kms.key.sign', caller: { ...caller, name: 'billing' }, uses: [], facts: { label: 'bcd' }, at })
    expect(told).toMatchObject({ effect: 'deny', rule: 'default', zones: ['a'], chain: 'a', more: 0 })
    expect(told.nearMisses).toEqual([
      { rule: 'bob', effect: 'allow', dimension: 'callers', found: 'module:billing', wanted: 'officer:bob, officer:eve', stops: 1 },
      { rule: 'night', effect: 'allow', dimension: 'times', found: 'thu 20:00 Asia/Shanghai', wanted: 'fri sat 22:00-06:00 Asia/Shanghai', stops: 1 },
      { rule: 'old', effect: 'allow', dimension: 'expires', found: '2026-11-26T12:00:00.000Z', wanted: 'before 2026-11-26T00:00:00Z', stops: 1 },
      { rule: 'elsewhere', effect: 'allow', dimension: 'chain', found: 'a', wanted: 'rest', stops: 1 },
      { rule: 'own', effect: 'allow', dimension: 'keyLabels', found: 'label "bcd"', wanted: 'a*, b?', stops: 2 },
      { rule: 'guard:not-admitted', effect: 'deny', dimension: 'admission', found: 'admitted', wanted: 'not admitted', stops: 1 },
      { rule: 'guest', effect: 'deny', dimension: 'callers', found: 'module:billing', wanted: 'module:guest', stops: 1 },
      { rule: 'guard:auditors-use-no-key', effect: 'deny', dimension: 'roles', found: 'module', wanted: 'auditor', stops: 2 },
    ])
  })

  it('of a denial, also the rules that came too late', () => {
    const { rule, nearMisses } = explain({ operation: 'kms.key.sign', caller, uses: [], facts: { owner: 'urn:gridseal:module:guest', label: 'a' }, at })
    expect(rule).toBe('guest')
    expect(nearMisses[0]).toEqual({
      rule: 'own',
      effect: 'allow',
      dimension: 'order',
      found: 'rule guest decides before it',
      wanted: 'to come first',
      stops: 0,
    })
  })

  it('says what the engine says, and every near miss is one', { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(policies(), fc.nat(), (policy, seed) => {
        const resolved = resolvePolicy(policy, OPERATIONS)
        const decide = compileRules(resolved)
        const tell = explainer(resolved, decide)
        for (const asked of fc.sample(requests, { numRuns: 30, seed })) {
          const { effect, rule, nearMisses } = tell(asked)
          expect({ effect, rule }).toEqual({ effect: decide(asked).effect, rule: decide(asked).rule })
          for (const miss of nearMisses) {
            expect(miss.rule).not.toBe(rule)
            // Alone among the rules it does not decide, but where it only came too late.
            const alone = compileRules({ ...resolved, rules: resolved.rules.filter(({ id }) => id === miss.rule) })
            expect(alone(asked).rule).toBe(miss.dimension === 'order' ? miss.rule : 'default')
          }
        }
      }),
      { numRuns: 50 },
    )
  })
})

describe('the policy’s own tests', () => {
  const withTest = (test: string): string => `${POLICY}tests:\n  - { name: t, ${test} }\n`
  const failuresOf = (text: string): string[] => {
    const policy = parsePolicy(text, OPERATIONS)
    const resolved = resolvePolicy(policy, OPERATIONS)
    return runTests(policy, { resolved, decide: compileRules(resolved), now: at }).map(({ line, message }) => `${String(line)}: ${message}`)
  }

  it.each([
    ['caller: "module:billing", address: 10.0.0.1, operation: kms.key.sign, facts: { owner: $caller, label: a1 }', 'verdict: allow, rule: own'],
    ['caller: "module:guest", address: "::ffff:10.0.0.1", operation: kms.key.sign', 'verdict: deny'],
    ['caller: "officer:bob", address: 10.0.0.1, operation: kms.key.sign, strength: password+totp', 'verdict: deny, rule: default'],
    ['caller: "module:x", address: 10.0.0.1, operation: kms.key.sign, at: "2026-11-27T15:00:00Z"', 'verdict: allow, rule: night'],
    ['caller: "auditor:ann", address: 10.0.0.1, operation: kms.key.sign, usesKey: true', 'verdict: deny, rule: "guard:auditors-use-no-key"'],
    ['caller: "module:x", address: nowhere, operation: kms.key.sign', 'verdict: deny, rule: error'],
  ])('pass: %s', (ask, expected) => {
    expect(failuresOf(withTest(`ask: { ${ask} }, expect: { ${expected} }`))).toEqual([])
  })

  it.each([
    [
      'caller: "module:billing", address: 10.0.0.1, operation: kms.key.sign, facts: { label: a1 }',
      'verdict: allow, rule: own',
      '18: test "t": found deny by default, expected allow by own (zones a, chain a); where.owner stopped own: found owner is not stated, wanted the caller’s own',
    ],
    [
      'caller: "module:guest", address: 10.0.0.1, operation: kms.key.sign',
      'verdict: allow',
      '18: test "t": found deny by guest, expected allow (zones a, chain a); callers stopped bob: found module:guest, wanted officer:bob, officer:eve',
    ],
    [
      'caller: "module:x", operation: kms.key.sign',
      'verdict: allow, rule: elsewhere',
      '18: test "t": found deny by default, expected allow by elsewhere (zones none, chain none); chain stopped elsewhere: found none (no zone), wanted rest',
    ],
    [
      'caller: "module:x", address: 11.0.0.1, operation: kms.key.sign',
      'verdict: deny',
      '18: test "t": found allow by elsewhere, expected deny (zones rest, chain rest); callers stopped guest: found module:x, wanted module:guest',
    ],
    ['caller: "module:x", address: nowhere, operation: kms.key.sign', 'verdict: allow', '18: test "t": found deny by error, expected allow'],
  ])('fail, and say why: %s', (ask, expected, message) => {
    expect(failuresOf(withTest(`ask: { ${ask} }, expect: { ${expected} }`))).toEqual([message])
  })

  it('a policy that fails one is not taken', () => {
    const text = withTest('ask: { caller: "module:x", operation: kms.key.sign }, expect: { verdict: allow }')
    expect(() => loadPolicy(text, { operations: OPERATIONS, now: at })).toThrow(PolicyError)
    expect(loadPolicy(text.replace('verdict: allow } }', 'verdict: deny } }'), { operations: OPERATIONS, now: at }).policy.document.tests).toHaveLength(1)
  })
})

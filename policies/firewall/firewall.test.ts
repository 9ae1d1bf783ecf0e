import { describe, expect, it } from 'vitest'
import type { CallerKind } from '../caller.ts'
import { compilePolicy, type OperationFacts } from './compile.ts'
import { parsePolicy } from './parse.ts'

const OPERATIONS: OperationFacts[] = [
  { name: 'kms.key.sign', effect: 'transient', isRouted: true },
  { name: 'kms.key.generate', effect: 'durable', isRouted: true },
  { name: 'policies.audit.search', effect: 'transient', isRouted: true },
  { name: 'card-personalization.cards.fill', effect: 'durable', isRouted: false },
]

const POLICY = `
policy: 1
zones:
  plant: [10.1.0.0/16, 2001:db8:1::/48]
rules:
  - { name: not-the-guest, effect: deny, callers: ['module:guest'], operations: ['*'] }
  - { name: own-keys, effect: allow, zones: [plant], callers: ['module:*'], operations: [kms.key.*], where: { owner: $caller } }
  - { name: auditors, effect: allow, callers: ['auditor:*'], operations: ['*'] }
  - { name: fill, effect: allow, callers: ['system:fill'], operations: [card-personalization.cards.fill] }
  - { name: everything-for-bob, effect: allow, callers: ['officer:bob'], operations: ['*'] }
`
const decide = compilePolicy(parsePolicy(POLICY), OPERATIONS)

const ask = (
  caller: string,
  operation: string,
  { address = '10.1.2.3', facts = {}, uses = 0 }: { address?: string; facts?: Record<string, string>; uses?: number } = {},
) => {
  const [kind = '', name = ''] = caller.split(':')
  return decide({
    operation,
    caller: { kind: kind as CallerKind, name, id: 'x', ...(kind === 'system' ? {} : { address }) },
    uses: Array.from({ length: uses }, () => ({ action: 'sign' as const, keyId: 'k' as never })),
    facts,
  })
}
const own = { facts: { owner: 'urn:gridseal:module:billing' } }

describe('the firewall', () => {
  it.each([
    ['allow', 'own-keys', 'module:billing', 'kms.key.sign', own],
    ['allow', 'own-keys', 'module:billing', 'kms.key.sign', { ...own, address: '::ffff:10.1.9.9' }],
    ['allow', 'own-keys', 'module:billing', 'kms.key.sign', { ...own, address: '2001:db8:1::5' }],
    ['deny', 'default', 'module:billing', 'kms.key.sign', { ...own, address: '10.2.0.1' }],
    ['deny', 'default', 'module:traffic', 'kms.key.sign', own],
    ['deny', 'default', 'module:billing', 'kms.key.sign', {}],
    ['deny', 'not-the-guest', 'module:guest', 'kms.key.sign', { facts: { owner: 'urn:gridseal:module:guest' } }],
    ['deny', 'default', 'module:billing', 'policies.audit.search', own],
    ['deny', 'default', 'module:billing', 'no.such.operation', own],
    ['allow', 'auditors', 'auditor:ann', 'policies.audit.search', {}],
    ['deny', 'guard:auditors-change-nothing', 'auditor:ann', 'kms.key.generate', {}],
    ['deny', 'guard:auditors-use-no-key', 'auditor:ann', 'kms.key.sign', { uses: 1 }],
    ['allow', 'fill', 'system:fill', 'card-personalization.cards.fill', {}],
    ['deny', 'default', 'system:other', 'card-personalization.cards.fill', {}],
    ['deny', 'guard:service-only', 'officer:bob', 'card-personalization.cards.fill', {}],
    ['allow', 'everything-for-bob', 'officer:bob', 'kms.key.generate', {}],
  ] as const)('%s by %s: %s %s', (effect, rule, caller, operation, circumstances) => {
    expect(ask(caller, operation, circumstances)).toMatchObject({ effect, rule })
  })

  it('throws on what is no address, which the gate makes a denial', () => {
    expect(() => ask('module:billing', 'kms.key.sign', { address: '10.1.2.3.4' })).toThrow('not an address')
  })

  it('names the revision that decided', () => {
    expect(ask('module:billing', 'kms.key.sign', own).revision).toBe(parsePolicy(POLICY).revision)
    expect(parsePolicy(`${POLICY} `).revision).not.toBe(parsePolicy(POLICY).revision)
  })
})

describe('a policy with a mistake is refused, with its place', () => {
  it.each([
    ['an unknown field', 'policy: 1\nrules: []\nrule: []', /rule/],
    [
      'a zone that is not defined',
      "policy: 1\nrules: [{ name: a, effect: allow, zones: [x], callers: ['module:*'], operations: ['*'] }]",
      /no zone is named x/,
    ],
    [
      'two rules of one name',
      "policy: 1\nrules:\n - &r { name: a, effect: deny, callers: ['module:*'], operations: ['*'] }\n - { name: a, effect: deny, callers: ['module:*'], operations: ['*'] }",
      /named a already/,
    ],
    ['an effect that is none', "policy: 1\nrules: [{ name: a, effect: maybe, callers: ['module:*'], operations: ['*'] }]", /rules\.0\.effect/],
    ['octal address', 'policy: 1\nzones: { a: [010.0.0.0/8] }\nrules: []', /zones\.a\.0/],
    ['a prefix too long', 'policy: 1\nzones: { a: [10.0.0.0/33] }\nrules: []', /zones\.a\.0/],
    ['a duplicate key', 'policy: 1\nrules: []\nrules: []', /unique/i],
    ['an anchor bomb', 'policy: 1\nzones: &a { a: [10.0.0.0/8] }\nrules: *a', /./],
    ['nothing', '', /./],
  ])('%s', (_what, text, message) => {
    expect(() => parsePolicy(text)).toThrow(message)
  })

  it('an operation that does not exist', () => {
    const policy = parsePolicy("policy: 1\nrules: [{ name: a, effect: allow, callers: ['module:*'], operations: [kms.key.sing] }]")
    expect(() => compilePolicy(policy, OPERATIONS)).toThrow('no operation is named kms.key.sing')
  })
})

import { describe, expect, it } from 'vitest'
import { CARDS_APART } from '../card-questions.ts'
import type { Caller } from '../caller.ts'
import { type OperationFacts, PolicyError } from '../firewall/index.ts'
import { RESERVED_IDS } from '../firewall/schema.ts'
import { LEASE_RULE } from './keeper.ts'
import { readyPolicy, RECOVERY_RULE } from './recovery.ts'

const facts = (...names: readonly string[]): OperationFacts[] => names.map((name) => ({ name, effect: 'durable', isRouted: true }))
const OPERATIONS = facts(
  'kms.key.sign',
  'kms.key.take-out',
  'policies.revision.activate',
  'policies.hold.approve',
  'policies.audit.search',
  'policies.audit.reveal',
  'kms.crl.issue',
)
/** Of a version in which keys were exported, and called so. */
const OLD = `
policy: 2
owner: tests
zones: { plant: { networks: [10.0.0.0/8] }, else: { others: true, level: internet } }
guard:
  - { id: no-export, verdict: deny, reason: keys stay, operations: [kms.key.export] }
chains:
  - name: system
    rules: [{ id: jobs, verdict: allow, reason: the service, callers: ['system:*'], operations: [kms.crl.issue] }]
  - name: plant
    zones: [plant]
    rules:
      - { id: officers, verdict: allow, reason: they change it, callers: ['officer:*'], strength: [certificate], operations: [policies.*] }
      - { id: keys, verdict: allow, reason: all of them, callers: ['officer:*'], operations: ['kms.key.*'] }
tests:
  - { name: keys stay, ask: { caller: 'officer:alice', address: 10.1.1.1, operation: kms.key.export }, expect: { verdict: deny, rule: no-export } }
`
const officer = (address = '10.1.1.1', strength: Caller['strength'] = 'certificate'): Caller => ({
  ...{ kind: 'officer', name: 'alice', id: 'x', address, listener: 'tls' },
  ...(strength === undefined ? {} : { strength }),
})

describe('a policy that names an operation which is not there any more', () => {
  const { decide, recovery } = readyPolicy(OLD, OPERATIONS)
  const rule = (operation: string, caller: Caller = officer()): string => {
    const decision = decide({ operation, caller, uses: [], facts: {}, at: 0 })
    return `${decision.effect} ${decision.rule}`
  }

  it('says which, and where', () => {
    expect(recovery).toMatch(/has not: line 6: .*kms\.key\.export; line 16: .*kms\.key\.export\.$/)
    expect(decide({ operation: 'kms.key.sign', caller: officer(), uses: [], facts: {}, at: 0 }).reason).toMatch(
      /^urn:gridseal:officer:alice .*gridseal policy propose.*kms\.key\.export/,
    )
  })

  it('opens nothing: what its guard denied may have another name now, and a pattern would allow it', () => {
    expect(rule('kms.key.take-out')).toBe('deny recovery')
    expect(rule('kms.key.sign')).toBe('deny recovery')
  })

  it('lets the log be read, and nobody see personal values', () => {
    expect(rule('policies.audit.search')).toBe('allow officers')
    expect(rule('policies.audit.reveal')).toBe('deny recovery')
  })

  it('can be changed, by whom and whence it says itself; the service’s own jobs go on', () => {
    expect(rule('policies.revision.activate')).toBe('allow officers')
    expect(rule('policies.hold.approve')).toBe('allow officers')
    expect(rule('policies.revision.activate', officer('192.0.2.1'))).toBe('deny default')
    expect(rule('policies.revision.activate', officer('10.1.1.1', 'password+totp'))).toBe('deny default')
    expect(rule('policies.revision.activate', { ...officer(), kind: 'module', admittedUntil: 1 })).toBe('deny default')
    expect(rule('kms.crl.issue', { kind: 'system', name: 'crl', id: 'x' })).toBe('allow jobs')
    expect(rule('kms.key.sign', { kind: 'system', name: 'crl', id: 'x' })).toBe('deny default')
  })

  it('is of use whole where every name is there, and not at all where anything else is wrong with it', () => {
    const whole = readyPolicy(OLD, [...OPERATIONS, ...facts('kms.key.export')])
    expect(whole.recovery).toBeUndefined()
    expect(whole.decide({ operation: 'kms.key.sign', caller: officer(), uses: [], facts: {}, at: 0 })).toMatchObject({ effect: 'allow', rule: 'keys' })
    expect(() => readyPolicy(`${OLD}colour: red\n`, OPERATIONS)).toThrow(PolicyError)
  })
})

it('what decides in a policy’s place has names that no rule can have', () => {
  expect(RESERVED_IDS).toEqual(['default', 'error', LEASE_RULE, RECOVERY_RULE, CARDS_APART])
})

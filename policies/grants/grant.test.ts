import { describe, expect, it } from 'vitest'
import { ADMITTED_AT_ANY_TIME, type Caller } from '../caller.ts'
import { compilePolicyText } from '../firewall/load.ts'
import type { Asked } from '../firewall/decide.ts'
import { OPERATIONS } from '../firewall/testing/arbitrary.ts'
import { decideWithGrants, type Grant, grantIdOf, grantRow, grantRule } from './grant.ts'

const POLICY = `
policy: 2
owner: tests
zones:
  plant: { networks: [10.1.0.0/16] }
  outside: { networks: [192.0.2.0/24], level: internet }
guard:
  - { id: nothing-from-outside, verdict: deny, reason: r, levels: [internet], operations: ['kms.certificate.*'] }
chains:
  - name: plant
    zones: [plant]
    rules:
      - { id: no-verify, verdict: deny, reason: r, callers: ['module:*'], operations: [kms.key.verify] }
      - { id: make, verdict: allow, reason: r, callers: ['module:*'], operations: [kms.key.generate], rate: { per: caller, count: 1, every: 1s } }
  - name: outside
    zones: [outside]
    rules: []
`
const { decide } = compilePolicyText(POLICY, OPERATIONS)
const NOON = Date.parse('2026-11-26T12:00:00Z')
const grant: Grant = {
  ...{ id: '01890000-0000-7000-8000-000000000001', reason: 'the meters are down', callers: ['urn:gridseal:module:billing'], operations: ['kms.*'] },
  ...{ zones: [], networks: [], from: new Date(NOON), until: new Date(NOON + 3_600_000), issuedBy: 'urn:gridseal:officer:alice', issuedAt: new Date(NOON) },
  version: 1,
}
const billing: Caller = {
  ...{ kind: 'module', name: 'billing', id: 'x', address: '10.1.2.3', listener: 'tls', strength: 'certificate', admittedUntil: ADMITTED_AT_ANY_TIME },
}
const ask = (
  { caller = {}, ...asked }: Partial<Omit<Asked, 'caller'>> & { readonly caller?: Partial<Caller> } = {},
  grants: readonly Grant[] = [grant],
  lateMs?: number,
) => {
  const question: Asked = { operation: 'kms.key.sign', uses: [], facts: {}, at: NOON, ...asked, caller: { ...billing, ...caller } }
  return decideWithGrants(decide(question), question, grants, lateMs)
}
const revokedAt = (ms: number): Grant => ({ ...grant, revoked: { by: 'urn:gridseal:officer:bob', at: new Date(NOON + ms), reason: 'over' } })

describe('a grant', () => {
  it('allows what no rule allows, and its entries say all that is known of it', () => {
    expect(ask()).toEqual({
      ...{ effect: 'allow', rule: grantRule(grant), revision: ask({}, []).revision },
      reason: `The grant ${grant.id} allows it until 2026-11-26T13:00:00.000Z.`,
      origin: { zones: ['plant'], isOutside: false },
      record: {
        ...{ 'policy.owner': 'urn:gridseal:officer:alice', 'policy.reason': 'the meters are down', 'policy.zones': ['plant'] },
        ...{ 'policy.expires': '2026-11-26T13:00:00.000Z', 'policy.strength': 'certificate' },
      },
    })
    expect(grantIdOf(ask().rule)).toBe(grant.id)
    expect(grantIdOf('make')).toBeUndefined()
  })

  it.each<[string, Parameters<typeof ask>[0], Partial<Grant>, string]>([
    ['the last moment before it begins', { at: NOON - 1 }, {}, 'default'],
    ['its last moment', { at: NOON + 3_599_999 }, {}, grantRule(grant)],
    ['the moment at which it ends', { at: NOON + 3_600_000 }, {}, 'default'],
    ['another caller', { caller: { name: 'traffic' } }, {}, 'default'],
    ['a caller of the same name and another kind', { caller: { kind: 'vendor' } }, {}, 'default'],
    ['an operation of the pattern', { operation: 'kms.certificate.issue' }, {}, grantRule(grant)],
    ['an operation that it does not name', { operation: 'policies.audit.search' }, {}, 'default'],
    ['an operation by name alone', {}, { operations: ['kms.key.sign'] }, grantRule(grant)],
    ['one of its zones', {}, { zones: ['elsewhere', 'plant'] }, grantRule(grant)],
    ['none of its zones', {}, { zones: ['outside'] }, 'default'],
    ['one of its networks', {}, { networks: ['172.16.0.0/12', '10.1.2.0/24'] }, grantRule(grant)],
    ['one of its networks, IPv4 mapped into IPv6', { caller: { address: '::ffff:10.1.2.9' } }, { networks: ['10.1.2.0/24'] }, grantRule(grant)],
    ['none of its networks', {}, { networks: ['10.1.3.0/24'] }, 'default'],
    ['an address of no zone', { caller: { address: '172.16.0.1' } }, {}, 'default'],
    ['a rule that denies', { operation: 'kms.key.verify' }, {}, 'no-verify'],
    ['a rule that allows, with its rate', { operation: 'kms.key.generate' }, {}, 'make'],
    ['another matter from outside', { operation: 'policies.audit.search', caller: { address: '192.0.2.1' } }, { operations: ['policies.*'] }, grantRule(grant)],
    ['key administration from outside, though no rule denies it', { caller: { address: '192.0.2.1' } }, {}, 'default'],
    ['the policy’s guard', { operation: 'kms.certificate.issue', caller: { address: '192.0.2.1' } }, {}, 'nothing-from-outside'],
    ['what is the service’s own', { operation: 'card-personalization.cards.fill' }, { operations: ['card-personalization.*'] }, 'guard:service-only'],
    ['who is not admitted', { caller: { admittedUntil: NOON } }, {}, 'guard:not-admitted'],
    ['an operation that there is not', { operation: 'kms.key.lend' }, {}, 'default'],
  ])('%s', (_what, asked, change, rule) => {
    expect(ask(asked, [{ ...grant, ...change }]).rule).toBe(rule)
  })

  it('that is revoked allows nothing; looked back at, as long as a node may not have heard of it', () => {
    expect(ask({ at: NOON + 60_000 }, [revokedAt(60_000)]).rule).toBe('default')
    expect(ask({ at: NOON + 59_999 }, [revokedAt(60_000)]).effect).toBe('allow')
    expect(ask({ at: NOON + 64_999 }, [revokedAt(60_000)], 5000).effect).toBe('allow')
    expect(ask({ at: NOON + 65_000 }, [revokedAt(60_000)], 5000).rule).toBe('default')
  })

  it('does not lift what auditors may not', () => {
    const auditor = { ...grant, callers: ['urn:gridseal:auditor:ann'] }
    const ann: Partial<Caller> = { kind: 'auditor', name: 'ann' }
    expect(ask({ caller: ann, operation: 'kms.key.generate' }, [auditor]).rule).toBe('guard:auditors-change-nothing')
    expect(ask({ caller: ann, uses: [{ action: 'sign', keyId: 'k' as never }] }, [auditor]).rule).toBe('guard:auditors-use-no-key')
    expect(ask({ caller: ann }, [auditor]).rule).toBe(grantRule(grant))
  })

  it('of several the first that covers it is named', () => {
    const other = { ...grant, id: '01890000-0000-7000-8000-000000000002' }
    expect(ask({}, [{ ...other, callers: [] }, grant, other]).rule).toBe(grantRule(grant))
  })

  it('has all of it in its row', () => {
    const row = (change: Partial<Grant>): string => JSON.stringify(grantRow({ ...grant, ...change }))
    const changed: Partial<Grant>[] = [
      ...[{ reason: 'x' }, { callers: ['x'] }, { operations: ['x'] }, { zones: ['x'] }, { networks: ['10.0.0.0/8'] }, { from: new Date(0) }],
      ...[{ until: new Date(0) }, { issuedBy: 'x' }, { issuedAt: new Date(0) }, { version: 2 }, { revoked: { by: 'x', at: new Date(0), reason: 'x' } }],
    ]
    expect(new Set([{}, ...changed].map(row)).size).toBe(changed.length + 1)
  })
})

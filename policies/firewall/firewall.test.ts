import { describe, expect, it } from 'vitest'
import { ADMITTED_AT_ANY_TIME, type CallerKind, type Listener, type Strength } from '../caller.ts'
import { compilePolicy } from './compile.ts'
import type { Asked, Decision } from './decide.ts'
import { parsePolicy } from './parse.ts'
import { OPERATIONS } from './testing/arbitrary.ts'

const POLICY = `
policy: 2
owner: tests
zones:
  plant: { networks: [10.1.0.0/16, 2001:db8:1::/48], listener: tls, level: intranet }
  desk: { networks: [10.1.2.0/24], level: headquarters }
  outside: { networks: [172.16.0.0/12], level: extranet }
  rest: { others: true, level: internet }
sets:
  keys: [kms.key.sign, kms.key.verify]
  ours: [acme, '5']
guard:
  - { id: outside-makes-nothing, verdict: deny, reason: r, levels: [extranet], operations: [kms.key.generate] }
chains:
  - name: desk
    zones: [desk]
    rules:
      - { id: desk-guest, verdict: deny, reason: r, callers: ['module:guest'], operations: ['*'] }
      - { id: desk-certificate, verdict: allow, reason: r, callers: ['officer:*'], strength: [certificate], operations: [kms.certificate.issue] }
      - { id: desk-auditors, verdict: allow, reason: r, roles: [auditor], operations: ['*'] }
      - { id: desk-bob, verdict: allow, reason: r, callers: ['officer:bob'], operations: ['*'] }
  - name: plant
    levels: [intranet]
    rules:
      - { id: own-keys, verdict: allow, reason: r, callers: ['module:*'], operations: [$keys], where: { owner: $caller } }
      - { id: meters, verdict: allow, reason: r, callers: ['module:meters'], operations: [kms.key.*], keyLabels: ['meter-*', 'm?'], keyClasses: [ec-p256] }
      - { id: east, verdict: allow, reason: r, callers: ['module:east'], operations: [kms.key.sign], regions: ['33', '110101'], cardStates: [activated] }
      - { id: vendor, verdict: allow, reason: r, callers: ['vendor:*'], operations: [kms.key.verify], where: { vendor: $ours, state: active, count: 3 } }
      - id: night
        verdict: allow
        reason: r
        callers: ['module:night']
        operations: [kms.key.sign]
        times: [{ days: [fri], from: '22:00', to: '02:30', timeZone: Europe/Berlin }]
      - { id: old, verdict: allow, reason: r, callers: ['module:old'], operations: [kms.key.sign], expires: '2026-11-26T12:00:00+08:00' }
      - { id: held, verdict: hold, reason: r, callers: ['officer:*'], operations: [kms.key.generate], hold: { approvals: 2, of: ['officer:*'], within: 1d } }
      - id: limited
        verdict: allow
        reason: why
        ticket: T-1
        log: full
        callers: ['module:limited']
        operations: [kms.key.sign]
        rate: { per: caller, count: 10, every: 2s, burst: 20 }
        quota: { per: rule, sum: { fact: cards, most: 500 }, period: week, timeZone: Asia/Shanghai }
  - name: outside
    levels: [extranet]
    rules:
      - { id: outside-all, verdict: allow, reason: r, callers: ['vendor:*'], operations: ['*'] }
  - name: system
    rules:
      - { id: fill, verdict: allow, reason: r, callers: ['system:fill'], operations: [card-personalization.cards.fill] }
`
const NOON = '2026-11-26T12:00:00Z'
const decide = compilePolicy(parsePolicy(POLICY, OPERATIONS), OPERATIONS)

interface Circumstances {
  readonly address?: string
  readonly facts?: Asked['facts']
  readonly uses?: number
  readonly at?: string
  readonly listener?: Listener
  readonly strength?: Strength
  readonly admittedUntil?: number | null
}
function ask(
  caller: string,
  operation: string,
  {
    address = '10.1.9.3',
    facts = {},
    uses = 0,
    at = NOON,
    listener = 'tls',
    strength = 'certificate',
    admittedUntil = ADMITTED_AT_ANY_TIME,
  }: Circumstances = {},
): Decision {
  const [kind = '', name = ''] = caller.split(':')
  return decide({
    operation,
    caller: {
      kind: kind as CallerKind,
      name,
      id: 'x',
      ...(kind === 'system' ? {} : { address, listener, strength }),
      ...(admittedUntil === null ? {} : { admittedUntil }),
    },
    uses: Array.from({ length: uses }, () => ({ action: 'sign' as const, keyId: 'k' as never })),
    facts,
    at: Date.parse(at),
  })
}
const own = { facts: { owner: 'urn:gridseal:module:billing' } }
const sold = { vendor: 'acme', state: 'active', count: 3 }
const east = { region: '330106', cardState: 'activated' }
const desk = { address: '10.1.2.3' }
const outside = { address: '172.16.0.1' }

const CASES: readonly (readonly [effect: string, rule: string, caller: string, operation: string, circumstances: Circumstances, what: string])[] = [
  ['allow', 'own-keys', 'module:billing', 'kms.key.sign', own, 'its own key'],
  ['allow', 'own-keys', 'module:billing', 'kms.key.sign', { ...own, address: '::ffff:10.1.9.9' }, 'IPv4 mapped into IPv6'],
  ['allow', 'own-keys', 'module:billing', 'kms.key.sign', { ...own, address: '2001:db8:1::5' }, 'IPv6'],
  ['deny', 'default', 'module:billing', 'kms.key.sign', { ...own, address: '10.2.0.1' }, 'from elsewhere'],
  ['deny', 'default', 'module:billing', 'kms.key.sign', { ...own, listener: 'plain' }, 'over the other listener'],
  ['deny', 'default', 'module:traffic', 'kms.key.sign', own, 'another’s key'],
  ['deny', 'default', 'module:billing', 'kms.key.sign', {}, 'a fact that is not stated'],
  ['deny', 'default', 'module:billing', 'kms.key.sign', { facts: { owner: ['urn:gridseal:module:billing'] } }, 'a fact that is a list'],
  ['deny', 'default', 'module:billing', 'kms.key.sign', { ...own, ...desk }, 'the first chain decides, without falling through to the next'],
  ['deny', 'default', 'module:billing', 'no.such.operation', own, 'an operation that is none'],
  ['deny', 'desk-guest', 'module:guest', 'kms.key.sign', desk, 'a rule that denies'],
  ['allow', 'desk-certificate', 'officer:alice', 'kms.certificate.issue', desk, 'with a certificate'],
  ['deny', 'default', 'officer:alice', 'kms.certificate.issue', { ...desk, strength: 'password+totp' }, 'with less than a certificate'],
  ['allow', 'desk-auditors', 'auditor:ann', 'policies.audit.search', desk, 'by role'],
  ['deny', 'guard:auditors-change-nothing', 'auditor:ann', 'kms.key.generate', desk, 'the built-in guard before a rule that allows'],
  ['deny', 'guard:auditors-use-no-key', 'auditor:ann', 'kms.key.sign', { ...desk, uses: 1 }, 'the same for uses of keys'],
  ['deny', 'guard:service-only', 'officer:bob', 'card-personalization.cards.fill', desk, 'the same for the service’s own'],
  ['allow', 'desk-bob', 'officer:bob', 'kms.key.generate', desk, 'by name'],
  ['deny', 'default', 'module:bob', 'kms.key.generate', desk, 'the same name of another kind'],
  ['allow', 'meters', 'module:meters', 'kms.key.verify', { facts: { label: 'meter-', algorithm: 'ec-p256' } }, 'a label by its beginning'],
  ['allow', 'meters', 'module:meters', 'kms.key.verify', { facts: { label: 'm1', algorithm: 'ec-p256' } }, 'a label by a question mark'],
  ['deny', 'default', 'module:meters', 'kms.key.verify', { facts: { label: 'm12', algorithm: 'ec-p256' } }, 'a label that is longer'],
  ['deny', 'default', 'module:meters', 'kms.key.verify', { facts: { label: 'meter-1', algorithm: 'hmac-sha256' } }, 'another class of key'],
  ['allow', 'east', 'module:east', 'kms.key.sign', { facts: east }, 'a county by its province'],
  ['allow', 'east', 'module:east', 'kms.key.sign', { facts: { ...east, region: '110101' } }, 'a county'],
  ['deny', 'default', 'module:east', 'kms.key.sign', { facts: { ...east, region: '110102' } }, 'another county'],
  ['deny', 'default', 'module:east', 'kms.key.sign', { facts: { ...east, region: '33' } }, 'what is no region'],
  ['deny', 'default', 'module:east', 'kms.key.sign', { facts: { ...east, cardState: 'closed' } }, 'another state of the card'],
  ['allow', 'vendor', 'vendor:x', 'kms.key.verify', { facts: sold }, 'other facts'],
  ['allow', 'vendor', 'vendor:x', 'kms.key.verify', { facts: { ...sold, vendor: 5 } }, 'a number that a list has as text'],
  ['deny', 'default', 'vendor:x', 'kms.key.verify', { facts: { ...sold, count: '3' } }, 'text where a number is wanted'],
  ['allow', 'night', 'module:night', 'kms.key.sign', { at: '2026-11-27T21:00:00Z' }, 'Friday 22:00 in Berlin'],
  ['deny', 'default', 'module:night', 'kms.key.sign', { at: '2026-11-27T20:59:59.999Z' }, 'a millisecond before'],
  ['allow', 'night', 'module:night', 'kms.key.sign', { at: '2026-11-28T01:29:59.999Z' }, 'past midnight, of Friday'],
  ['deny', 'default', 'module:night', 'kms.key.sign', { at: '2026-11-28T01:30:00Z' }, 'its end'],
  ['deny', 'default', 'module:night', 'kms.key.sign', { at: '2026-11-27T01:00:00Z' }, 'past midnight, of Thursday'],
  ['allow', 'night', 'module:night', 'kms.key.sign', { at: '2026-07-03T20:00:00Z' }, 'in summer an hour earlier'],
  ['allow', 'old', 'module:old', 'kms.key.sign', { at: '2026-11-26T03:59:59.999Z' }, 'before it expires'],
  ['deny', 'default', 'module:old', 'kms.key.sign', { at: '2026-11-26T04:00:00Z' }, 'when it has expired'],
  ['hold', 'held', 'officer:alice', 'kms.key.generate', {}, 'a rule that holds'],
  ['allow', 'limited', 'module:limited', 'kms.key.sign', { facts: { cards: 0 } }, 'a fact that a quota sums up'],
  ['deny', 'default', 'module:limited', 'kms.key.sign', { facts: { cards: -1 } }, 'what cannot be summed up'],
  ['deny', 'default', 'module:limited', 'kms.key.sign', { facts: { cards: '7' } }, 'text cannot'],
  ['deny', 'default', 'module:limited', 'kms.key.sign', { facts: { cards: Number.NaN } }, 'no number cannot'],
  ['allow', 'outside-all', 'vendor:x', 'kms.key.sign', outside, 'a chain by level'],
  ['deny', 'outside-makes-nothing', 'vendor:x', 'kms.key.generate', outside, 'the policy’s guard before its chains'],
  ['allow', 'fill', 'system:fill', 'card-personalization.cards.fill', {}, 'the service’s own job'],
  ['deny', 'default', 'system:other', 'card-personalization.cards.fill', {}, 'another job'],
]

describe('the firewall', () => {
  it.each(CASES)('%s by %s: %s %s', (effect, rule, caller, operation, circumstances) => {
    expect(ask(caller, operation, circumstances)).toMatchObject({ effect, rule })
  })

  it('denies who has no address, but for the service itself', () => {
    const caller = { kind: 'module', name: 'billing', id: 'x', listener: 'tls', admittedUntil: ADMITTED_AT_ANY_TIME } as const
    expect(decide({ operation: 'kms.key.sign', caller, uses: [], facts: own.facts, at: 0 })).toMatchObject({ effect: 'deny', rule: 'default' })
  })

  it.each(['10.1.2.3.4', '', 'localhost', '10.1.2', '010.1.2.3', '0x0a.1.2.3'])('throws on %j, which is no address: the gate makes it a denial', (address) => {
    expect(() => ask('module:billing', 'kms.key.sign', { address })).toThrow('not an address')
  })

  it('throws on what is no kind of caller and no time', () => {
    expect(() => ask('root:billing', 'kms.key.sign')).toThrow('not a kind of caller')
    for (const at of ['never', '1969-12-31T00:00:00Z']) expect(() => ask('module:night', 'kms.key.sign', { at })).toThrow('not a time')
    // Nothing is left of it.
    expect(ask('module:night', 'kms.key.sign', { at: '2026-11-27T21:00:00Z' }).effect).toBe('allow')
  })

  it.each(['constructor', 'toString', 'valueOf'])('does not take %s for a fact', (fact) => {
    const policy = parsePolicy(POLICY.replace('where: { owner: $caller }', `where: { ${fact}: x }`))
    expect(
      compilePolicy(
        policy,
        OPERATIONS,
      )({
        operation: 'kms.key.sign',
        caller: { kind: 'module', name: 'a', id: 'x', address: '10.1.9.3', listener: 'tls', admittedUntil: ADMITTED_AT_ANY_TIME },
        uses: [],
        facts: {},
        at: 0,
      }),
    ).toMatchObject({ effect: 'deny', rule: 'default' })
  })

  it('names the revision that decided', () => {
    expect(ask('module:billing', 'kms.key.sign', own).revision).toBe(parsePolicy(POLICY).revision)
    expect(parsePolicy(`${POLICY} `).revision).not.toBe(parsePolicy(POLICY).revision)
  })

  it('says who may not do what, and by which rule', () => {
    const { revision } = parsePolicy(POLICY)
    expect(ask('module:guest', 'kms.key.sign', desk).reason).toBe(
      `urn:gridseal:module:guest may not kms.key.sign: rule desk-guest of the policy denies it (revision ${revision}).`,
    )
    expect(ask('vendor:x', 'kms.key.sign', desk).reason).toBe(
      `urn:gridseal:vendor:x may not kms.key.sign: no rule of the policy allows it (revision ${revision}).`,
    )
  })

  it('returns what is to be settled, and what a fully logged rule’s entries say besides', () => {
    const { claims, record } = ask('module:limited', 'kms.key.sign', { facts: { cards: 7 }, at: '2026-11-29T15:59:59Z' })
    expect(claims).toEqual({
      rate: { key: 'limited urn:gridseal:module:limited', count: 10, everyMs: 2000, burst: 20 },
      quota: { key: 'limited', amount: 7, most: 500, period: '2026-11-23' },
    })
    expect(record).toEqual({
      'policy.owner': 'tests',
      'policy.reason': 'why',
      'policy.ticket': 'T-1',
      'policy.zones': ['plant'],
      'policy.strength': 'certificate',
    })
    // Monday begins in Shanghai eight hours earlier.
    expect(ask('module:limited', 'kms.key.sign', { facts: { cards: 7 }, at: '2026-11-29T16:00:00Z' }).claims?.quota?.period).toBe('2026-11-30')
    expect(ask('officer:alice', 'kms.key.generate').claims).toEqual({ hold: { approvals: 2, of: ['officer:*'], withinMs: 86_400_000 } })
    expect(ask('module:billing', 'kms.key.sign', own)).not.toHaveProperty('claims')
    expect(ask('module:billing', 'kms.key.sign', own)).not.toHaveProperty('record')
  })
})

describe('callers that are not admitted', () => {
  const at = Date.parse(NOON)
  it.each<[string, string, number | null, 'allow' | 'deny', string]>([
    ['a module without an admission', 'module:billing', null, 'deny', 'guard:not-admitted'],
    ['a module whose admission was of no length', 'module:billing', 0, 'deny', 'guard:not-admitted'],
    ['a module whose assessment ends now', 'module:billing', at, 'deny', 'guard:not-admitted'],
    ['a module whose assessment ends a millisecond later', 'module:billing', at + 1, 'allow', 'own-keys'],
    ['a module whose admission is no time', 'module:billing', Number.NaN, 'deny', 'guard:not-admitted'],
    ['a vendor without an admission', 'vendor:x', null, 'deny', 'guard:not-admitted'],
    ['an officer, who needs none', 'officer:alice', null, 'deny', 'default'],
    ['a job of the service, which needs none', 'system:other', null, 'deny', 'default'],
  ])('%s', (_who, caller, admittedUntil, effect, rule) => {
    expect(ask(caller, 'kms.key.sign', { ...own, admittedUntil })).toMatchObject({ effect, rule })
  })

  it('come before what the policy allows to anybody, and after what is the service’s own', () => {
    for (const { name, isRouted } of OPERATIONS)
      expect(ask('vendor:x', name, { address: '192.0.2.1', admittedUntil: null }).rule).toBe(isRouted ? 'guard:not-admitted' : 'guard:service-only')
  })

  it('are told what is missing and who can mend it', () => {
    expect(ask('module:billing', 'kms.key.sign', { ...own, admittedUntil: null }).reason).toMatch(
      /never filed, or is suspended.*gridseal admission show --caller module:billing/,
    )
    expect(ask('module:billing', 'kms.key.sign', { ...own, admittedUntil: at }).reason).toMatch(
      /assessment ended at 2026-11-26T12:00:00\.000Z.*gridseal admission change --caller module:billing/,
    )
  })
})

import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { ADMITTED_AT_ANY_TIME, type Caller, callerUrn } from './caller.ts'
import type { Decision } from './firewall/decide.ts'
import { loadPolicy, RateTable } from './firewall/index.ts'
import { type Gate, perform } from './gate.ts'
import { operation } from './operation.ts'
import { memoryGate } from './testing/memory-gate.ts'

const POLICY = `
policy: 2
owner: keepers
zones: { all: { others: true } }
chains:
  - name: all
    zones: [all]
    rules:
      - id: slowly
        verdict: allow
        reason: the token is slow
        ticket: T-7
        log: full
        callers: ['module:*']
        operations: [test.use]
        rate: { per: caller, count: 1, every: 10s, burst: 2 }
`
const OPERATIONS = [{ name: 'test.use', effect: 'transient', isRouted: true }] as const
const caller = (name: string): Caller => ({
  ...{ kind: 'module', name, id: 'x', address: '10.0.0.1', listener: 'tls', strength: 'certificate' },
  admittedUntil: ADMITTED_AT_ANY_TIME,
})

function site() {
  const clock = { now: 0 }
  const { decide } = loadPolicy(POLICY, { operations: OPERATIONS, now: 0 })
  const gate = { ...memoryGate(decide), rates: new RateTable({ nowMs: () => clock.now }), now: () => 0 }
  const used: string[] = []
  const op = operation({
    name: 'test.use',
    summary: 'Is used.',
    effect: 'transient',
    input: z.strictObject({}),
    output: z.strictObject({}),
    locate: (_input, who) => Promise.resolve(who),
    uses: () => [],
    facts: () => ({ public: { n: 1 } }),
    execute: (_permit, who: Caller) => Promise.resolve(void used.push(who.name)),
    respond: () => ({}),
  })
  const ask = (who: Caller, at: Gate = gate): Promise<unknown> => perform(at, op, { caller: who, body: {} })
  return { clock, gate, used, ask }
}

describe('what a decision claims', () => {
  it('a rate is taken before use; exceeded, it is a logged refusal that says when to come again', async () => {
    const { clock, gate, used, ask } = site()
    const billing = caller('billing')
    await ask(billing)
    await ask(billing)
    await expect(ask(billing)).rejects.toMatchObject({ code: 'rate-exceeded', status: 429, retryAfterSeconds: 10 })
    expect(used).toEqual(['billing', 'billing'])
    expect(gate.log.entries.at(-1)).toMatchObject({
      ...{ kind: 'refusal', code: 'rate-exceeded', operation: 'test.use', caller: billing },
      decision: { effect: 'deny', rule: 'slowly' },
    })
    // Others have a rate of their own.
    await ask(caller('traffic'))
    clock.now = 9999
    await expect(ask(billing)).rejects.toMatchObject({ code: 'rate-exceeded', retryAfterSeconds: 1 })
    clock.now = 10_000
    await ask(billing)
    expect(used).toHaveLength(4)
  })

  it('a rule that is logged in full says in each entry whose it is, and why it is there', async () => {
    const { gate, ask } = site()
    await ask(caller('billing'))
    expect(gate.log.entries[0]?.facts?.public).toEqual({
      ...{
        'n': 1,
        'policy.owner': 'keepers',
        'policy.reason': 'the token is slow',
        'policy.ticket': 'T-7',
        'policy.zones': ['all'],
        'policy.strength': 'certificate',
      },
    })
  })

  const hold = { hold: { approvals: 2, of: ['officer:*'], withinMs: 1 } }
  it.each([
    ['a rate, at a gate without a table', { effect: 'allow', claims: { rate: { key: 'k', count: 1, everyMs: 1, burst: 1 } } }],
    ['a quota', { effect: 'allow', claims: { quota: { key: 'k', amount: 1, most: 5, period: '2026-11' } } }],
    ['approvals', { effect: 'allow', claims: hold }],
    ['a hold', { effect: 'hold', claims: hold }],
  ] as const)('%s: what cannot be settled is refused, and nothing is done', async (_what, claimed) => {
    const { used, ask } = site()
    const decision: Decision = { rule: 'r', revision: 'v', reason: 'held', ...claimed }
    const gate = memoryGate(() => decision)
    await expect(ask(caller('billing'), gate)).rejects.toMatchObject({ code: 'forbidden' })
    expect(used).toEqual([])
    expect(gate.log.entries).toMatchObject([{ kind: 'refusal', code: 'forbidden', decision: { effect: 'deny', rule: 'r', revision: 'v' } }])
  })

  it('the time of a decision is the gate’s; a time that is none denies', async () => {
    const { ask } = site()
    const asked: number[] = []
    const gate: Gate = {
      ...memoryGate(({ at }) => (asked.push(at), { effect: 'allow', rule: 'r', revision: 'v', reason: callerUrn(caller('x')) })),
      now: () => 42,
    }
    await ask(caller('billing'), gate)
    expect(asked).toEqual([42])
  })
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compilePolicy } from './compile.ts'
import { OPERATIONS, policies, requests } from './testing/arbitrary.ts'
import { decideByReference } from './testing/reference.ts'

describe('the engine', () => {
  it('decides as the reference evaluator does', () => {
    const met = new Map<string, number>()
    fc.assert(
      fc.property(policies(), fc.nat(), (policy, seed) => {
        const decide = compilePolicy(policy, OPERATIONS)
        for (const asked of fc.sample(requests, { numRuns: 500, seed })) {
          const { effect, rule } = decide(asked)
          const wanted = decideByReference(policy, OPERATIONS, asked)
          if (effect !== wanted.effect || rule !== wanted.rule) expect({ asked, effect, rule }).toEqual({ asked, ...wanted })
          const kind = rule === 'default' || rule.startsWith('guard:') ? rule : effect
          met.set(kind, (met.get(kind) ?? 0) + 1)
        }
      }),
      { numRuns: 100 },
    )
    for (const kind of ['allow', 'deny', 'hold', 'default', 'guard:service-only', 'guard:auditors-change-nothing', 'guard:auditors-use-no-key'])
      expect(met.get(kind), kind).toBeGreaterThan(200)
  }, 60_000)
})

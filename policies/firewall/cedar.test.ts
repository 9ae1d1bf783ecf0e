import fc from 'fast-check'
import { stringify } from 'yaml'
import { expect, it } from 'vitest'
import { isAdmitted } from '../caller.ts'
import { compilePolicy } from './compile.ts'
import type { Asked } from './decide.ts'
import { parsePolicy, type Policy } from './parse.ts'
import type { RuleDocument } from './schema.ts'
import { OPERATIONS, policies, requests } from './testing/arbitrary.ts'
import { cedarDecide } from './testing/cedar.ts'

/** What Cedar can say of a policy: all rules in one chain, denials first, without times, zones, claims, sets and question marks. */
function orderFree({ document }: Policy): Policy {
  const rules = document.chains
    .filter(({ name }) => name !== 'system')
    .flatMap((chain) => chain.rules)
    .map((rule): RuleDocument => {
      const { zones: _zones, levels: _levels, times: _times, expires: _expires, rate: _rate, quota: _quota, hold: _hold, regions: _regions, ...rest } = rule
      const plain = (items: readonly string[]): string[] => items.map((item) => (item.startsWith('$') ? 'x' : item.replaceAll('?', 'x')))
      return {
        ...rest,
        verdict: rule.verdict === 'deny' ? 'deny' : 'allow',
        ...(rule.keyLabels === undefined ? {} : { keyLabels: plain(rule.keyLabels) }),
        ...(rule.vendors === undefined ? {} : { vendors: plain(rule.vendors) }),
        ...(rule.where === undefined
          ? {}
          : {
              where: Object.fromEntries(
                Object.entries(rule.where).map(([fact, wanted]) => [fact, Array.isArray(wanted) ? plain(wanted) : wanted === '$texts' ? 'x' : wanted]),
              ),
            }),
      }
    })
  const ordered = [...rules.filter(({ verdict }) => verdict === 'deny'), ...rules.filter(({ verdict }) => verdict !== 'deny')]
  const free = { policy: 2, owner: 'tests', zones: { all: { others: true } }, chains: [{ name: 'all', zones: ['all'], rules: ordered }] }
  return parsePolicy(stringify(free, { aliasDuplicateObjects: false }), OPERATIONS)
}

const HERE = { address: '10.0.0.1', listener: 'tls' } as const
/** What both can be asked: by somebody from outside, nothing that the built-in guard denies, no numbers that JSON has not. */
const plainly = ({ facts: { cards: _cards, ...facts }, ...asked }: Asked): Asked => ({ ...asked, uses: [], facts, caller: { ...asked.caller, ...HERE } })
const isOpen = ({ caller, operation, at }: Asked): boolean =>
  caller.kind !== 'system' &&
  isAdmitted(caller, at) &&
  OPERATIONS.some(({ name, effect, isRouted }) => name === operation && isRouted && (caller.kind !== 'auditor' || effect === 'transient'))

it('decides as Cedar does, where order does not matter', () => {
  const met = { allow: 0, deny: 0, forbidden: 0 }
  let number = 0
  fc.assert(
    fc.property(policies({ mostRules: 5 }), fc.nat(), (policy, seed) => {
      const free = orderFree(policy)
      const decide = compilePolicy(free, OPERATIONS)
      const cedar = cedarDecide(`test ${String((number += 1))}`, free.document, OPERATIONS)
      for (const asked of fc.sample(requests, { numRuns: 100, seed }).map(plainly).filter(isOpen)) {
        const { effect, rule } = decide(asked)
        const { allows, rules } = cedar(asked)
        if ((effect === 'allow') !== allows || (rule !== 'default' && !rules.includes(rule))) expect({ asked, effect, rule }).toEqual({ allows, rules })
        met[rule !== 'default' && effect === 'deny' ? 'forbidden' : effect === 'allow' ? 'allow' : 'deny'] += 1
      }
    }),
    { numRuns: 60 },
  )
  for (const count of Object.values(met)) expect(count).toBeGreaterThan(20)
}, 60_000)

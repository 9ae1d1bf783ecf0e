import { BlockList, isIP } from 'node:net'
import { callerUrn } from '../caller.ts'
import type { Asked, Decision } from './decide.ts'
import { GUARD } from './guard.ts'
import { type Policy, PolicyError, type Rule } from './parse.ts'

/** What the compiler needs to know of an operation. */
export interface OperationFacts {
  readonly name: string
  readonly effect: 'durable' | 'transient'
  /** Whether callers can reach it, or only the service itself. */
  readonly isRouted: boolean
}

type Matcher = (asked: Asked, zones: ReadonlySet<string>) => boolean
interface CompiledRule {
  readonly name: string
  readonly effect: 'allow' | 'deny'
  readonly matches: Matcher
}

/**
 * Turns a policy into its decision function: guard chain, then the policy's rules in order; the first that matches decides; none: deny.
 * Rules are laid out by operation, so that a decision looks only at those that could match.
 * Throws a {@link PolicyError} when a rule names an operation that does not exist: a mistyped rule must not silently match nothing.
 */
export function compilePolicy(policy: Policy, operations: readonly OperationFacts[]): (asked: Asked) => Decision {
  const zonesOf = compileZones(policy.zones)
  const faults = policy.rules.flatMap((rule) =>
    rule.operations
      .filter((pattern) => !operations.some((op) => covers(pattern, op.name)))
      .map((pattern) => `rule ${rule.name}: no operation is named ${pattern}`),
  )
  if (faults.length > 0) throw new PolicyError(faults)

  const chains = new Map<string, readonly CompiledRule[]>()
  for (const op of operations) {
    const guards = GUARD.filter((guard) => guard.concerns(op)).map(({ name, matches }) => ({ name: `guard:${name}`, effect: 'deny' as const, matches }))
    const rules = policy.rules.filter((rule) => rule.operations.some((pattern) => covers(pattern, op.name)))
    chains.set(op.name, [...guards, ...rules.map(compileRule)])
  }

  return (asked) => {
    const zones = zonesOf(asked.caller.address)
    const rule = chains.get(asked.operation)?.find(({ matches }) => matches(asked, zones))
    const found = { rule: rule?.name ?? 'default', revision: policy.revision }
    if (rule?.effect === 'allow') return { effect: 'allow', ...found, reason: `Rule ${found.rule} allows it.` }
    return {
      effect: 'deny',
      ...found,
      reason: `${callerUrn(asked.caller)} may not ${asked.operation}: ${rule ? `rule ${rule.name} of the policy denies it` : 'no rule of the policy allows it'} (revision ${policy.revision}).`,
    }
  }
}

function compileRule(rule: Rule): CompiledRule {
  const anyOfKind = new Set(rule.callers.filter((caller) => caller.endsWith(':*')).map((caller) => caller.slice(0, -2)))
  const named = new Set(rule.callers)
  const where = Object.entries(rule.where ?? {})
  const matches: Matcher = (asked, zones) =>
    (anyOfKind.has(asked.caller.kind) || named.has(`${asked.caller.kind}:${asked.caller.name}`)) &&
    (rule.zones === undefined || rule.zones.some((zone) => zones.has(zone))) &&
    where.every(([fact, wanted]) => {
      const value = asked.facts[fact]
      if (value === undefined || typeof value === 'object') return false
      if (wanted === '$caller') return value === callerUrn(asked.caller)
      return Array.isArray(wanted) ? wanted.includes(String(value)) : value === wanted
    })
  return { name: rule.name, effect: rule.effect, matches }
}

const covers = (pattern: string, name: string): boolean =>
  pattern === '*' || pattern === name || (pattern.endsWith('.*') && name.startsWith(pattern.slice(0, -1)))

const NOWHERE: ReadonlySet<string> = new Set()
/** Addresses whose zones are remembered. Bounded: beyond it the memory starts anew. */
const REMEMBERED_ADDRESSES = 10_000

/** The zones of an address. IPv4 mapped into IPv6 counts as IPv4. Throws on what is no address, which the gate makes a denial. */
function compileZones(zones: Policy['zones']): (address: string | undefined) => ReadonlySet<string> {
  const lists = Object.entries(zones).map(([name, ranges]) => {
    const list = new BlockList()
    for (const range of ranges) {
      const [network = '', prefix] = range.split('/')
      list.addSubnet(network, Number(prefix), isIP(network) === 6 ? 'ipv6' : 'ipv4')
    }
    return { name, list }
  })
  const memory = new Map<string, ReadonlySet<string>>()
  return (address) => {
    if (address === undefined) return NOWHERE
    const known = memory.get(address)
    if (known) return known
    const family = isIP(address)
    if (family === 0) throw new TypeError('not an address')
    const found = new Set(lists.filter(({ list }) => list.check(address, family === 6 ? 'ipv6' : 'ipv4')).map(({ name }) => name))
    if (memory.size >= REMEMBERED_ADDRESSES) memory.clear()
    memory.set(address, found)
    return found
  }
}

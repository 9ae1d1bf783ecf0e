import { type Caller, callerUrn, type Listener, LISTENERS } from '../caller.ts'
import { type BitVector, lowestBit, VectorMaker } from './bit-vector.ts'
import type { Asked, Claims, Decision, Origin } from './decide.ts'
import { callerDimension, type Dimension, furtherDimensions } from './dimensions.ts'
import { notAdmittedReason } from './guard.ts'
import { periodOf } from './local-time.ts'
import type { Policy } from './parse.ts'
import { PolicyError } from './policy-error.ts'
import type { OperationFacts } from './references.ts'
import { type ResolvedPolicy, type ResolvedRule, resolvePolicy } from './resolve.ts'
import { SYSTEM_CHAIN } from './schema.ts'

export type Decide = (asked: Asked) => Decision

/**
 * Turns a policy into its decision function: the built-in guard, the policy's guard, then the rules of the chain that the request enters; the first that matches decides; none: deny.
 * Throws a {@link PolicyError} when a rule names an operation that does not exist.
 */
export const compilePolicy = (policy: Policy, operations: readonly OperationFacts[]): Decide => compileRules(resolvePolicy(policy, operations))

/** Where requests come from, as the rules see it. There are few: answers that are kept are at most as many as places times rules. */
interface Place {
  readonly origin: Origin
  /** The rules that requests from there meet: the guard's, and those of the chain that they enter, as far as they do not ask for another zone. */
  readonly vector: BitVector
  /** The word in which the chain's rules begin, and the one after the last that is to be looked at. */
  readonly from: number
  readonly to: number
  /** Answers of rules that are the same for every request from there, once they were given. */
  readonly answers: Decision[]
}

/**
 * Each dimension (place, operation, caller, facts, time ...) is looked up as a vector with one bit a rule; the first bit that all of them have is the rule that decides.
 * The function throws on what is no address, no caller and no time, which the gate makes a denial.
 */
export function compileRules(policy: ResolvedPolicy): Decide {
  try {
    return compileVectors(policy)
  } catch (error) {
    if (error instanceof RangeError) throw new PolicyError([{ message: `found too much to be compiled: ${error.message}` }])
    throw error
  }
}

function compileVectors(policy: ResolvedPolicy): Decide {
  const { rules, revision } = policy
  const vectors = new VectorMaker(rules.length)
  const operations = new Map(policy.operations.map(({ name }) => [name, vectors.where((at) => rules[at]?.operations.has(name) === true)]))
  const callers = callerDimension(rules, vectors)
  const further = furtherDimensions(rules, vectors)
  const guardEnd = Math.ceil(rules.filter(({ chain }) => chain === undefined).length / 32)
  const places = placesOf(policy, guardEnd)
  const answers = rules.map((rule, at) => answerOf(rule, revision, at))
  const found: BitVector[] = further.map(() => vectors.empty())

  /** The first rule from word `from` up to `to` that holds in all dimensions; -1 where none does. Further dimensions are looked up once a rule holds in all before. */
  const firstIn = (from: number, to: number, a: BitVector, b: BitVector, c: BitVector, asked: Asked): number => {
    let looked = 0
    for (let word = from; word < to; word += 1) {
      let bits = (a[word] as number) & (b[word] as number) & (c[word] as number)
      for (let at = 0; bits !== 0 && at < further.length; at += 1) {
        if (at === looked) {
          found[at] = (further[at] as Dimension)(asked)
          looked += 1
        }
        bits &= (found[at] as BitVector)[word] as number
      }
      if (bits !== 0) return word * 32 + lowestBit(bits)
    }
    return -1
  }
  return (asked) => {
    const place = places(asked.caller)
    const operation = operations.get(asked.operation)
    if (operation === undefined) return new Denial(asked, 'default', revision, NOWHERE)
    const caller = callers(asked.caller, asked.at)
    let rule = firstIn(0, guardEnd, place.vector, operation, caller, asked)
    if (rule < 0) rule = firstIn(Math.max(guardEnd, place.from), place.to, place.vector, operation, caller, asked)
    return answers[rule]?.(asked, place) ?? new Denial(asked, 'default', revision, place.origin)
  }
}

/** Addresses whose place is remembered, for each listener. Bounded: beyond it the memory starts anew. */
const REMEMBERED_ADDRESSES = 10_000

/** Places are few: they are made when somebody first comes from there. */
function placesOf({ rules, zones, outside, chains }: ResolvedPolicy, guardEnd: number): (caller: Caller) => Place {
  const vectors = new VectorMaker(rules.length)
  const make = (inside: readonly string[], chain: string | undefined): Place => {
    const isIn = (wanted: ReadonlySet<string> | undefined): boolean => wanted === undefined || inside.some((zone) => wanted.has(zone))
    const members = rules.flatMap((rule, at) => (rule.chain !== undefined && rule.chain === chain ? [at] : []))
    return {
      origin: { zones: inside, isOutside: inside.some((zone) => outside.has(zone)) },
      vector: vectors.where((at) => {
        const rule = rules[at]
        return rule !== undefined && (rule.chain === undefined || rule.chain === chain) && isIn(rule.zones) && isIn(rule.levels)
      }),
      from: Math.floor((members[0] ?? 0) / 32),
      to: members.length === 0 ? guardEnd : Math.floor((members.at(-1) ?? 0) / 32) + 1,
      answers: [],
    }
  }
  const [system, nowhere] = [make([], SYSTEM_CHAIN), make([], undefined)]
  const known = new Map<string, Place>()
  const find = (address: string, listener: Listener | undefined): Place => {
    const stretch = zones.stretchOf(address)
    const key = `${String(stretch.index)} ${listener ?? ''}`
    const place = known.get(key)
    if (place !== undefined) return place
    const inside = zones.zonesAt(stretch, listener)
    const made = make(inside, chainOf(chains, inside))
    known.set(key, made)
    return made
  }
  const remembered = new Map([...LISTENERS, undefined].map((listener) => [listener, new Map<string, Place>()]))
  return ({ kind, address, listener }) => {
    if (kind === 'system') return system
    if (address === undefined) return nowhere
    const memory = remembered.get(listener)
    const place = memory?.get(address)
    if (place !== undefined) return place
    const found = find(address, listener)
    if (memory !== undefined && memory.size >= REMEMBERED_ADDRESSES) memory.clear()
    memory?.set(address, found)
    return found
  }
}

/** The first chain that one of the zones enters. */
export const chainOf = (chains: ResolvedPolicy['chains'], inside: readonly string[]): string | undefined =>
  chains.find(({ zones }) => inside.some((zone) => zones.has(zone)))?.name

function answerOf(rule: ResolvedRule, revision: string, at: number): (asked: Asked, place: Place) => Decision {
  const { id, verdict, terms, log } = rule
  const found = { rule: id, revision }
  if (rule.notAdmitted === true) return ({ caller }, { origin }) => ({ effect: 'deny', ...found, reason: notAdmittedReason(caller), origin })
  const record = (asked: Asked, place: Place): Pick<Decision, 'record'> => (log === 'full' ? { record: recordOf(rule, asked.caller, place.origin.zones) } : {})
  if (verdict === 'deny') {
    if (log === 'brief') return (asked, { origin }) => new Denial(asked, id, revision, origin)
    return (asked, place) => ({
      effect: 'deny',
      ...found,
      reason: new Denial(asked, id, revision, place.origin).reason,
      origin: place.origin,
      ...record(asked, place),
    })
  }
  const plain: Decision = { effect: verdict, ...found, reason: verdict === 'allow' ? `Rule ${id} allows it.` : heldReason(rule, revision) }
  const hasTerms = terms.rate !== undefined || terms.quota !== undefined || terms.hold !== undefined
  if (!hasTerms && log === 'brief') return (_asked, { answers, origin }) => (answers[at] ??= { ...plain, origin })
  return (asked, place) => ({ ...plain, origin: place.origin, ...(hasTerms ? { claims: claimsOf(rule, asked) } : {}), ...record(asked, place) })
}

const heldReason = ({ id, terms: { hold } }: ResolvedRule, revision: string): string =>
  `Rule ${id} of the policy holds it until ${String(hold?.approvals)} of ${hold?.of.join(', ') ?? ''} approve (revision ${revision}).`

/** Of operations that there are not: nothing that looks at where a request comes from is to allow them. */
const NOWHERE: Origin = { zones: [], isOutside: false }

/** A denial. Its reason is made when it is read: most are not. */
class Denial implements Decision {
  readonly effect = 'deny'
  readonly rule: string
  readonly revision: string
  readonly origin: Origin
  readonly #asked: Asked

  constructor(asked: Asked, rule: string, revision: string, origin: Origin) {
    this.origin = origin
    this.#asked = asked
    this.rule = rule
    this.revision = revision
  }

  get reason(): string {
    const { caller, operation } = this.#asked
    const why = this.rule === 'default' ? 'no rule of the policy allows it' : `rule ${this.rule} of the policy denies it`
    return `${callerUrn(caller)} may not ${operation}: ${why} (revision ${this.revision}).`
  }
}

function claimsOf({ id, terms: { rate, quota, hold } }: ResolvedRule, { caller, facts, at }: Asked): Claims {
  const key = (per: 'caller' | 'rule'): string => (per === 'rule' ? id : `${id} ${callerUrn(caller)}`)
  const sum = quota?.fact === undefined ? 1 : facts[quota.fact]
  return {
    ...(rate === undefined ? {} : { rate: { key: key(rate.per), count: rate.count, everyMs: rate.everyMs, burst: rate.burst } }),
    ...(quota === undefined
      ? {}
      : { quota: { key: key(quota.per), amount: Number(sum), most: quota.most, period: periodOf(quota.period, quota.clock.read(at)) } }),
    ...(hold === undefined ? {} : { hold }),
  }
}

function recordOf({ owner, reason, ticket, expires }: ResolvedRule, { strength }: Caller, zones: readonly string[]): NonNullable<Decision['record']> {
  return {
    ...{ 'policy.owner': owner, 'policy.reason': reason, 'policy.zones': zones },
    ...(ticket === undefined ? {} : { 'policy.ticket': ticket }),
    ...(expires === undefined ? {} : { 'policy.expires': expires }),
    ...(strength === undefined ? {} : { 'policy.strength': strength }),
  }
}

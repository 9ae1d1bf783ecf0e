import { type Caller, callerUrn, isAdmitted } from '../caller.ts'
import { chainOf, compileRules, type Decide } from './compile.ts'
import type { Asked, Decision } from './decide.ts'
import { isSummable } from './dimensions.ts'
import { matchesGlob } from './glob.ts'
import { isInWindow, type Window } from './local-time.ts'
import type { CallerSet, FactCondition, FactTest, ResolvedPolicy, ResolvedRule } from './resolve.ts'
import { DAYS, SYSTEM_CHAIN } from './schema.ts'

/** A rule about the operation that did not decide, and what stopped it. */
export interface NearMiss {
  readonly rule: string
  readonly effect: 'allow' | 'deny' | 'hold'
  /** The first dimension that stopped it: the condition's name in the language; `chain`, `order`. */
  readonly dimension: string
  readonly found: string
  readonly wanted: string
  /** How many dimensions stopped it in all. */
  readonly stops: number
}

export interface Explanation extends Decision {
  /** The zones that the request comes from, and the chain that it enters; null where none. */
  readonly zones: readonly string[]
  readonly chain: string | null
  /** Those that would have decided otherwise first; of these the nearest first: by how many dimensions stopped them, then in the order of rules. */
  readonly nearMisses: readonly NearMiss[]
  /** How many more there are. */
  readonly more: number
}

/** What is told of near misses at most. */
const MOST_TOLD = 20

/**
 * Says why: the decision, and of every rule about the operation that could have decided otherwise what stopped it. Rules after the one that allowed are left out.
 * Throws as the decision function does.
 */
export function explainer(policy: ResolvedPolicy, decide: Decide = compileRules(policy)): (asked: Asked) => Explanation {
  const { rules } = policy
  const positions = new Map(rules.map(({ id }, at) => [id, at]))
  /** The rules about each operation. */
  const about = new Map(policy.operations.map(({ name }) => [name, rules.flatMap(({ operations }, at) => (operations.has(name) ? [at] : []))]))
  return (asked) => {
    const decision = decide(asked)
    const decided = positions.get(decision.rule) ?? rules.length
    const place = placeOf(policy, asked.caller)
    const misses: { readonly rule: ResolvedRule; readonly at: number; readonly stops: number }[] = []
    for (const at of about.get(asked.operation) ?? []) {
      const rule = rules[at]
      if (rule === undefined || at === decided || (at > decided && decision.effect === 'allow')) continue
      misses.push({ rule, at, stops: countStops(rule, { asked, place }) })
    }
    const isOther = ({ rule }: { readonly rule: ResolvedRule }): number => (rule.verdict === decision.effect ? 1 : 0)
    misses.sort((a, b) => isOther(a) - isOther(b) || a.stops - b.stops || a.at - b.at)
    return {
      ...decision,
      // A denial makes its reason when it is read.
      ...{ reason: decision.reason, zones: place.zones, chain: place.chain ?? null },
      nearMisses: misses.slice(0, MOST_TOLD).map(({ rule, stops }) => ({
        ...{ rule: rule.id, effect: rule.verdict, stops },
        ...(firstStop(rule, { asked, place }) ?? { dimension: 'order', found: `rule ${decision.rule} decides before it`, wanted: 'to come first' }),
      })),
      more: Math.max(0, misses.length - MOST_TOLD),
    }
  }
}

interface Place {
  readonly zones: readonly string[]
  readonly chain: string | undefined
}

export function placeOf({ zones, chains }: ResolvedPolicy, { kind, address, listener }: Caller): Place {
  if (kind === 'system') return { zones: [], chain: chains.some(({ name }) => name === SYSTEM_CHAIN) ? SYSTEM_CHAIN : undefined }
  if (address === undefined) return { zones: [], chain: undefined }
  const inside = zones.zonesAt(zones.stretchOf(address), listener)
  return { zones: inside, chain: chainOf(chains, inside) }
}

interface Situation {
  readonly asked: Asked
  readonly place: Place
}

interface Condition {
  readonly dimension: string
  readonly holds: (rule: ResolvedRule, situation: Situation) => boolean
  readonly found: (rule: ResolvedRule, situation: Situation) => string
  readonly wanted: (rule: ResolvedRule) => string
}

const inside = (_rule: ResolvedRule, { place }: Situation): string => listed(place.zones, 'no zone')
const isInside = (wanted: ReadonlySet<string> | undefined, { place }: Situation): boolean =>
  wanted === undefined || place.zones.some((zone) => wanted.has(zone))

/** The conditions of a rule besides its operations, in the order in which they are told. Those on facts stand between `usesKey` and `times`. */
const CONDITIONS: readonly Condition[] = [
  {
    dimension: 'callers',
    holds: ({ callers }, { asked }) => callers === undefined || isAmong(callers, asked.caller),
    found: (_rule, { asked }) => `${asked.caller.kind}:${asked.caller.name}`,
    wanted: ({ callers }) => listed(patternsOf(callers)),
  },
  {
    dimension: 'roles',
    holds: ({ roles }, { asked }) => roles === undefined || roles.has(asked.caller.kind),
    found: (_rule, { asked }) => asked.caller.kind,
    wanted: ({ roles }) => listed(roles),
  },
  {
    dimension: 'chain',
    holds: ({ chain }, { place }) => chain === undefined || chain === place.chain,
    found: (rule, situation) => situation.place.chain ?? `none (${inside(rule, situation)})`,
    wanted: ({ chain }) => chain ?? '',
  },
  { dimension: 'zones', holds: ({ zones }, situation) => isInside(zones, situation), found: inside, wanted: ({ zones }) => listed(zones) },
  { dimension: 'levels', holds: ({ levels }, situation) => isInside(levels, situation), found: inside, wanted: ({ levels }) => listed(levels) },
  {
    dimension: 'strength',
    holds: ({ strength }, { asked }) => strength === undefined || (asked.caller.strength !== undefined && strength.has(asked.caller.strength)),
    found: (_rule, { asked }) => asked.caller.strength ?? 'nothing',
    wanted: ({ strength }) => listed(strength),
  },
  {
    dimension: 'admission',
    holds: ({ notAdmitted }, { asked }) => notAdmitted !== true || !isAdmitted(asked.caller, asked.at),
    found: () => 'admitted',
    wanted: () => 'not admitted',
  },
  {
    dimension: 'usesKey',
    holds: ({ usesKey }, { asked }) => usesKey !== true || asked.uses.length > 0,
    found: () => 'no key used',
    wanted: () => 'a key used',
  },
  {
    dimension: 'times',
    holds: ({ windows }, { asked }) => windows === undefined || windows.some((window) => isInWindow(window, window.clock.read(asked.at))),
    found: ({ windows }, { asked }) => listed(new Set(windows?.map(({ clock }) => localText(clock, asked.at)))),
    wanted: ({ windows }) => listed(windows?.map(windowText)),
  },
  {
    dimension: 'expires',
    holds: ({ expiresMs }, { asked }) => expiresMs === undefined || asked.at < expiresMs,
    found: (_rule, { asked }) => new Date(asked.at).toISOString(),
    wanted: ({ expires }) => `before ${expires ?? ''}`,
  },
]
const factOf = ({ facts }: Asked, fact: string): Asked['facts'][string] | undefined => (Object.hasOwn(facts, fact) ? facts[fact] : undefined)

function countStops(rule: ResolvedRule, situation: Situation): number {
  let stops = 0
  for (const condition of CONDITIONS) if (!condition.holds(rule, situation)) stops += 1
  for (const { fact, test } of rule.facts) if (!satisfies(test, factOf(situation.asked, fact), situation.asked.caller)) stops += 1
  return stops
}

function firstStop(rule: ResolvedRule, situation: Situation): Pick<NearMiss, 'dimension' | 'found' | 'wanted'> | undefined {
  const { asked } = situation
  const condition = CONDITIONS.find(({ holds }) => !holds(rule, situation))
  const isLater = condition?.dimension === 'times' || condition?.dimension === 'expires'
  const fact = condition === undefined || isLater ? rule.facts.find((one) => !satisfies(one.test, factOf(asked, one.fact), asked.caller)) : undefined
  if (fact !== undefined) {
    const value = factOf(asked, fact.fact)
    return {
      dimension: nameOf(fact),
      found: `${fact.fact} ${value === undefined ? 'is not stated' : JSON.stringify(value).slice(0, 80)}`,
      wanted: wantedText(fact.test),
    }
  }
  return condition && { dimension: condition.dimension, found: condition.found(rule, situation), wanted: condition.wanted(rule) }
}

const nameOf = ({ name, fact }: FactCondition): string => (name === 'where' || name === 'quota' ? `${name}.${fact}` : name)

const isAmong = ({ kinds, names }: CallerSet, { kind, name }: Caller): boolean => kinds.has(kind) || names.get(kind)?.has(name) === true

export function satisfies(test: FactTest, value: Asked['facts'][string] | undefined, caller: Caller): boolean {
  if (value === undefined || typeof value === 'object') return false
  switch (test.kind) {
    case 'caller':
      return value === callerUrn(caller)
    case 'values':
      return test.values.has(value)
    case 'globs':
      return typeof value === 'string' && test.globs.some(({ glob }) => matchesGlob(glob, value))
    case 'number':
      return isSummable(value)
  }
}

const patternsOf = (set: CallerSet | undefined): string[] =>
  set === undefined
    ? []
    : [...[...set.kinds].map((kind) => `${kind}:*`), ...[...set.names].flatMap(([kind, names]) => [...names].map((name) => `${kind}:${name}`))]

const wantedText = (test: FactTest): string =>
  test.kind === 'caller'
    ? 'the caller’s own'
    : test.kind === 'number'
      ? 'a number'
      : test.kind === 'values'
        ? listed([...test.values].map(String))
        : listed(test.globs.map(({ text }) => text))

const MOST_LISTED = 10
/** The first of them, without going through all. */
function listed(items: Iterable<string> | undefined, none = 'none'): string {
  const shown: string[] = []
  for (const item of items ?? []) {
    if (shown.length === MOST_LISTED) return `${shown.join(', ')} ...`
    shown.push(item)
  }
  return shown.length === 0 ? none : shown.join(', ')
}

const clockText = (minute: number): string => `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`
const localText = (clock: Window['clock'], at: number): string => {
  const { weekday, minute } = clock.read(at)
  return `${DAYS[weekday] ?? ''} ${clockText(minute)} ${clock.timeZone}`
}
const windowText = ({ clock, days, from, to }: Window): string =>
  `${DAYS.filter((_day, at) => (days & (1 << at)) !== 0).join(' ')} ${clockText(from)}-${clockText(to)} ${clock.timeZone}`

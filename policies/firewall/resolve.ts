import type { CallerKind, Strength } from '../caller.ts'
import { ATTRIBUTES, type Attribute } from './attribute.ts'
import type { HoldClaim } from './decide.ts'
import { type Glob, parseGlob, regionGlob } from './glob.ts'
import { GUARD } from './guard.ts'
import { type LocalClock, localClock, type Period, type Window } from './local-time.ts'
import type { Path, Policy } from './parse.ts'
import { PolicyError } from './policy-error.ts'
import { covers, type OperationFacts, referenceFaults } from './references.ts'
import { DAYS, type GuardRuleDocument, type ListName, type PolicyDocument, type RuleDocument } from './schema.ts'
import { ZoneMap } from './zones.ts'

export type Scalar = string | number | boolean

/** What a rule wants of a fact. A fact that is absent, or a list, satisfies none of these. */
export type FactTest =
  /** It is the caller's own URN. */
  | { readonly kind: 'caller' }
  /** It is one of these, of the same type. */
  | { readonly kind: 'values'; readonly values: ReadonlySet<Scalar> }
  /** It is text that one of these matches. */
  | { readonly kind: 'globs'; readonly globs: readonly { readonly text: string; readonly glob: Glob }[] }
  /** It is a number that a quota can sum up: finite, 0 or more. */
  | { readonly kind: 'number' }

export interface FactCondition {
  /** The condition's name in the language: `vendors`, `where`, `quota`. */
  readonly name: string
  readonly fact: string
  readonly test: FactTest
}

export interface CallerSet {
  /** All callers of these kinds. */
  readonly kinds: ReadonlySet<CallerKind>
  /** `billing` by `module`. */
  readonly names: ReadonlyMap<CallerKind, ReadonlySet<string>>
}

export interface Terms {
  readonly rate?: { readonly per: 'caller' | 'rule'; readonly count: number; readonly everyMs: number; readonly burst: number }
  /** `fact` absent: requests are counted. */
  readonly quota?: { readonly per: 'caller' | 'rule'; readonly fact?: string; readonly most: number; readonly period: Period; readonly clock: LocalClock }
  readonly hold?: HoldClaim
}

/** A rule with all its sets, levels and patterns spelled out. Conditions that are absent hold always. */
export interface ResolvedRule {
  readonly id: string
  /** The chain that it stands in; undefined for the guard, which stands in all. */
  readonly chain: string | undefined
  readonly verdict: 'allow' | 'deny' | 'hold'
  readonly owner: string
  readonly reason: string
  readonly ticket?: string
  readonly expires?: string
  readonly expiresMs?: number
  readonly log: 'brief' | 'full'
  readonly operations: ReadonlySet<string>
  readonly callers?: CallerSet
  readonly roles?: ReadonlySet<CallerKind>
  readonly strength?: ReadonlySet<Strength>
  readonly zones?: ReadonlySet<string>
  /** The zones of the levels it names. */
  readonly levels?: ReadonlySet<string>
  readonly usesKey?: true
  /** It takes only callers that are not admitted at the time. */
  readonly notAdmitted?: true
  readonly facts: readonly FactCondition[]
  readonly windows?: readonly Window[]
  readonly terms: Terms
  /** Where it stands in the document; absent for the guard that is built in. */
  readonly path?: Path
}

export interface ResolvedPolicy {
  readonly revision: string
  readonly zones: ZoneMap
  readonly operations: readonly OperationFacts[]
  /** The zones of the levels internet and extranet. */
  readonly outside: ReadonlySet<string>
  /** In the document's order: which zones enter them. */
  readonly chains: readonly { readonly name: string; readonly zones: ReadonlySet<string> }[]
  /** The built-in guard, the policy's guard, the chains in their order. */
  readonly rules: readonly ResolvedRule[]
}

/**
 * Throws a {@link PolicyError} when a rule names an operation that does not exist; `isOld`: of a policy of another version of the service it is left out, and matches
 * nothing.
 */
export function resolvePolicy(policy: Policy, operations: readonly OperationFacts[], { isOld = false }: { readonly isOld?: boolean } = {}): ResolvedPolicy {
  const { document, revision } = policy
  const findings = referenceFaults(document, isOld ? undefined : operations)
  if (findings.length > 0) throw new PolicyError(findings.map(({ path, message }) => ({ ...policy.locate(path), message: `${path.join('.')}: ${message}` })))

  const resolver = new Resolver(document, operations)
  const builtIn = GUARD.map(({ name, concerns, roles, usesKey, notAdmitted, reason }): ResolvedRule => {
    const concerned = new Set(operations.filter(concerns).map((op) => op.name))
    return {
      ...{ id: `guard:${name}`, chain: undefined, verdict: 'deny', owner: 'gridseal', reason, log: 'brief', operations: concerned, facts: [], terms: {} },
      ...{ roles: new Set(roles), ...(usesKey === undefined ? {} : { usesKey }), ...(notAdmitted === undefined ? {} : { notAdmitted }) },
    }
  })
  return {
    ...{ revision, operations, zones: new ZoneMap(document.zones), outside: resolver.zonesOf(['internet', 'extranet']) },
    chains: document.chains.map(({ name, zones, levels }) => ({
      name,
      zones: new Set([...(zones === undefined ? [] : resolver.texts('zones', zones)), ...(levels === undefined ? [] : resolver.zonesOf(levels))]),
    })),
    rules: [
      ...builtIn,
      ...document.guard.map((rule, at) => resolver.rule(rule, undefined, ['guard', at])),
      ...document.chains.flatMap((chain, at) => chain.rules.map((rule, index) => resolver.rule(rule, chain.name, ['chains', at, 'rules', index]))),
    ],
  }
}

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const millisecondsOf = (duration: string): number => {
  const [, count = '', unit = 'ms'] = /^(\d+)(\w+)$/.exec(duration) ?? []
  return Number(count) * UNITS[unit as keyof typeof UNITS]
}

const minutesOf = (time: string): number => Number(time.slice(0, 2)) * 60 + Number(time.slice(3))

/** A text of a list stands for the number or truth value that is written so, too. */
const alike = (text: string): Scalar[] => [
  text,
  ...(String(Number(text)) === text ? [Number(text)] : []),
  ...(text === 'true' ? [true] : text === 'false' ? [false] : []),
]

/** Spells out. What many rules have in common (a set, a clock) is made once. */
class Resolver {
  readonly #document: PolicyDocument
  readonly #operations: readonly OperationFacts[]
  readonly #memory = new Map<string, unknown>()

  constructor(document: PolicyDocument, operations: readonly OperationFacts[]) {
    this.#document = document
    this.#operations = operations
  }

  #once<Made>(key: string, make: () => Made): Made {
    const known = this.#memory.get(key)
    if (known !== undefined) return known as Made
    const made = make()
    this.#memory.set(key, made)
    return made
  }

  /** Made of the items; of a single set, once for all that name it. */
  #of<Made>(use: string, items: readonly string[], make: (texts: readonly string[]) => Made): Made {
    const [first = ''] = items
    return items.length === 1 && first.startsWith('$') ? this.#once(`${use} ${first}`, () => make(this.#expand(items))) : make(this.#expand(items))
  }

  #expand(items: readonly string[]): readonly string[] {
    return items.flatMap((item) => (item.startsWith('$') ? (this.#document.sets[item.slice(1)] ?? []) : [item]))
  }

  texts(name: ListName, items: readonly string[]): ReadonlySet<string> {
    return this.#of(name, items, (texts) => new Set(texts))
  }

  zonesOf(levels: readonly string[]): ReadonlySet<string> {
    return this.#once(`levels ${levels.join(' ')}`, () => {
      const zones = Object.entries(this.#document.zones).filter(([, { level }]) => level !== undefined && levels.includes(level))
      return new Set(zones.map(([name]) => name))
    })
  }

  rule(rule: RuleDocument | GuardRuleDocument, chain: string | undefined, path: Path): ResolvedRule {
    const { id, verdict, reason, ticket, expires, log = 'brief', callers, roles, strength, zones, levels, times } = rule
    return {
      ...{ id, chain, verdict, reason, log, path },
      owner: rule.owner ?? this.#document.owner ?? '',
      operations: this.#patterns(rule.operations),
      facts: this.#facts(rule),
      terms: 'rate' in rule || 'quota' in rule || 'hold' in rule ? this.#terms(rule) : {},
      ...(ticket === undefined ? {} : { ticket }),
      ...(expires === undefined ? {} : { expires, expiresMs: Date.parse(expires) }),
      ...(callers === undefined ? {} : { callers: this.#of('callers', callers, callerSet) }),
      ...(roles === undefined ? {} : { roles: new Set(roles) }),
      ...(strength === undefined ? {} : { strength: new Set(strength) }),
      ...(zones === undefined ? {} : { zones: this.texts('zones', zones) }),
      ...(levels === undefined ? {} : { levels: this.zonesOf(levels) }),
      ...(times === undefined ? {} : { windows: times.map((time) => this.#window(time)) }),
    }
  }

  #patterns(items: readonly string[]): ReadonlySet<string> {
    const named = (texts: readonly string[]): ReadonlySet<string> =>
      new Set(texts.flatMap((text) => this.#once(`operation ${text}`, () => this.#operations.filter(({ name }) => covers(text, name)).map(({ name }) => name))))
    return items.length === 1 ? this.#once(`operations ${items[0] ?? ''}`, () => named(this.#expand(items))) : named(this.#expand(items))
  }

  #window({ days, from = '00:00', to = '24:00', timeZone }: NonNullable<RuleDocument['times']>[number]): Window {
    const bits = DAYS.reduce<number>((all, day, at) => (days === undefined || days.includes(day) ? all | (1 << at) : all), 0)
    return { clock: this.#clock(timeZone), days: bits, from: minutesOf(from), to: minutesOf(to) }
  }

  #clock(timeZone: string): LocalClock {
    return this.#once(`clock ${timeZone}`, () => localClock(timeZone))
  }

  #facts(rule: RuleDocument | GuardRuleDocument): FactCondition[] {
    const conditions: FactCondition[] = []
    for (const name of Object.keys(ATTRIBUTES) as Attribute[]) {
      const items = rule[name]
      if (items === undefined) continue
      const test = this.#of(`test ${name}`, items, (texts): FactTest => {
        if (name === 'keyLabels') return { kind: 'globs', globs: texts.map((text) => ({ text, glob: parseGlob(text) })) }
        if (name === 'regions') return { kind: 'globs', globs: texts.map((text) => ({ text, glob: regionGlob(text) })) }
        return { kind: 'values', values: new Set(texts) }
      })
      conditions.push({ name, fact: ATTRIBUTES[name], test })
    }
    for (const [fact, wanted] of Object.entries(rule.where ?? {})) conditions.push({ name: 'where', fact, test: this.#where(wanted) })
    const sum = 'quota' in rule ? rule.quota?.sum : undefined
    if (sum !== undefined) conditions.push({ name: 'quota', fact: sum.fact, test: { kind: 'number' } })
    return conditions
  }

  #where(wanted: Scalar | readonly string[]): FactTest {
    if (wanted === '$caller') return { kind: 'caller' }
    const items = typeof wanted === 'string' && wanted.startsWith('$') ? [wanted] : Array.isArray(wanted) ? (wanted as readonly string[]) : undefined
    if (items === undefined) return { kind: 'values', values: new Set([wanted as Scalar]) }
    return this.#of('where', items, (texts): FactTest => ({ kind: 'values', values: new Set(texts.flatMap(alike)) }))
  }

  #terms({ rate, quota, hold }: RuleDocument): Terms {
    return {
      ...(rate === undefined ? {} : { rate: { per: rate.per, count: rate.count, everyMs: millisecondsOf(rate.every), burst: rate.burst ?? rate.count } }),
      ...(quota === undefined
        ? {}
        : {
            quota: {
              ...{ per: quota.per, most: quota.sum?.most ?? quota.count ?? 0, period: quota.period, clock: this.#clock(quota.timeZone) },
              ...(quota.sum === undefined ? {} : { fact: quota.sum.fact }),
            },
          }),
      ...(hold === undefined ? {} : { hold: { approvals: hold.approvals, of: this.#expand(hold.of), withinMs: millisecondsOf(hold.within) } }),
    }
  }
}

function callerSet(patterns: readonly string[]): CallerSet {
  const kinds = new Set<CallerKind>()
  const names = new Map<CallerKind, Set<string>>()
  for (const pattern of patterns) {
    const [kind, name = ''] = pattern.split(':') as [CallerKind, string?]
    if (name === '*') kinds.add(kind)
    else names.set(kind, (names.get(kind) ?? new Set<string>()).add(name))
  }
  return { kinds, names }
}

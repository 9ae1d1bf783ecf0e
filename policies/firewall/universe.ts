import { ADMITTED_AT_ANY_TIME, type Caller, type CallerKind, callerUrn, LISTENERS, needsAdmission, type Listener, STRENGTHS, type Strength } from '../caller.ts'
import { keyId } from '../../core/ids.ts'
import { type Box, hasValue, type Subset, subsetOf } from './box.ts'
import { chainOf } from './compile.ts'
import type { Asked } from './decide.ts'
import { satisfies } from './explain.ts'
import { globClasses } from './glob-classes.ts'
import { isInWindow, type LocalClock } from './local-time.ts'
import { formatAddress } from './network.ts'
import type { CallerSet, FactTest, ResolvedPolicy, ResolvedRule, Scalar } from './resolve.ts'
import { ROLES, SYSTEM_CHAIN } from './schema.ts'

/** A way to be a caller that some rule tells from others: by name, or as one of those whom no rule names. */
interface CallerValue {
  readonly kind: CallerKind
  readonly name: string
}

/** Where requests come from, as the policies see it: the zones and the chain in each of them. */
interface PlaceValue {
  /** Absent: the service itself, or nowhere. */
  readonly address?: string
  readonly listener?: Listener
  readonly isSystem: boolean
  readonly inside: readonly { readonly zones: readonly string[]; readonly chain: string | undefined }[]
}

/** A value of a fact; `own`: the caller's URN; absent for what is not stated. */
type FactAxisValue = { readonly own: true } | { readonly own: false; readonly value?: Scalar }

const WEEK_MINUTES = 7 * 1440
const MINUTE_MS = 60_000
/** How far from the start of a stretch of time a moment of the week is looked for: a change of the clocks may take it out of one week. */
const WEEKS_SEARCHED = 2
/** Ways in which the parts of a request are put together before it is given up. */
const MOST_TRIED = 200

/**
 * All requests that the policies can tell from each other, as finitely many values on a few axes: caller, place, operation, strength, use of a key, each fact that a rule looks at, time of the week
 * by each clock, and the stretches between expiries from `at` on. Vendors and modules are admitted ones: the others are denied before any policy, by all alike. A rule is a few boxes in it. What is decided for one request of a box's smallest piece holds for all of that piece.
 */
export class Universe {
  /** All values of each axis. */
  readonly full: readonly Uint32Array[]
  /** Everything that can be asked: by somebody, and by the service itself. */
  readonly whole: readonly Box[]
  /** False where values are missing, because there were too many: then what is not found may still be there. */
  readonly isComplete: boolean
  readonly #policies: readonly ResolvedPolicy[]
  readonly #at: number
  readonly #callers: readonly CallerValue[]
  readonly #places: readonly PlaceValue[]
  readonly #operations: readonly string[]
  readonly #strengths: readonly (Strength | undefined)[] = [...STRENGTHS, undefined]
  readonly #facts: readonly { readonly fact: string; readonly values: readonly FactAxisValue[] }[]
  readonly #clocks: readonly { readonly clock: LocalClock; readonly starts: readonly number[] }[]
  /** Stretches of time: from each of these to the next. */
  readonly #stretches: readonly number[]
  readonly #tests = new Map<FactTest, Map<string, Subset>>()

  constructor(policies: readonly ResolvedPolicy[], at: number) {
    this.#policies = policies
    this.#at = at
    const rules = policies.flatMap((policy) => policy.rules)
    this.#callers = callerValues(rules)
    this.#places = placeValues(policies)
    this.#operations = [...new Set(policies.flatMap(({ operations }) => operations.map(({ name }) => name)))]
    const facts = factAxes(rules)
    this.#facts = facts.axes
    this.isComplete = facts.isComplete
    this.#clocks = clockAxes(rules)
    this.#stretches = [at, ...new Set(rules.flatMap(({ expiresMs }) => (expiresMs !== undefined && expiresMs > at ? [expiresMs] : [])))].sort((a, b) => a - b)
    this.full = this.#sizes().map((size) => subsetOf(size, () => true))
    const anything: Box = this.full.map(() => undefined)
    this.whole = [
      anything.with(0, this.#system(false)[0]).with(1, this.#system(false)[1]),
      anything.with(0, this.#system(true)[0]).with(1, this.#system(true)[1]).with(3, this.#noStrength()),
    ]
  }

  #sizes(): number[] {
    return [
      ...[this.#callers.length, this.#places.length, this.#operations.length, this.#strengths.length, 2],
      ...this.#facts.map(({ values }) => values.length),
      ...this.#clocks.map(({ starts }) => starts.length),
      this.#stretches.length,
    ]
  }

  /** Callers and places of the service itself, or of everybody else. */
  #system(isSystem: boolean): readonly [Uint32Array, Uint32Array] {
    return [
      subsetOf(this.#callers.length, (at) => (this.#callers[at]?.kind === 'system') === isSystem),
      subsetOf(this.#places.length, (at) => this.#places[at]?.isSystem === isSystem),
    ]
  }

  #noStrength(): Uint32Array {
    return subsetOf(this.#strengths.length, (at) => this.#strengths[at] === undefined)
  }

  /** What a rule of the policy at `index` matches. None: it has expired, it is about who is not admitted, or no request can reach it. */
  boxesOf(rule: ResolvedRule, index: number): Box[] {
    if (rule.notAdmitted === true || (rule.expiresMs !== undefined && rule.expiresMs <= this.#at)) return []
    const places = subsetOf(this.#places.length, (at) => {
      const inside = this.#places[at]?.inside[index]
      if (inside === undefined) return false
      const isIn = (zones: ReadonlySet<string> | undefined): boolean => zones === undefined || inside.zones.some((zone) => zones.has(zone))
      return (rule.chain === undefined || rule.chain === inside.chain) && isIn(rule.zones) && isIn(rule.levels)
    })
    const callers = subsetOf(this.#callers.length, (at) => {
      const caller = this.#callers[at]
      return caller !== undefined && (rule.roles === undefined || rule.roles.has(caller.kind)) && (rule.callers === undefined || isAmong(rule.callers, caller))
    })
    const first = 5 + this.#facts.length
    const box: Box = [
      callers,
      places,
      subsetOf(this.#operations.length, (at) => rule.operations.has(this.#operations[at] ?? '')),
      rule.strength && subsetOf(this.#strengths.length, (at) => rule.strength?.has(this.#strengths[at] as Strength) === true),
      rule.usesKey && subsetOf(2, (at) => at === 1),
      ...this.#facts.map((_axis, at) => this.#factSubset(rule, at)),
      ...this.#clocks.map(() => undefined),
      rule.expiresMs === undefined ? undefined : subsetOf(this.#stretches.length, (at) => (this.#stretches[at] ?? 0) < (rule.expiresMs ?? 0)),
    ]
    const timed =
      rule.windows === undefined
        ? [box]
        : this.#clocks.flatMap(({ clock }, at) => this.#windowBox(rule, clock, at).map((subset) => box.with(first + at, subset)))
    return timed
      .flatMap((one) => this.whole.map((part) => one.map((subset, axis) => narrowed(subset, part[axis], this.full[axis]))))
      .filter((one) => one.every((subset) => subset === undefined || subset.some((word) => word !== 0)))
  }

  /** The conditions of a rule on one fact, together. */
  #factSubset(rule: ResolvedRule, axis: number): Subset {
    const { fact = '', values = [] } = this.#facts[axis] ?? {}
    const tests = rule.facts.filter((condition) => condition.fact === fact)
    if (tests.length === 0) return undefined
    const subsets = tests.map(({ test }) => {
      const known = this.#tests.get(test) ?? new Map<string, Subset>()
      this.#tests.set(test, known)
      const subset = known.get(fact) ?? subsetOf(values.length, (at) => holdsOf(test, values[at]))
      known.set(fact, subset)
      return subset
    })
    return subsets.reduce<Subset>((all, subset) => narrowed(all, subset, this.full[5 + axis]), undefined)
  }

  /** The times of a rule's windows by one clock; none where it has no window by it. */
  #windowBox(rule: ResolvedRule, clock: LocalClock, axis: number): Uint32Array[] {
    const windows = (rule.windows ?? []).filter((window) => window.clock.timeZone === clock.timeZone)
    if (windows.length === 0) return []
    const starts = this.#clocks[axis]?.starts ?? []
    return [subsetOf(starts.length, (at) => windows.some((window) => isInWindow(window, weekTime(starts[at] ?? 0))))]
  }

  /** A request in the box; undefined where no real one was found (a time that never comes, a fact that would be two things). */
  realise(box: Box): Asked | undefined {
    const at = this.#moment(box)
    if (at === undefined) return undefined
    const valuesIn = <Value>(axis: number, values: readonly Value[]): Value[] => values.filter((_value, index) => hasValue(box[axis], index))
    const [operation] = valuesIn(2, this.#operations)
    const strengths = valuesIn(3, this.#strengths)
    const uses = hasValue(box[4], 0) ? [] : [{ action: 'sign' as const, keyId: keyId('example') }]
    const choices = this.#facts.map(({ values }, axis) => valuesIn(5 + axis, values))
    if (operation === undefined || strengths.length === 0 || choices.some((values) => values.length === 0)) return undefined
    let tried = 0
    for (const { kind, name } of valuesIn(0, this.#callers)) {
      for (const place of valuesIn(1, this.#places)) {
        if ((kind === 'system') !== place.isSystem) continue
        if ((tried += 1) > MOST_TRIED) return undefined
        const caller: Caller = {
          ...{ kind, name, id: callerUrn({ kind, name }) },
          ...(place.address === undefined ? {} : { address: place.address }),
          ...(place.listener === undefined ? {} : { listener: place.listener }),
          ...(strengths[0] === undefined ? {} : { strength: strengths[0] }),
          ...(needsAdmission(kind) ? { admittedUntil: ADMITTED_AT_ANY_TIME } : {}),
        }
        const facts = choices.map((values) => factOf(values, caller))
        if (facts.includes(CONTRADICTION)) continue
        const stated = this.#facts.flatMap(({ fact }, axis) => (facts[axis] === undefined ? [] : [[fact, facts[axis]] as const]))
        return { operation, caller, uses, facts: Object.fromEntries(stated) as Asked['facts'], at }
      }
    }
    return undefined
  }

  /** A moment whose stretch and times of the week are in the box. */
  #moment(box: Box): number | undefined {
    const first = 5 + this.#facts.length
    const clocks = this.#clocks.map((axis, at) => ({ ...axis, subset: box[first + at] })).filter(({ subset }) => subset !== undefined)
    const stretches = box[first + this.#clocks.length]
    for (const [index, start] of this.#stretches.entries()) {
      if (!hasValue(stretches, index)) continue
      const end = Math.min(this.#stretches[index + 1] ?? Number.POSITIVE_INFINITY, start + WEEKS_SEARCHED * WEEK_MINUTES * MINUTE_MS)
      for (let at = start; at < end; at = (Math.floor(at / MINUTE_MS) + 1) * MINUTE_MS) {
        const isIn = clocks.every(({ clock, starts, subset }) => {
          const { weekday, minute } = clock.read(at)
          const of = weekday * 1440 + minute
          return hasValue(
            subset,
            starts.findLastIndex((begin) => begin <= of),
          )
        })
        if (isIn) return at
      }
    }
    return undefined
  }

  /** The box in words: only axes on which it does not have all values. */
  describe(box: Box): string[] {
    const names = this.#valueNames()
    return box.flatMap((subset, axis) => {
      const { name = '', values = [] } = names[axis] ?? {}
      if (subset === undefined) return []
      const inside = values.filter((_value, at) => hasValue(subset, at))
      return inside.length === values.length
        ? []
        : [`${name}: ${inside.slice(0, MOST_NAMED).join(', ')}${inside.length > MOST_NAMED ? ` and ${String(inside.length - MOST_NAMED)} more` : ''}`]
    })
  }

  #valueNames(): { readonly name: string; readonly values: readonly string[] }[] {
    const placeName = ({ address, isSystem, listener, inside }: PlaceValue): string =>
      isSystem
        ? 'the service itself'
        : address === undefined
          ? 'no address'
          : `${[...new Set(inside.flatMap(({ zones }) => zones))].join('+') || 'no zone'} (${listener ?? 'no listener'})`
    return [
      { name: 'caller', values: this.#callers.map(({ kind, name }) => `${kind}:${name}`) },
      { name: 'from', values: this.#places.map(placeName) },
      { name: 'operation', values: this.#operations },
      { name: 'strength', values: this.#strengths.map((strength) => strength ?? 'none') },
      { name: 'key', values: ['not used', 'used'] },
      ...this.#facts.map(({ fact, values }) => ({ name: fact, values: values.map(valueName) })),
      ...this.#clocks.map(({ clock, starts }) => ({
        name: clock.timeZone,
        values: starts.map((start) => `day ${String(Math.floor(start / 1440) + 1)} from ${clockName(start % 1440)}`),
      })),
      { name: 'time', values: this.#stretches.map((start) => `from ${new Date(start).toISOString()}`) },
    ]
  }

  /** The flat list of a policy's rules, in the order in which they are asked: chains do not meet, so that they may stand one after the other. */
  flatten(index: number): { readonly rule: ResolvedRule; readonly boxes: Box[] }[] {
    return (this.#policies[index]?.rules ?? []).map((rule) => ({ rule, boxes: this.boxesOf(rule, index) }))
  }
}

const MOST_NAMED = 6

const clockName = (minute: number): string => `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`
const valueName = (value: FactAxisValue): string => (value.own ? 'the caller’s own' : value.value === undefined ? 'not stated' : JSON.stringify(value.value))

/** One subset within another; `undefined` where that is all values, so that a look tells. */
function narrowed(a: Subset, b: Subset, full: Uint32Array | undefined): Subset {
  const subset = a === undefined ? b : b === undefined ? a : a.map((word, at) => word & (b[at] ?? 0))
  return subset?.every((word, at) => word === full?.[at]) === true ? undefined : subset
}

const isAmong = ({ kinds, names }: CallerSet, { kind, name }: CallerValue): boolean => kinds.has(kind) || names.get(kind)?.has(name) === true

/** The name of a caller whom no rule names. */
const unnamed = (named: ReadonlySet<string>): string => {
  let name = 'anybody'
  while (named.has(name)) name += '-else'
  return name
}

function callerValues(rules: readonly ResolvedRule[]): CallerValue[] {
  return ROLES.flatMap((kind) => {
    const named = new Set(rules.flatMap(({ callers }) => [...(callers?.names.get(kind) ?? [])]))
    return [...named, unnamed(named)].map((name) => ({ kind, name }))
  })
}

/** Each combination of stretches of the policies' networks, by each listener; the service itself; and nowhere. */
function placeValues(policies: readonly ResolvedPolicy[]): PlaceValue[] {
  const [system, nowhere] = [true, false].map(
    (isSystem): PlaceValue => ({
      isSystem,
      inside: policies.map(({ chains }) => ({ zones: [], chain: isSystem && chains.some(({ name }) => name === SYSTEM_CHAIN) ? SYSTEM_CHAIN : undefined })),
    }),
  )
  const found = new Map<string, PlaceValue>()
  for (const border of new Set(policies.flatMap(({ zones }) => zones.borders))) {
    for (const listener of LISTENERS) {
      const inside = policies.map(({ zones, chains }) => {
        const names = zones.zonesAt(zones.stretchAt(border), listener)
        return { zones: names, chain: chainOf(chains, names) }
      })
      const key = JSON.stringify(inside)
      if (!found.has(key)) found.set(key, { address: formatAddress(border), listener, isSystem: false, inside })
    }
  }
  return [...(system === undefined ? [] : [system]), ...(nowhere === undefined ? [] : [nowhere]), ...found.values()]
}

const NOT_SUMMABLE = -0.5

function factAxes(rules: readonly ResolvedRule[]): {
  readonly axes: { readonly fact: string; readonly values: readonly FactAxisValue[] }[]
  readonly isComplete: boolean
} {
  const tests = new Map<string, Set<FactTest>>()
  for (const { facts } of rules) for (const { fact, test } of facts) tests.set(fact, (tests.get(fact) ?? new Set<FactTest>()).add(test))
  let isComplete = true
  const axes = [...tests].map(([fact, all]) => {
    const scalars = new Set([...all].flatMap((test) => (test.kind === 'values' ? [...test.values] : [])))
    const texts = [...scalars].filter((value) => typeof value === 'string')
    const globs = [...all].flatMap((test) => (test.kind === 'globs' ? test.globs.map(({ glob }) => glob) : []))
    const patterns = new Map([...globs, ...texts.map((text) => Array.from(text, (character) => ({ character })))].map((glob) => [JSON.stringify(glob), glob]))
    const classes = globClasses([...patterns.values()])
    const hasOwn = [...all].some(({ kind }) => kind === 'caller')
    // Whether the caller's own URN is one of these texts depends on the caller: that is on no axis.
    isComplete &&= classes.isComplete && !(hasOwn && (globs.length > 0 || texts.some((text) => text.startsWith('urn:gridseal:'))))
    const numbers = [...scalars].filter((value) => typeof value === 'number')
    const values: (Scalar | undefined)[] = [
      undefined,
      ...classes.examples,
      ...numbers,
      Math.max(0, ...numbers) + 1,
      ...(numbers.includes(NOT_SUMMABLE) ? [] : [NOT_SUMMABLE]),
      true,
      false,
    ]
    const own: FactAxisValue[] = hasOwn ? [{ own: true }] : []
    return { fact, values: merged([...own, ...values.map((value): FactAxisValue => (value === undefined ? { own: false } : { own: false, value }))], [...all]) }
  })
  return { axes, isComplete }
}

/** Values that all tests take alike are one. */
function merged(values: readonly FactAxisValue[], tests: readonly FactTest[]): FactAxisValue[] {
  const distinct = new Map<string, FactAxisValue>()
  for (const value of values) {
    const key = tests.map((test) => (holdsOf(test, value) ? '1' : '0')).join('')
    if (!distinct.has(key)) distinct.set(key, value)
  }
  return [...distinct.values()]
}

/** Of the caller's own URN, what tests other than for it say is not known before the caller is: as if it were a text that no rule names. */
function holdsOf(test: FactTest, value: FactAxisValue | undefined): boolean {
  if (value === undefined) return false
  if (value.own) return test.kind === 'caller'
  return test.kind !== 'caller' && satisfies(test, value.value, NOBODY)
}
const NOBODY: Caller = { kind: 'system', name: '', id: '' }

const CONTRADICTION = Symbol('contradiction')

/** A value of the fact for this caller: none, where that will do. */
function factOf(choices: readonly FactAxisValue[], caller: Caller): Scalar | undefined | typeof CONTRADICTION {
  const urn = callerUrn(caller)
  if (choices.some((choice) => !choice.own && choice.value === undefined)) return undefined
  for (const choice of choices) {
    if (choice.own) return urn
    if (choice.value !== urn) return choice.value
  }
  return CONTRADICTION
}

/** Minutes of the week at which a window of some rule begins or ends, by each clock. */
function clockAxes(rules: readonly ResolvedRule[]): { readonly clock: LocalClock; readonly starts: readonly number[] }[] {
  const axes = new Map<string, { readonly clock: LocalClock; readonly starts: Set<number> }>()
  for (const { windows } of rules) {
    for (const { clock, from, to } of windows ?? []) {
      const axis = axes.get(clock.timeZone) ?? { clock, starts: new Set([0]) }
      axes.set(clock.timeZone, axis)
      for (let day = 0; day < 7; day += 1) for (const minute of [0, from, to]) axis.starts.add((day * 1440 + minute) % WEEK_MINUTES)
    }
  }
  return [...axes.values()].map(({ clock, starts }) => ({ clock, starts: [...starts].sort((a, b) => a - b) }))
}

const weekTime = (minute: number): { weekday: number; minute: number } => ({ weekday: Math.floor(minute / 1440), minute: minute % 1440 })

import { type Caller, type CallerKind, callerUrn, isAdmitted, needsAdmission } from '../caller.ts'
import { addAll, type BitVector, setBit, type VectorMaker } from './bit-vector.ts'
import type { Asked } from './decide.ts'
import { type Glob, literalPrefix, matchesGlob } from './glob.ts'
import { isInWindow } from './local-time.ts'
import type { CallerSet, FactTest, ResolvedRule, Scalar } from './resolve.ts'
import { ROLES } from './schema.ts'

/**
 * One dimension of the rules: for what is asked, the rules whose condition in this dimension holds, one bit each. Rules without such a condition are among them.
 * Each looks its answer up; none walks over the rules. What is remembered for the next question is bounded, and changes no answer.
 */
export type Dimension = (asked: Asked) => BitVector

/** Texts whose rules are remembered. Beyond it the memory starts anew. */
const MOST_REMEMBERED = 1024
const MINUTE_MS = 60_000
/** From so many rules on, a set's rules are added to its members as a vector. */
const MANY = 64

/** A table from values to rules; `otherwise` are those that take any value. */
interface Table<Key> {
  readonly of: ReadonlyMap<Key, BitVector>
  readonly otherwise: BitVector
}

/** `wanted` of a rule: undefined where it takes anything. */
function tableOf<Key>(rules: readonly ResolvedRule[], vectors: VectorMaker, wanted: (rule: ResolvedRule) => Iterable<Key> | undefined): Table<Key> {
  const otherwise = vectors.empty()
  const groups = new Map<Iterable<Key>, number[]>()
  rules.forEach((rule, at) => {
    const keys = wanted(rule)
    if (keys === undefined) setBit(otherwise, at)
    else groups.set(keys, [...(groups.get(keys) ?? []), at])
  })
  const of = new Map<Key, BitVector>()
  for (const [keys, members] of groups) {
    const together = members.length < MANY ? undefined : vectorOf(members, vectors)
    for (const key of keys) {
      let vector = of.get(key)
      if (vector === undefined) of.set(key, (vector = vectors.copy(otherwise)))
      if (together === undefined) for (const at of members) setBit(vector, at)
      else addAll(vector, together)
    }
  }
  return { of, otherwise }
}

function vectorOf(members: readonly number[], vectors: VectorMaker): BitVector {
  const vector = vectors.empty()
  for (const at of members) setBit(vector, at)
  return vector
}

/** Who asks: callers, roles and admission together. Throws a TypeError on a kind that is none. */
export function callerDimension(rules: readonly ResolvedRule[], vectors: VectorMaker): (caller: Caller, at: number) => BitVector {
  const kinds = new Map<string, { readonly others: BitVector; readonly named: Map<string, BitVector>; readonly notAdmitted: BitVector | undefined }>()
  for (const kind of ROLES) {
    const takes = (at: number): boolean => takesKind(rules[at], kind) && (rules[at]?.callers === undefined || rules[at].callers.kinds.has(kind))
    const others = vectors.where((at) => takes(at) && rules[at]?.notAdmitted !== true)
    const notAdmitted = needsAdmission(kind) ? vectors.where((at) => takes(at) && rules[at]?.notAdmitted === true) : undefined
    const named = new Map<string, BitVector>()
    const groups = new Map<CallerSet, number[]>()
    rules.forEach((rule, at) => {
      if (rule.callers?.names.has(kind) === true && takesKind(rule, kind)) groups.set(rule.callers, [...(groups.get(rule.callers) ?? []), at])
    })
    for (const [callers, members] of groups) {
      for (const name of callers.names.get(kind) ?? []) {
        let vector = named.get(name)
        if (vector === undefined) named.set(name, (vector = vectors.copy(others)))
        for (const at of members) setBit(vector, at)
      }
    }
    kinds.set(kind, { others, named, notAdmitted })
  }
  return (caller, at) => {
    const found = kinds.get(caller.kind)
    if (found === undefined) throw new TypeError('not a kind of caller')
    const vector = found.named.get(caller.name) ?? found.others
    return found.notAdmitted === undefined || isAdmitted(caller, at) ? vector : joined(vector, found.notAdmitted)
  }
}

function joined(a: BitVector, b: BitVector): BitVector {
  const all = a.slice()
  addAll(all, b)
  return all
}

const takesKind = (rule: ResolvedRule | undefined, kind: CallerKind): boolean => rule !== undefined && (rule.roles === undefined || rule.roles.has(kind))

/** Every other dimension that one of the rules has a condition in. */
export function furtherDimensions(rules: readonly ResolvedRule[], vectors: VectorMaker): Dimension[] {
  const dimensions: Dimension[] = []
  if (rules.some(({ strength }) => strength !== undefined)) {
    const { of, otherwise } = tableOf(rules, vectors, ({ strength }) => strength)
    dimensions.push(({ caller: { strength } }) => (strength === undefined ? otherwise : (of.get(strength) ?? otherwise)))
  }
  if (rules.some(({ usesKey }) => usesKey === true)) {
    const [using, idle] = [vectors.where(() => true), vectors.where((at) => rules[at]?.usesKey !== true)]
    dimensions.push(({ uses }) => (uses.length > 0 ? using : idle))
  }
  for (const { name, fact, kind } of factsOf(rules)) dimensions.push(factDimension({ rules, vectors, fact, testOf: (rule) => testOf(rule, name, fact), kind }))
  if (rules.some(({ windows, expiresMs }) => windows !== undefined || expiresMs !== undefined)) dimensions.push(timeDimension(rules, vectors))
  return dimensions
}

/** Each condition on each fact that some rule has. */
function factsOf(rules: readonly ResolvedRule[]): { readonly name: string; readonly fact: string; readonly kind: FactTest['kind'] }[] {
  const found = new Map<string, { name: string; fact: string; kind: FactTest['kind'] }>()
  for (const rule of rules) for (const { name, fact, test } of rule.facts) found.set(`${name} ${fact} ${test.kind}`, { name, fact, kind: test.kind })
  return [...found.values()]
}

const testOf = (rule: ResolvedRule, name: string, fact: string): FactTest | undefined => rule.facts.find((one) => one.name === name && one.fact === fact)?.test

function factDimension({
  rules,
  vectors,
  fact,
  testOf: ofRule,
  kind,
}: {
  readonly rules: readonly ResolvedRule[]
  readonly vectors: VectorMaker
  readonly fact: string
  readonly testOf: (rule: ResolvedRule) => FactTest | undefined
  readonly kind: FactTest['kind']
}): Dimension {
  const wanted = <Kind extends FactTest['kind']>(rule: ResolvedRule, one: Kind): (FactTest & { readonly kind: Kind }) | undefined => {
    const test = ofRule(rule)
    return test?.kind === one ? (test as FactTest & { readonly kind: Kind }) : undefined
  }
  // What every object inherits are functions: no condition takes one.
  const valueOf = ({ facts }: Asked): Scalar | undefined => {
    const value: unknown = facts[fact]
    return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : undefined
  }
  if (kind === 'values') {
    const { of, otherwise } = tableOf<Scalar>(rules, vectors, (rule) => wanted(rule, 'values')?.values)
    return (asked) => {
      const value = valueOf(asked)
      return value === undefined ? otherwise : (of.get(value) ?? otherwise)
    }
  }
  if (kind === 'globs') {
    const find = globFinder(rules, vectors, (rule) => wanted(rule, 'globs')?.globs.map(({ glob }) => glob))
    return (asked) => {
      const value = valueOf(asked)
      return find(typeof value === 'string' ? value : undefined)
    }
  }
  const [every, rest] = [vectors.where(() => true), vectors.where((at) => rules[at] !== undefined && wanted(rules[at], kind) === undefined)]
  if (kind === 'caller') return (asked) => (isUrnOf(valueOf(asked), asked.caller) ? every : rest)
  return (asked) => (isSummable(valueOf(asked)) ? every : rest)
}

/** Without making the URN where the value is plainly another. */
const isUrnOf = (value: Scalar | undefined, caller: Caller): boolean => typeof value === 'string' && value.endsWith(caller.name) && value === callerUrn(caller)

/** What a quota can sum up. */
export const isSummable = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value >= 0

/**
 * The rules one of whose patterns matches. What most patterns are, whole texts and beginnings, is looked up; the rest is found by the text that it begins with, so that few are tried.
 * Regions are beginnings of six digits.
 */
function globFinder(
  rules: readonly ResolvedRule[],
  vectors: VectorMaker,
  wanted: (rule: ResolvedRule) => readonly Glob[] | undefined,
): (text: string | undefined) => BitVector {
  const otherwise = vectors.where((at) => rules[at] !== undefined && wanted(rules[at]) === undefined)
  const [whole, beginnings, rest] = [
    new Map<string, number[]>(),
    new Map<string, number[]>(),
    new Map<string, { readonly glob: Glob; readonly rules: number[] }[]>(),
  ]
  const known = new Map<string, { readonly glob: Glob; readonly rules: number[] }>()
  let isRegion = false
  rules.forEach((rule, at) => {
    for (const glob of wanted(rule) ?? []) {
      const prefix = literalPrefix(glob)
      const tail = glob.slice(Array.from(prefix).length)
      if (tail.length === 0) whole.set(prefix, [...(whole.get(prefix) ?? []), at])
      else if (tail.every((token) => token === 'any') || tail.every((token) => token === 'digit')) {
        isRegion ||= tail[0] === 'digit'
        beginnings.set(prefix, [...(beginnings.get(prefix) ?? []), at])
      } else {
        const key = JSON.stringify(glob)
        const same = known.get(key) ?? { glob, rules: [] as number[] }
        if (!known.has(key)) rest.set(prefix, [...(rest.get(prefix) ?? []), same])
        known.set(key, same)
        same.rules.push(at)
      }
    }
  })
  const begun = beginningFinder(beginnings, otherwise, vectors)
  const exact = new Map<string, BitVector>()
  for (const [text, members] of whole) {
    const vector = vectors.copy(begun(text))
    for (const at of members) setBit(vector, at)
    exact.set(text, vector)
  }
  const plain = (text: string): BitVector => exact.get(text) ?? begun(text)
  if (isRegion) return (text) => (text !== undefined && SIX_DIGITS.test(text) ? plain(text) : otherwise)
  if (rest.size === 0) return (text) => (text === undefined ? otherwise : plain(text))

  const lengths = lengthsOf(rest)
  const memory = new Map<string, BitVector>()
  return (text) => {
    if (text === undefined) return otherwise
    const remembered = memory.get(text)
    if (remembered !== undefined) return remembered
    let found = plain(text)
    const matching = lengths.flatMap((length) => rest.get(text.slice(0, length)) ?? []).filter(({ glob }) => matchesGlob(glob, text))
    if (matching.length > 0) found = found.slice()
    for (const { rules: members } of matching) for (const at of members) setBit(found, at)
    if (memory.size >= MOST_REMEMBERED) memory.clear()
    memory.set(text, found)
    return found
  }
}

const SIX_DIGITS = /^[0-9]{6}$/
const lengthsOf = (texts: ReadonlyMap<string, unknown>): number[] => [...new Set([...texts.keys()].map((text) => text.length))].sort((a, b) => b - a)

/** The rules of every beginning that a text has: those of the longest hold those of the shorter ones too. */
function beginningFinder(beginnings: ReadonlyMap<string, readonly number[]>, otherwise: BitVector, vectors: VectorMaker): (text: string) => BitVector {
  const lengths = lengthsOf(beginnings)
  const table = new Map<string, BitVector>()
  const find = (text: string): BitVector => {
    for (const length of lengths) {
      const vector = length <= text.length ? table.get(length === text.length ? text : text.slice(0, length)) : undefined
      if (vector !== undefined) return vector
    }
    return otherwise
  }
  for (const [text, members] of [...beginnings].sort(([a], [b]) => a.length - b.length)) {
    const vector = vectors.copy(find(text))
    for (const at of members) setBit(vector, at)
    table.set(text, vector)
  }
  return find
}

/** Windows and expiry. What holds at a moment holds until the next minute begins or the next rule expires. */
function timeDimension(rules: readonly ResolvedRule[], vectors: VectorMaker): Dimension {
  const expiries = [...new Set(rules.flatMap(({ expiresMs }) => expiresMs ?? []))].sort((a, b) => a - b)
  const vector = vectors.empty()
  let [from, until] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  return ({ at }) => {
    if (at >= from && at < until) return vector
    if (!Number.isFinite(at)) throw new TypeError('not a time')
    // Nothing is remembered of a moment that cannot be read.
    until = Number.NEGATIVE_INFINITY
    vector.fill(0)
    rules.forEach((rule, index) => {
      if (isLive(rule, at)) setBit(vector, index)
    })
    const minute = Math.floor(at / MINUTE_MS) * MINUTE_MS
    from = Math.max(minute, expiries.findLast((expiry) => expiry <= at) ?? minute)
    until = Math.min(minute + MINUTE_MS, expiries.find((expiry) => expiry > at) ?? Number.POSITIVE_INFINITY)
    return vector
  }
}

/** Whether a rule has not expired, and one of its windows is open. */
export const isLive = ({ expiresMs, windows }: ResolvedRule, at: number): boolean =>
  (expiresMs === undefined || at < expiresMs) && (windows === undefined || windows.some((window) => isInWindow(window, window.clock.read(at))))

import { equalBytes } from '../../../core/bytes.ts'
import { Problem } from '../../../core/problem.ts'
import { literalPrefix, matchesGlob, parseGlob } from '../../firewall/glob.ts'
import type { FoundEntry } from '../reader.ts'
import { SEGMENT_ENTRIES } from './bits.ts'
import type { Plan, Snapshot } from './evaluation.ts'
import { addressRange, type FieldName, fieldOf, type TermRange } from './field.ts'
import { type Condition, conditionsOf, parseTime, type Query, type Salts } from './query.ts'
import type { Segments, TermStore } from './term-store.ts'

/** Where entries with a personal value stand. */
export interface PersonalPlace {
  readonly index: number
  readonly salt: Uint8Array
}

/** What a search needs of the log beside its index. */
export interface SearchedLog {
  /** These entries, checked against the groups' MACs, in the order of the list. Throws `integrity-failed`. */
  at(indexes: readonly number[]): Promise<FoundEntry[]>
  /** Indexes of the entries of operations, between two indexes (the second not included). */
  indexesOf(operationIds: readonly string[], from: number, to: number): Promise<number[]>
  /** Entries whose personal value of this name has this blind index. */
  personalPlaces(name: string, blindIndex: Uint8Array, from: number, to: number): Promise<PersonalPlace[]>
}

/** A query that is ready: its personal values have their blind indexes, and its persons their registrations. */
export interface PreparedQuery {
  readonly query: Query
  /** For the log: no personal value is in it. */
  readonly text: string
  readonly blind: readonly { readonly name: string; readonly value: string; readonly index: Uint8Array }[]
}

/** The most values that a pattern or network may stand for. */
const MOST_VALUES = 1000
export type Personal = Extract<Condition, { personal: string }>

export const personalOf = (query: Query): Personal[] => conditionsOf(query).filter((one) => 'personal' in one)

export const blindOf = (blind: PreparedQuery['blind'], { personal, value }: Personal): Uint8Array =>
  blind.find((one) => one.name === personal && one.value === value)?.index ?? new Uint8Array()

export interface PlannerSettings {
  readonly store: TermStore
  readonly log: SearchedLog
}

/** Looks up which values patterns and networks stand for, and where operations and personal values are. */
export class Planner {
  readonly #settings: PlannerSettings
  readonly #snapshot: Snapshot
  readonly #prepared: PreparedQuery
  /** By index of the log. */
  readonly #salts = new Map<number, { readonly name: string; readonly value: string; readonly salt: Uint8Array }[]>()

  constructor(settings: PlannerSettings, snapshot: Snapshot, prepared: PreparedQuery) {
    this.#settings = settings
    this.#snapshot = snapshot
    this.#prepared = prepared
  }

  readonly salts: Salts = ({ personal, value }, index) =>
    (this.#salts.get(index) ?? []).filter((one) => one.name === personal && one.value === value).map(({ salt }) => salt)

  async plan(query: Query): Promise<Plan> {
    if ('and' in query) return { and: await Promise.all(query.and.map((one) => this.plan(one))) }
    if ('or' in query) return { or: await Promise.all(query.or.map((one) => this.plan(one))) }
    if ('not' in query) return { not: await this.plan(query.not) }
    if ('since' in query) return { sinceMs: parseTime(query.since), untilMs: Number.POSITIVE_INFINITY }
    if ('until' in query) return { sinceMs: Number.NEGATIVE_INFINITY, untilMs: parseTime(query.until) }
    if ('ids' in query) return { places: (segments) => this.#settings.log.indexesOf(query.ids, ...indexesIn(segments)) }
    if ('person' in query) return { or: [] }
    if ('personal' in query) return { places: (segments) => this.#personal(query, segments) }
    if ('like' in query) return { field: query.field, values: await this.#expand(query.field, query.like.map(rangeOfPattern), likeAny(query.like)) }
    if (query.field !== 'address') return { field: query.field, values: query.is }
    const ranges = query.is.flatMap((text) => addressRange(text) ?? [])
    const isIn = (value: string): boolean => ranges.some(({ first, last }) => first <= value && value <= last)
    return { field: 'address', values: await this.#expand('address', ranges, isIn) }
  }

  async #personal(query: Personal, segments: Segments): Promise<number[]> {
    const { personal: name, value } = query
    const places = await this.#settings.log.personalPlaces(name, blindOf(this.#prepared.blind, query), ...indexesIn(segments))
    for (const { index, salt } of places) {
      const known = this.#salts.get(index) ?? []
      if (!known.some((one) => one.name === name && one.value === value && equalBytes(one.salt, salt)))
        this.#salts.set(index, [...known, { name, value, salt }])
    }
    return places.map(({ index }) => index)
  }

  /** Those values of the ranges that `fits`. */
  async #expand(name: FieldName, ranges: readonly TermRange[], fits: (value: string) => boolean): Promise<string[]> {
    const values = new Set<string>()
    for (const range of ranges) {
      if (range.first === range.last) values.add(range.first)
      else {
        const stored = await this.#settings.store.values(fieldOf(name).number, range, MOST_VALUES + 1)
        const open = this.#snapshot.open.flatMap((one) => one.groups(name).map(({ value }) => value))
        for (const value of [...stored, ...open]) if (fits(value)) values.add(value)
        if (values.size > MOST_VALUES || stored.length > MOST_VALUES) {
          throw new Problem('request-invalid', `A pattern or network of ${name} stands for more than ${MOST_VALUES} values. Ask for a narrower one.`)
        }
      }
    }
    return [...values]
  }
}

const indexesIn = (segments: Segments): [from: number, to: number] => [(segments[0] ?? 0) * SEGMENT_ENTRIES, ((segments.at(-1) ?? -1) + 1) * SEGMENT_ENTRIES]

/** Behind every value that begins so, by the bytes of its UTF-8. */
const LAST_CHARACTER = '\u{10ffff}'
export const WHOLE_FIELD: TermRange = { first: '', last: LAST_CHARACTER }
function rangeOfPattern(pattern: string): TermRange {
  const prefix = literalPrefix(parseGlob(pattern))
  return prefix === pattern ? { first: pattern, last: pattern } : { first: prefix, last: `${prefix}${LAST_CHARACTER}` }
}

function likeAny(patterns: readonly string[]): (value: string) => boolean {
  const globs = patterns.map(parseGlob)
  return (value) => globs.some((glob) => matchesGlob(glob, value))
}

import { UUID_PATTERN } from '../../../core/ids.ts'
import { parseGlob, matchesGlob } from '../../firewall/glob.ts'
import { commitmentOf, type Entry } from '../entry.ts'
import { addressRange, type FieldName, fieldOf, isValue, PATTERN_FIELDS } from './field.ts'

/** What entries are asked for. Its textual form: query-text.ts. Pure. */
export type Query = { readonly and: readonly Query[] } | { readonly or: readonly Query[] } | { readonly not: Query } | Condition

export type Condition =
  /** One of these values exactly; of `address` also a network that it lies in. */
  | { readonly field: FieldName; readonly is: readonly string[] }
  /** Like one of these patterns: `*` is any characters, `?` one. */
  | { readonly field: FieldName; readonly like: readonly string[] }
  /** Entries of these operations. */
  | { readonly ids: readonly string[] }
  /** Written at this time or later: RFC 3339. */
  | { readonly since: string }
  /** Written before this time. */
  | { readonly until: string }
  /** By any registration that this person, by name or id, ever had. */
  | { readonly person: string }
  /** With this personal value by name. Text that shows a query never shows the value: see {@link Hidden}. */
  | { readonly personal: string; readonly value: string }

export const EVERYTHING: Query = { and: [] }

/** Bounds of a query: what is beyond them is refused before anything is read. */
export const LIMITS = { depth: 6, conditions: 64, values: 256, characters: 8192 } as const

/** Why a query is refused. */
export class QueryError extends Error {
  override readonly name = 'QueryError'
}

export const conditionsOf = (query: Query): Condition[] =>
  'and' in query ? query.and.flatMap(conditionsOf) : 'or' in query ? query.or.flatMap(conditionsOf) : 'not' in query ? conditionsOf(query.not) : [query]

const TIME = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d))?$/
/** Milliseconds since 1970; a day is its midnight in UTC. Throws a {@link QueryError} on what is no time. */
export function parseTime(text: string): number {
  const at = TIME.test(text) ? Date.parse(text) : Number.NaN
  // A day that the month does not have is none: JavaScript would take the 30th of February for one in March.
  if (Number.isNaN(at) || new Date(`${text.slice(0, 10)}T00:00:00Z`).toISOString().slice(0, 10) !== text.slice(0, 10))
    throw new QueryError(`${text} is no time: write 2026-01-31, or 2026-01-31T08:00:00Z`)
  return at
}

/** Throws a {@link QueryError} on a query that is not to be answered. */
export function assertQuery(query: Query): void {
  const conditions = conditionsOf(query)
  if (depthOf(query) > LIMITS.depth) throw new QueryError(`a query may be nested ${LIMITS.depth} deep`)
  if (conditions.length > LIMITS.conditions) throw new QueryError(`a query may have ${LIMITS.conditions} conditions`)
  const values = conditions.flatMap(valuesOf)
  if (values.length > LIMITS.values) throw new QueryError(`a query may have ${LIMITS.values} values`)
  if (values.reduce((sum, value) => sum + value.length, 0) > LIMITS.characters)
    throw new QueryError(`the values of a query may have ${LIMITS.characters} characters`)
  conditions.forEach(assertCondition)
}

const depthOf = (query: Query): number => {
  const inner = 'and' in query ? query.and : 'or' in query ? query.or : 'not' in query ? [query.not] : undefined
  return inner === undefined ? 1 : 1 + Math.max(0, ...inner.map(depthOf))
}

function valuesOf(condition: Condition): readonly string[] {
  if ('is' in condition) return condition.is
  if ('like' in condition) return condition.like
  if ('ids' in condition) return condition.ids
  if ('person' in condition) return [condition.person]
  return 'personal' in condition ? [condition.value] : []
}

function assertCondition(condition: Condition): void {
  if ('since' in condition) parseTime(condition.since)
  if ('until' in condition) parseTime(condition.until)
  const values = valuesOf(condition)
  if (values.length === 0 && !('since' in condition || 'until' in condition)) throw new QueryError('a condition has no value')
  for (const value of values) if (!isValue(value)) throw new QueryError('a value is empty, over 256 characters or not plain text')
  if ('personal' in condition && !/^[A-Za-z][A-Za-z0-9_.-]{0,63}$/.test(condition.personal)) throw new QueryError('that is no name of a personal value')
  if ('ids' in condition) for (const id of condition.ids) if (!UUID_PATTERN.test(id)) throw new QueryError(`${id} is no id of an operation`)
  if ('like' in condition) {
    if (!PATTERN_FIELDS.includes(condition.field)) throw new QueryError(`${condition.field} takes no pattern`)
    for (const pattern of condition.like) if (/[\s,()"]/u.test(pattern)) throw new QueryError('a pattern has no white space, comma, bracket or quote')
  }
  if ('is' in condition && condition.field === 'address')
    for (const value of condition.is) if (addressRange(value) === undefined) throw new QueryError(`${value} is no address and no network such as 192.0.2.0/24`)
}

/** A value that was looked for and may have salts in the table of personal values: by index of the log. */
export type Salts = (condition: Extract<Condition, { personal: string }>, index: number) => readonly Uint8Array[]

/**
 * Whether an entry is one of those that are asked for: by its bytes alone, and, of personal values, by a commitment that opens. What the index said is checked
 * with this, so that whoever changes it makes an answer fail, not lie.
 */
export function matches(query: Query, entry: Entry, index: number, salts: Salts): boolean {
  const isMet = (one: Query): boolean => matches(one, entry, index, salts)
  if ('and' in query) return query.and.every(isMet)
  if ('or' in query) return query.or.some(isMet)
  if ('not' in query) return !isMet(query.not)
  if ('since' in query) return Date.parse(entry.time) >= parseTime(query.since)
  if ('until' in query) return Date.parse(entry.time) < parseTime(query.until)
  if ('ids' in query) return query.ids.includes(entry.id)
  // No entry says it: who asks by a person asks by their registrations.
  if ('person' in query) return false
  if ('personal' in query) {
    const committed = entry.personal?.[query.personal]?.commitment
    return salts(query, index).some((salt) => commitmentOf({ name: query.personal, value: query.value, salt }) === committed)
  }
  const terms = fieldOf(query.field).of(entry)
  if ('like' in query) return query.like.map(parseGlob).some((glob) => terms.some((term) => matchesGlob(glob, term)))
  if (query.field !== 'address') return query.is.some((value) => terms.includes(value))
  return query.is.map(addressRange).some((range) => range !== undefined && terms.some((term) => range.first <= term && term <= range.last))
}

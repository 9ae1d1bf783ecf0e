import { ahead } from '../../../core/ahead.ts'
import { hex } from '../../../core/bytes.ts'
import { Problem } from '../../../core/problem.ts'
import type { TimeRange } from '../export/time-range.ts'
import type { FoundEntry } from '../reader.ts'
import { type Bits, countOf, countOfBoth, countOfStored, placesOf, SEGMENT_ENTRIES, segmentOf } from './bits.ts'
import { Evaluation, type Found, type Plan, type Snapshot } from './evaluation.ts'
import { type FieldName, fieldOf } from './field.ts'
import { bucketOf, bucketsOver, type Buckets } from './histogram.ts'
import type { OpenSegments } from './open-segments.ts'
import { blindOf, personalOf, Planner, type PreparedQuery, type SearchedLog, WHOLE_FIELD } from './planner.ts'
import { EVERYTHING, matches, parseTime, type Query, type Salts } from './query.ts'
import { formatQuery } from './query-text.ts'
import type { Segments, TermStore } from './term-store.ts'

export interface SearcherSettings {
  readonly store: TermStore
  readonly open: OpenSegments
  readonly log: SearchedLog
  readonly blindIndex: (values: readonly { readonly name: string; readonly value: string }[]) => Promise<Uint8Array[]>
  /** URNs of all registrations that a person, by name or id, ever had. Default: of nobody. */
  readonly callersOf?: ((person: string) => Promise<readonly string[]>) | undefined
}

export type Order = 'oldest' | 'newest'

export interface Page {
  readonly order: Order
  /** The index to start at, upwards from it or downwards. Absent: the log's begin or end. */
  readonly from?: number | undefined
  readonly limit: number
}

/** How far a search looked. */
export interface Reach {
  /** Entries below this index were searched. */
  readonly searchedTo: number
  /** Entries that the tree has: more where the index lags behind. */
  readonly size: number
  /** Entries before it were pruned, and not searched: 0 where none was. */
  readonly archivedBefore: number
}

export interface SearchResult extends Reach {
  readonly entries: readonly FoundEntry[]
  /** Where to go on; absent: there is nothing more by now. */
  readonly next?: number
}

export interface CountResult extends Reach {
  readonly total: number
  /** By falling count; of times, in their order. */
  readonly groups: readonly { readonly value: string; readonly count: number }[]
  /** Groups beyond those. */
  readonly more: number
  /** Of times: the width of a group. */
  readonly bucketMs?: number
}

/** Segments that are evaluated at once: few at first, since a page is mostly found there. */
const [FIRST_CHUNK, LAST_CHUNK] = [16, 1024]
/** The most segments of one page: 200 million entries. It then ends early, and says where to go on; counts and times have no pages, and look at all. */
const MOST_SEGMENTS = 48_828

export class Searcher {
  readonly #settings: SearcherSettings

  constructor(settings: SearcherSettings) {
    this.#settings = settings
  }

  /** Fixes what the query means in the token's eyes, before anything is decided or logged. */
  async prepare(query: Query): Promise<PreparedQuery> {
    const values = personalOf(query).map(({ personal, value }) => ({ name: personal, value }))
    const indexes = values.length === 0 ? [] : await this.#settings.blindIndex(values)
    const blind = values.map((one, at) => ({ ...one, index: indexes[at] ?? new Uint8Array() }))
    return { query: await this.#withCallers(query), blind, text: formatQuery(query, (condition) => hex(blindOf(blind, condition))) }
  }

  async #withCallers(query: Query): Promise<Query> {
    const all = (list: readonly Query[]): Promise<Query[]> => Promise.all(list.map((one) => this.#withCallers(one)))
    if ('and' in query) return { and: await all(query.and) }
    if ('or' in query) return { or: await all(query.or) }
    if ('not' in query) return { not: await this.#withCallers(query.not) }
    return 'person' in query ? { field: 'caller', is: (await this.#settings.callersOf?.(query.person)) ?? [] } : query
  }

  /** Entries in their order. Throws `integrity-failed` for one that is not what was committed or what the index said. */
  search(prepared: PreparedQuery, { order, from, limit }: Page): Promise<SearchResult> {
    return this.#onSnapshot(prepared, async ({ plan, evaluation, snapshot, reach, salts }) => {
      const last = reach.searchedTo - 1
      const start = order === 'oldest' ? Math.max(from ?? 0, reach.archivedBefore) : Math.min(from ?? last, last)
      const indexes: number[] = []
      let next: number | undefined
      for await (const { segments, found } of chunksOf(evaluation, plan, snapshot, { order, start, most: MOST_SEGMENTS })) {
        for (const segment of segments) {
          const places = placesIn(found.get(segment), segment, order).filter((index) => (order === 'oldest' ? index >= start : index <= start))
          indexes.push(...places.slice(0, limit + 1 - indexes.length))
        }
        if (indexes.length > limit) {
          next = indexes[limit]
          break
        }
        const end = segments.at(-1)
        next = end === undefined ? undefined : order === 'oldest' ? (end + 1) * SEGMENT_ENTRIES : end * SEGMENT_ENTRIES - 1
        if (next !== undefined && (next < reach.archivedBefore || next > last)) next = undefined
      }
      const entries = await this.#settings.log.at(indexes.slice(0, limit))
      for (const { index, entry } of entries) {
        if (!matches(prepared.query, entry, index, salts))
          throw new Problem(
            'integrity-failed',
            `The index of the audit log says of entry ${index} what the entry does not. Run: gridseal audit reindex --check`,
          )
      }
      return { entries, ...reach, ...(next === undefined ? {} : { next }) }
    })
  }

  /**
   * Where the entries of a time lie, below `size`: the first of them and what follows the last; the same twice where there is none. Other entries lie between, and each
   * is to be looked at; what the index does not reach yet is among them.
   */
  placesOfTime({ since, until }: TimeRange, size: number): Promise<{ readonly from: number; readonly to: number }> {
    const plan: Plan = { sinceMs: since?.getTime() ?? Number.NEGATIVE_INFINITY, untilMs: until?.getTime() ?? Number.POSITIVE_INFINITY }
    return this.#onSnapshot({ query: EVERYTHING, text: '', blind: [] }, async ({ evaluation, snapshot, reach: { searchedTo } }) => {
      const end = Math.min(size, searchedTo)
      const first = async (order: Order): Promise<number | undefined> => {
        for await (const { segments, found } of chunksOf(
          evaluation,
          plan,
          { ...snapshot, to: end },
          { order, start: order === 'oldest' ? snapshot.from : end - 1 },
        )) {
          for (const segment of segments) {
            const index = placesIn(found.get(segment), segment, order).find((one) => one < end)
            if (index !== undefined) return index
          }
        }
        return undefined
      }
      const from = await first('oldest')
      if (searchedTo < size) return { from: from ?? searchedTo, to: size }
      return from === undefined ? { from: 0, to: 0 } : { from, to: ((await first('newest')) ?? from) + 1 }
    })
  }

  /** How many there are, by the values of a field. At most `most` groups are told. */
  count(prepared: PreparedQuery, by: FieldName, most: number): Promise<CountResult> {
    return this.#onSnapshot(prepared, async ({ plan, evaluation, snapshot, reach }) => {
      const { store } = this.#settings
      const counts = new Map<string, number>()
      const add = (value: string, count: number): void => void (count > 0 && counts.set(value, (counts.get(value) ?? 0) + count))
      const { number } = fieldOf(by)
      let total = 0
      if (isEverything(plan)) {
        total = reach.searchedTo - snapshot.from
        for (const { value, count } of await store.sums(number, segmentOf(snapshot.from), snapshot.sealed)) add(value, count)
        for (const open of snapshot.open) for (const { value, bits } of open.groups(by)) add(value, countOfBoth(bits, evaluation.valid(open.segment)))
      } else {
        // By its values, each found at once: without them the index would be read along the whole field for every chunk.
        const values = await store.values(number, WHOLE_FIELD, MOST_GROUPS + 1)
        if (values.length > MOST_GROUPS) throw new Problem('request-invalid', `${by} has more than ${MOST_GROUPS} values: count by another field.`)
        const chunks = chunksOf(evaluation, plan, snapshot, { order: 'newest', start: reach.searchedTo - 1, atOnce: GROUPS_CHUNK })
        // The database reads the next chunks while one is counted.
        const read = ahead(chunks, 4, async ({ found }) => {
          const segments = [...found.keys()].sort((a, b) => a - b)
          return { found, segments, rows: await store.rows(number, values, evaluation.sealedOf(segments)) }
        })
        for await (const { found, segments, rows } of read) {
          for (const bits of found.values()) total += countOf(bits)
          for (const row of rows) {
            const bits = found.get(row.segment)
            if (bits !== undefined) add(row.value, countOfStored(row.bits, bits))
          }
          for (const open of evaluation.openOf(segments)) {
            for (const { value, bits } of open.groups(by)) add(value, countOfBoth(bits, found.get(open.segment) ?? evaluation.valid(open.segment)))
          }
        }
      }
      const groups = [...counts].map(([value, count]) => ({ value, count })).sort((a, b) => b.count - a.count || (a.value < b.value ? -1 : 1))
      return { ...reach, total, groups: groups.slice(0, most), more: Math.max(0, groups.length - most) }
    })
  }

  /** How many there are, by time. Buckets lie side by side from the first to the last entry that is looked at, or as far as `since` and `until` say. */
  histogram(prepared: PreparedQuery, asked: { readonly bucketMs?: number | undefined }): Promise<CountResult> {
    return this.#onSnapshot(prepared, async ({ plan, evaluation, snapshot, reach }) => {
      const buckets = await this.#bucketsFor(prepared.query, snapshot, asked.bucketMs)
      const counts = Array.from({ length: buckets.count }, () => 0)
      let total = 0
      const add = (at: number, count: number): void => {
        total += count
        if (at >= 0 && at < counts.length) counts[at] = (counts[at] ?? 0) + count
      }
      for await (const { found } of chunksOf(evaluation, plan, snapshot, { order: 'newest', start: reach.searchedTo - 1, atOnce: GROUPS_CHUNK })) {
        const segments = [...found.keys()].sort((a, b) => a - b)
        const split: number[] = []
        for (const { segment, firstMs, lastMs } of await evaluation.spans(segments)) {
          const [first, last] = [bucketOf(buckets, firstMs), bucketOf(buckets, lastMs)]
          const bits = found.get(segment)
          if (first !== last) split.push(segment)
          else if (bits !== undefined) add(first, countOf(bits))
        }
        for (const [segment, times] of await evaluation.times(split)) {
          for (const index of placesIn(found.get(segment), 0, 'oldest')) add(bucketOf(buckets, times[index] ?? 0), 1)
        }
      }
      const groups = counts.map((count, at) => ({ value: new Date(buckets.firstMs + at * buckets.widthMs).toISOString(), count }))
      return { ...reach, total, groups, more: 0, bucketMs: buckets.widthMs }
    })
  }

  async #bucketsFor(query: Query, { from, sealed, open }: Snapshot, widthMs: number | undefined): Promise<Buckets> {
    const spans = open.flatMap(({ span }) => span ?? [])
    const stored = await this.#settings.store.wholeSpan(segmentOf(from), sealed)
    if (stored !== undefined) spans.push(stored)
    const { sinceMs, untilMs } = boundsOf(query)
    const firstMs = Math.max(sinceMs, Math.min(...spans.map((span) => span.firstMs)))
    const lastMs = Math.min(untilMs - 1, Math.max(...spans.map((span) => span.lastMs)))
    return bucketsOver(Number.isFinite(firstMs) && Number.isFinite(lastMs) ? { firstMs, lastMs: Math.max(firstMs, lastMs) } : undefined, widthMs)
  }

  /** Runs `work` on what the index is now; again where the index was thrown away, or the log pruned, meanwhile. */
  async #onSnapshot<Result>(prepared: PreparedQuery, work: (parts: Parts) => Promise<Result>): Promise<Result> {
    const { store, open } = this.#settings
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const position = await store.position()
      const isSame = async (): Promise<boolean> => {
        const now = await store.position()
        return now.generation === position.generation && now.from === position.from
      }
      try {
        const { segments, to } = await open.cover(position)
        const snapshot: Snapshot = { sealed: position.sealed, generation: position.generation, from: position.from, to, open: segments }
        const planner = new Planner(this.#settings, snapshot, prepared)
        const plan = await planner.plan(prepared.query)
        const reach = { searchedTo: to, size: position.size, archivedBefore: position.from }
        const result = await work({ plan, snapshot, evaluation: new Evaluation(store, snapshot), reach, salts: planner.salts })
        if (await isSame()) return result
      } catch (error) {
        // What was pruned meanwhile is missing.
        if (await isSame()) throw error
      }
    }
    throw new Problem('log-unavailable', 'The index of the audit log is being made again. Try again in a few seconds.')
  }
}

interface Parts {
  readonly plan: Plan
  readonly evaluation: Evaluation
  readonly snapshot: Snapshot
  readonly reach: Reach
  readonly salts: Salts
}

/** The most values of a field that entries are counted by: far more than there are callers. */
const MOST_GROUPS = 100_000

/** Segments whose groups or times are read at once. */
const GROUPS_CHUNK = 128

interface Walk {
  readonly order: Order
  /** The index to start at. */
  readonly start: number
  /** Segments of a chunk, at most, and of all chunks: not all of the log then. */
  readonly atOnce?: number
  readonly most?: number
}

/** Evaluates the plan in growing chunks of segments, in the order of the page. */
async function* chunksOf(
  evaluation: Evaluation,
  plan: Plan,
  { from, to }: Snapshot,
  { order, start, atOnce = LAST_CHUNK, most = Number.POSITIVE_INFINITY }: Walk,
): AsyncGenerator<{ readonly segments: Segments; readonly found: Found }> {
  const [begin, last] = [segmentOf(from), segmentOf(to - 1)]
  let at = segmentOf(start)
  let left = most
  for (let size = FIRST_CHUNK; left > 0 && at >= begin && at <= last; size = Math.min(size * 4, atOnce)) {
    const count = Math.min(size, left, order === 'oldest' ? last - at + 1 : at - begin + 1)
    const first = order === 'oldest' ? at : at - count + 1
    const rising = Array.from({ length: count }, (_, step) => first + step)
    const found = await evaluation.find(plan, rising)
    yield { segments: order === 'oldest' ? rising : rising.toReversed(), found }
    at = order === 'oldest' ? at + count : at - count
    left -= count
  }
}

/** Indexes of the log, in the page's order. */
function placesIn(bits: Bits | undefined, segment: number, order: Order): number[] {
  if (bits === undefined) return []
  const indexes = placesOf(bits).map((place) => segment * SEGMENT_ENTRIES + place)
  return order === 'oldest' ? indexes : indexes.toReversed()
}

const isEverything = (plan: Plan): boolean => 'and' in plan && plan.and.every(isEverything)

/** The times that every entry of the answer lies in, as far as the query says it at its top. */
function boundsOf(query: Query): { readonly sinceMs: number; readonly untilMs: number } {
  const parts = 'and' in query ? query.and : [query]
  return {
    sinceMs: Math.max(Number.NEGATIVE_INFINITY, ...parts.flatMap((part) => ('since' in part ? [parseTime(part.since)] : []))),
    untilMs: Math.min(Number.POSITIVE_INFINITY, ...parts.flatMap((part) => ('until' in part ? [parseTime(part.until)] : []))),
  }
}

import { andInto, type Bits, bitsAt, countOf, decodeBits, firstBits, noBits, orInto, SEGMENT_ENTRIES, segmentOf, without } from './bits.ts'
import { type FieldName, fieldOf } from './field.ts'
import { type SegmentIndex, timesOf } from './segment.ts'
import type { Segments, TermStore } from './term-store.ts'

/** A query whose patterns, networks and personal values are looked up: what is left is bits. */
export type Plan =
  | { readonly and: readonly Plan[] }
  | { readonly or: readonly Plan[] }
  | { readonly not: Plan }
  | { readonly field: FieldName; readonly values: readonly string[] }
  /** Indexes of the log, by segment. */
  | { readonly places: (segments: Segments) => Promise<readonly number[]> }
  /** From `sinceMs` on and before `untilMs`. */
  | { readonly sinceMs: number; readonly untilMs: number }

/** What a search stands on: it does not change while the log grows. */
export interface Snapshot {
  readonly sealed: number
  readonly generation: number
  /** Entries that are looked at: from the one on and below the other. */
  readonly from: number
  readonly to: number
  readonly open: readonly SegmentIndex[]
}

/** Bits of the segments that have any. */
export type Found = Map<number, Bits>

/** Evaluates plans on segments of a snapshot. What is rare is looked up first, and of the rest only the segments that are left. */
export class Evaluation {
  readonly #store: TermStore
  readonly #snapshot: Snapshot
  readonly #open: ReadonlyMap<number, SegmentIndex>

  constructor(store: TermStore, snapshot: Snapshot) {
    this.#store = store
    this.#snapshot = snapshot
    this.#open = new Map(snapshot.open.map((one) => [one.segment, one]))
  }

  async find(plan: Plan, segments: Segments): Promise<Found> {
    const found = await this.#find(plan, segments)
    for (const [segment, bits] of found) if (countOf(andInto(bits, this.valid(segment))) === 0) found.delete(segment)
    return found
  }

  /** The entries of the segment that the snapshot has. */
  valid(segment: number): Bits {
    const below = (index: number): Bits => firstBits(Math.max(0, Math.min(SEGMENT_ENTRIES, index - segment * SEGMENT_ENTRIES)))
    const bits = below(this.#snapshot.to)
    return this.#snapshot.from > segment * SEGMENT_ENTRIES ? without(bits, below(this.#snapshot.from)) : bits
  }

  sealedOf(segments: Segments): Segments {
    return segments.filter((segment) => segment < this.#snapshot.sealed)
  }

  openOf(segments: Segments): SegmentIndex[] {
    return segments.flatMap((segment) => this.#open.get(segment) ?? [])
  }

  /** The time of each entry of these segments. */
  async times(segments: Segments): Promise<Map<number, readonly number[]>> {
    const sealed = this.sealedOf(segments)
    const stored = sealed.length === 0 ? [] : await this.#store.times(sealed)
    return new Map<number, readonly number[]>([
      ...stored.map(({ segment, times }) => [segment, timesOf(times)] as const),
      ...this.openOf(segments).map((one) => [one.segment, one.times] as const),
    ])
  }

  async spans(segments: Segments): Promise<{ readonly segment: number; readonly firstMs: number; readonly lastMs: number }[]> {
    const open = this.openOf(segments).flatMap(({ segment, span }) => (span === undefined ? [] : [{ segment, ...span }]))
    return [...(await this.#store.spans(this.sealedOf(segments))), ...open]
  }

  #find(plan: Plan, segments: Segments): Promise<Found> {
    if (segments.length === 0) return Promise.resolve(new Map())
    if ('and' in plan) return this.#all(plan.and, segments)
    if ('or' in plan) return this.#any(plan.or, segments)
    if ('not' in plan) return this.#none(plan.not, segments)
    if ('field' in plan) return this.#having(plan.field, plan.values, segments)
    if ('places' in plan) return this.#at(plan.places, segments)
    return this.#within(plan.sinceMs, plan.untilMs, segments)
  }

  async #all(plans: readonly Plan[], segments: Segments): Promise<Found> {
    let found: Found = new Map(segments.map((segment) => [segment, this.valid(segment)]))
    for (const plan of [...plans].sort((a, b) => costOf(a) - costOf(b))) {
      const some = await this.#find(plan, [...found.keys()])
      const both: Found = new Map()
      for (const [segment, bits] of found) {
        const other = some.get(segment)
        if (other !== undefined && countOf(andInto(bits, other)) > 0) both.set(segment, bits)
      }
      found = both
    }
    return found
  }

  async #any(plans: readonly Plan[], segments: Segments): Promise<Found> {
    const found: Found = new Map()
    for (const some of await Promise.all(plans.map((plan) => this.#find(plan, segments)))) for (const [segment, bits] of some) merge(found, segment, bits)
    return found
  }

  async #none(plan: Plan, segments: Segments): Promise<Found> {
    const some = await this.#find(plan, segments)
    return new Map(segments.map((segment) => [segment, without(this.valid(segment), some.get(segment) ?? noBits())]))
  }

  async #having(name: FieldName, values: readonly string[], segments: Segments): Promise<Found> {
    const found: Found = new Map()
    for (const { segment, bits } of await this.#store.rows(fieldOf(name).number, values, this.sealedOf(segments))) merge(found, segment, decodeBits(bits))
    for (const open of this.openOf(segments)) found.set(open.segment, open.bits(name, values))
    return found
  }

  async #at(placesOf: (segments: Segments) => Promise<readonly number[]>, segments: Segments): Promise<Found> {
    const places = new Map<number, number[]>(segments.map((segment) => [segment, []]))
    for (const index of await placesOf(segments)) places.get(segmentOf(index))?.push(index % SEGMENT_ENTRIES)
    return new Map([...places].filter(([, some]) => some.length > 0).map(([segment, some]) => [segment, bitsAt(some)]))
  }

  async #within(sinceMs: number, untilMs: number, segments: Segments): Promise<Found> {
    const found: Found = new Map()
    const border: number[] = []
    for (const { segment, firstMs, lastMs } of await this.spans(segments)) {
      if (lastMs < sinceMs || firstMs >= untilMs) continue
      if (firstMs >= sinceMs && lastMs < untilMs) found.set(segment, this.valid(segment))
      else border.push(segment)
    }
    for (const [segment, times] of await this.times(border)) found.set(segment, bitsAt(times.flatMap((ms, at) => (ms >= sinceMs && ms < untilMs ? [at] : []))))
    return found
  }
}

function merge(found: Found, segment: number, bits: Bits): void {
  const known = found.get(segment)
  if (known === undefined) found.set(segment, bits)
  else orInto(known, bits)
}

/** Fields whose values have few entries each, as a rule. */
const RARE: readonly FieldName[] = ['object', 'parent', 'address']

/** What is looked up first. A pattern or network is of many values, and so is what is none of them. */
function costOf(plan: Plan): number {
  if ('places' in plan) return 0
  if ('sinceMs' in plan) return 1
  if ('field' in plan) return (RARE.includes(plan.field) ? 2 : 500) + plan.values.length
  return 'not' in plan ? 3000 : 2000
}

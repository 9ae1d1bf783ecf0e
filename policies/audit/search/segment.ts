import type { Entry } from '../entry.ts'
import { type Bits, bitsAt, encodeBits, noBits, orInto, SEGMENT_ENTRIES } from './bits.ts'
import { FIELD_NAMES, type FieldName, fieldOf, isValue } from './field.ts'

/** Of one segment, the entries that have a term. */
export interface TermRow {
  /** {@link Field.number}. */
  readonly field: number
  readonly value: string
  /** How many entries. */
  readonly count: number
  /** As {@link encodeBits} stores them. */
  readonly bits: Uint8Array
}

/** The first and last time of a segment's entries, in milliseconds since 1970: entries are not in the order of their clocks. */
export interface Span {
  readonly firstMs: number
  readonly lastMs: number
}

/** A whole segment, as it is stored. */
export interface SealedSegment extends Span {
  readonly segment: number
  /** The time of each entry: 6 bytes, big-endian, milliseconds since 1970. */
  readonly times: Uint8Array
  readonly terms: readonly TermRow[]
}

/** The index of one segment, made from its entries in their order. */
export class SegmentIndex {
  readonly segment: number
  readonly #times: number[] = []
  readonly #terms = new Map<FieldName, Map<string, number[]>>()
  readonly #addresses = new Map<string, readonly string[]>()
  readonly #pruned: number

  /** `pruned`: so many of its first entries were pruned. They have no terms, and the time of the first that is there. */
  constructor(segment: number, pruned = 0) {
    this.segment = segment
    this.#pruned = pruned
  }

  /** Those that were pruned, and those that were added. */
  get count(): number {
    return Math.max(this.#pruned, this.#times.length)
  }

  add(entry: Entry): void {
    const place = this.count
    if (place === SEGMENT_ENTRIES) throw new RangeError('the segment is full')
    const timeMs = Math.max(0, Date.parse(entry.time))
    while (this.#times.length <= place) this.#times.push(timeMs)
    for (const name of FIELD_NAMES) {
      for (const value of this.#valuesOf(name, entry)) {
        const terms = this.#termsOf(name)
        const places = terms.get(value)
        if (places !== undefined) {
          if (places.at(-1) !== place) places.push(place)
        } else if (isValue(value)) terms.set(value, [place])
      }
    }
  }

  /** Addresses are few, and long numbers to reckon with. */
  #valuesOf(name: FieldName, entry: Entry): readonly string[] {
    const { address } = entry.caller
    if (name !== 'address' || address === undefined) return fieldOf(name).of(entry)
    let values = this.#addresses.get(address)
    if (values === undefined) this.#addresses.set(address, (values = fieldOf(name).of(entry)))
    return values
  }

  #termsOf(name: FieldName): Map<string, number[]> {
    let terms = this.#terms.get(name)
    if (terms === undefined) this.#terms.set(name, (terms = new Map()))
    return terms
  }

  /** Those with one of the values. */
  bits(name: FieldName, values: readonly string[]): Bits {
    const terms = this.#terms.get(name)
    return values.reduce((bits, value) => orInto(bits, bitsAt(terms?.get(value) ?? [])), noBits())
  }

  /** Each value of a field with those that have it. */
  groups(name: FieldName): { readonly value: string; readonly bits: Bits }[] {
    return [...(this.#terms.get(name) ?? [])].map(([value, places]) => ({ value, bits: bitsAt(places) }))
  }

  get times(): readonly number[] {
    return this.#times
  }

  /** Undefined while it has no entry. */
  get span(): Span | undefined {
    if (this.#times.length === 0) return undefined
    return { firstMs: this.#times.reduce((a, b) => Math.min(a, b)), lastMs: this.#times.reduce((a, b) => Math.max(a, b)) }
  }

  /** Throws a RangeError before the segment is full: what is stored is not changed. */
  seal(): SealedSegment {
    const { span } = this
    if (span === undefined || this.count !== SEGMENT_ENTRIES) throw new RangeError('the segment is not full')
    const times = Buffer.alloc(6 * SEGMENT_ENTRIES)
    this.#times.forEach((ms, at) => times.writeUIntBE(ms, at * 6, 6))
    const terms = [...this.#terms].flatMap(([name, values]) =>
      [...values].map(([value, places]) => ({ field: fieldOf(name).number, value, count: places.length, bits: encodeBits(places) })),
    )
    return { segment: this.segment, ...span, times, terms }
  }
}

export const timesOf = (stored: Uint8Array): number[] => {
  const view = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength)
  return Array.from({ length: Math.floor(view.length / 6) }, (_, at) => view.readUIntBE(at * 6, 6))
}

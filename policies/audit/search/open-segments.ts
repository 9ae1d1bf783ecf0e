import { SEGMENT_ENTRIES } from './bits.ts'
import { SegmentIndex } from './segment.ts'
import { extendSegment, prunedOf, type ReadEntries } from './segment-reader.ts'
import type { IndexPosition } from './term-store.ts'

/** The most segments that are indexed in memory: what lies further behind the log's end is found once the leader has indexed it. */
export const MOST_OPEN = 4

/**
 * The end of the log, which is not in the index yet: indexed in memory, by each process for itself. So entries are found as soon as they are in the tree, and the
 * index is written once a segment.
 */
export class OpenSegments {
  readonly #read: ReadEntries
  #segments: SegmentIndex[] = []
  #running: Promise<unknown> = Promise.resolve()

  constructor(read: ReadEntries) {
    this.#read = read
  }

  /** The segments behind the sealed ones as far as the tree, and this, reach. What others add meanwhile lies behind `to`. */
  async cover({ sealed, size, from }: IndexPosition): Promise<{ readonly segments: readonly SegmentIndex[]; readonly to: number }> {
    const to = Math.min(size, (sealed + MOST_OPEN) * SEGMENT_ENTRIES)
    // One after another: two that extended the same segment would add its entries twice.
    const mine = this.#running.then(() => this.#extend(sealed, to, from))
    this.#running = mine.catch(() => undefined)
    return { segments: await mine, to }
  }

  async #extend(sealed: number, to: number, from: number): Promise<readonly SegmentIndex[]> {
    const known = new Map(this.#segments.map((one) => [one.segment, one]))
    const segments: SegmentIndex[] = []
    for (let segment = sealed; segment * SEGMENT_ENTRIES < to; segment += 1) {
      const index = known.get(segment) ?? new SegmentIndex(segment, prunedOf(segment, from))
      try {
        await extendSegment(index, to, this.#read)
      } catch (error) {
        // It may have ended between two entries, or hold one that is not what was committed.
        this.#segments = []
        throw error
      }
      segments.push(index)
    }
    this.#segments = segments
    return segments
  }
}

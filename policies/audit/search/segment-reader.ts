import { setImmediate as turn } from 'node:timers/promises'
import { type Entry, EntryError } from '../entry.ts'
import { SEGMENT_ENTRIES } from './bits.ts'
import { SegmentIndex } from './segment.ts'

/** Entries from..to (to not included) as they stand in the groups, in their order. */
export type ReadEntries = (from: number, to: number) => Promise<readonly { readonly index: number; readonly bytes: Uint8Array }[]>

/** Entries read at once, and entries after which the event loop runs. */
const PAGE = 1024
const SLICE = 128

/** What the index is made of is not checked as an answer is: what is found by it is. For who has checked the bytes otherwise, and reads many. */
export function readUnchecked(bytes: Uint8Array): Entry {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')) as Entry
  } catch (error) {
    throw new EntryError('the entry is not JSON', { cause: error })
  }
}

/** Adds to a segment its entries up to the index `to` (not included), from where it stands. Throws an EntryError, or `integrity-failed`, where one is not what was committed. */
export async function extendSegment(index: SegmentIndex, to: number, read: ReadEntries): Promise<void> {
  const first = index.segment * SEGMENT_ENTRIES
  const end = Math.min(to, first + SEGMENT_ENTRIES)
  while (first + index.count < end) {
    const from = first + index.count
    const entries = await read(from, Math.min(from + PAGE, end))
    for (const [at, { bytes }] of entries.entries()) {
      if (at % SLICE === SLICE - 1) await turn()
      index.add(readUnchecked(bytes))
    }
  }
}

/** How many of the segment's first entries are before an index. */
export const prunedOf = (segment: number, from: number): number => Math.max(0, Math.min(SEGMENT_ENTRIES, from - segment * SEGMENT_ENTRIES))

/** The index of a whole segment. `from`: entries before it were pruned. */
export async function readSegment(segment: number, read: ReadEntries, from: number): Promise<SegmentIndex> {
  const index = new SegmentIndex(segment, prunedOf(segment, from))
  await extendSegment(index, (segment + 1) * SEGMENT_ENTRIES, read)
  return index
}

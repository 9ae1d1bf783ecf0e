import type { TermRange } from './field.ts'
import type { SealedSegment, Span, TermRow } from './segment.ts'

/** How far the log and its index are. */
export interface IndexPosition {
  /** Segments in the index: those below this number. */
  readonly sealed: number
  /** Grows when the index is thrown away. */
  readonly generation: number
  /** Entries in the tree. */
  readonly size: number
  /** The first entry that is there: those before it were pruned, and with them the segments that had no others. */
  readonly from: number
}

/** Segments, rising. */
export type Segments = readonly number[]

/**
 * What entries are searched by: derived from them, segment by segment, and never changed but thrown away whole. Not trusted: a row too many makes an answer
 * fail, since what is found is checked by its bytes; a row too few hides entries, which only the comparison with the entries shows ({@link checkIndex}).
 */
export interface TermStore {
  position(): Promise<IndexPosition>
  /** Adds the next segment of this generation. False: somebody else has, or the index was thrown away. */
  seal(segment: SealedSegment, generation: number): Promise<boolean>
  /** Of these segments, the rows of a field's values. */
  rows(field: number, values: readonly string[], segments: Segments): Promise<{ readonly segment: number; readonly value: string; readonly bits: Uint8Array }[]>
  /** How many entries of the segments from `first` on and below `sealed` have each of a field's values. */
  sums(field: number, first: number, sealed: number): Promise<{ readonly value: string; readonly count: number }[]>
  /** The values of a field in a range, at most `limit`, by their bytes. */
  values(field: number, range: TermRange, limit: number): Promise<string[]>
  spans(segments: Segments): Promise<(Span & { readonly segment: number })[]>
  times(segments: Segments): Promise<{ readonly segment: number; readonly times: Uint8Array }[]>
  /** The span of all segments from `first` on and below `sealed`. Undefined when there is none. */
  wholeSpan(first: number, sealed: number): Promise<Span | undefined>
  /** Throws the index away. Whoever leads makes it again, of the entries that are there. */
  clear(): Promise<void>
  /** Of one segment, the stored rows of these terms, in their order: undefined for one that is not there. */
  stored(segment: number, terms: readonly Pick<TermRow, 'field' | 'value'>[]): Promise<(Pick<TermRow, 'count' | 'bits'> | undefined)[]>
  /** How many rows a field has, by segment: page by page, each of which has some of a segment's. Reads all of them. */
  rowCounts(field: number): AsyncIterable<ReadonlyMap<number, number>>
  /** The values of a field in these segments: page by page. Reads all rows of the field. */
  valuesIn(field: number, segments: Segments): AsyncIterable<readonly { readonly segment: number; readonly value: string }[]>
}

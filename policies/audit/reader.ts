import type { Entry } from './entry.ts'
import type { MinimumIndex } from './prune/prune-record.ts'
import type { Tile } from './tiles.ts'

/** An entry as it was committed, with its place in the tree. */
export interface FoundEntry {
  readonly index: number
  /** The exact bytes that are hashed. */
  readonly bytes: Uint8Array
  readonly entry: Entry
}

export interface EntryFilter {
  /** Index to start at. */
  readonly from: number
  /** At most so many. */
  readonly limit: number
  /** Absent: of all. */
  readonly operationId?: string
}

/**
 * What auditors read: entries that are in the tree, at most a second behind what is committed. Not trusted: an index row that does not fit its
 * entry, an entry that was edited and one that is gone are the problem `integrity-failed`; that nothing was left out only the verification of an export shows.
 */
export interface LogReader {
  /** Entries below it were pruned: who asks for one of them gets the problem `archived`, and by an operation's id none of them is found. */
  readonly minimumIndex: MinimumIndex
  /** In order of their index, those of one operation or all. What else is searched by: search/searcher.ts. */
  search(filter: EntryFilter): Promise<FoundEntry[]>
  /** Entries from..to (to not included), without gaps. */
  read(from: number, to: number): Promise<{ readonly index: number; readonly bytes: Uint8Array }[]>
  /** The last signed checkpoint, a note. */
  lastCheckpoint(): Promise<string | undefined>
  /** Checkpoints over more than `from` and at most `to` entries, by size. */
  checkpoints(from: number, to: number): Promise<{ readonly size: number; readonly note: string }[]>
  /** Those of these tiles that are there, as they stand: a proof made of them is to be checked against the checkpoint. */
  tiles(places: readonly { readonly level: number; readonly index: number }[]): Promise<Tile[]>
}

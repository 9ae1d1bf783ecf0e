import type { EntryRow, Head, StoredGroup } from '../audit/sequencer-store.ts'
import type { PruneRecord } from '../audit/prune/prune-record.ts'
import type { Tile } from '../audit/tiles.ts'
import type { RowHead } from './row-heads.ts'

/** A personal value as it stands. */
export interface StoredPersonal {
  readonly writer: number
  readonly epoch: number
  readonly seq: number
  readonly name: string
  readonly value: string
  readonly salt: Uint8Array
}

/** The tree as it was at one moment. */
export interface TreeState {
  readonly head: Head
  /** The right-most tile of each level. */
  readonly partialTiles: readonly Tile[]
}

/** A writer's epoch, and a sequence in it. */
export interface EpochSequence {
  readonly writer: number
  readonly epoch: number
  readonly seq: number
}

export interface SequenceRange {
  readonly writer: number
  readonly epoch: number
  readonly from: number
  readonly to: number
}

/** A group, and where the next one of its epoch begins. */
export interface FollowedGroup extends StoredGroup {
  readonly nextSeq: number | undefined
}

/** The log as the database has it, for who believes nothing of it. */
export interface LogSource {
  tree(): Promise<TreeState>
  /** The same with how far each epoch was sequenced then. */
  sequencedTree(): Promise<TreeState & { readonly sequenced: readonly EpochSequence[] }>
  /** Rows of `audit_entries` from..to (to not included) as they stand, in their order; those that there are. */
  entries(from: number, to: number): Promise<EntryRow[]>
  /** Those of these groups that there are. */
  groups(places: readonly { readonly writer: number; readonly epoch: number; readonly groupSeq: number }[]): Promise<FollowedGroup[]>
  personal(places: readonly { readonly writer: number; readonly epoch: number; readonly seq: number }[]): Promise<StoredPersonal[]>
  /** Names of values that were erased, with the places of their entries. */
  erased(places: readonly { readonly writer: number; readonly epoch: number; readonly seq: number }[]): Promise<Omit<StoredPersonal, 'value' | 'salt'>[]>
  tiles(places: readonly { readonly level: number; readonly index: number }[]): Promise<Tile[]>
  /** Checkpoints over more than `from` and at most `to` entries, by size. Without `to`: over however many. */
  checkpoints(from: number, to?: number): Promise<{ readonly size: number; readonly note: string }[]>
  /** Groups that are committed and not in the tree, in the order of their commits; at most `limit`. */
  unsequenced(limit: number): Promise<StoredGroup[]>
  /** Epochs with groups that no leader will ever see, and where those begin: said to be drained, or taken by nobody. At most `limit`. */
  hiddenEpochs(limit: number): Promise<EpochSequence[]>
  /** Groups that begin in these ranges of sequences (`to` not included); at most 10. */
  groupsWithin(ranges: readonly SequenceRange[]): Promise<EpochSequence[]>
  /** Of each of these epochs the last group that ends before or at its sequence. */
  groupsBefore(epochs: readonly EpochSequence[]): Promise<StoredGroup[]>
  /** What was pruned last, by a record whose MAC is the token's. */
  pruned(): Promise<PruneRecord | undefined>
  /** The row heads of a prune, in the order of their digest. */
  heads(before: number): AsyncIterable<readonly RowHead[]>
  /** Indexes of rows of the index that lie outside a tree of this size; at most 10. */
  strayEntries(size: number): Promise<number[]>
}

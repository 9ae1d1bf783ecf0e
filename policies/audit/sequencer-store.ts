import type { GroupHead } from './group.ts'
import type { Edge } from './merkle.ts'
import type { Tile } from './tiles.ts'

/** A committed group that is not sequenced, without its bytes. */
export interface PendingGroup {
  readonly writer: number
  readonly epoch: number
  readonly firstSeq: number
  readonly count: number
  readonly bytes: number
  /** Microseconds since 1970, by the database's clock, when it was inserted. */
  readonly createdAtUs: number
}

/** How far an epoch is sequenced, and what waits. */
export interface PendingEpoch {
  readonly writer: number
  readonly epoch: number
  readonly nextSeq: number
  /** The chain after the last sequenced group; undefined before the first. */
  readonly chain: Uint8Array | undefined
  /** A newer epoch holds the slot, so nothing is added to this one. */
  readonly superseded: boolean
  /** In order of their sequence. */
  readonly groups: readonly PendingGroup[]
  /** There are more groups than were read. */
  readonly more: boolean
}

export interface StoredGroup extends GroupHead {
  readonly bundle: Uint8Array
  readonly mac: Uint8Array
}

export interface Head {
  readonly edge: Edge
  readonly root: Uint8Array
}

/** Where an entry stands, and whose it is. */
export interface EntryRow {
  readonly index: number
  readonly operationId: string
  readonly writer: number
  readonly epoch: number
  readonly seq: number
  /** The first sequence of its group. */
  readonly groupSeq: number
}

export interface SequencedEpoch {
  readonly writer: number
  readonly epoch: number
  readonly nextSeq: number
  readonly chain: Uint8Array
  readonly drained: boolean
}

/** One round's work, committed whole. */
export interface Round {
  readonly from: Head
  readonly to: Head
  readonly entries: readonly EntryRow[]
  readonly fullTiles: readonly Tile[]
  readonly partialTiles: readonly Tile[]
  readonly sequenced: readonly SequencedEpoch[]
}

/**
 * What the sequencer keeps. Not trusted: groups are believed by their MACs, the tree by the checkpoint's signature. Who changes it can stop the log, and no more.
 * All reads and writes go over the leader's one connection; once it is lost every call throws, and {@link lead} starts again.
 */
export interface SequencerStore {
  /** Takes the leadership if it is free, with a new epoch. */
  lead(): Promise<boolean>
  /** Whether it is held, as far as is known here: false once the connection is lost. */
  readonly isLeading: boolean
  /** Gives it up, and with it every connection. Never throws. */
  yield(): Promise<void>
  head(): Promise<Head>
  /** Every epoch that is not drained. One statement, so that its snapshot is one. */
  pending(): Promise<PendingEpoch[]>
  groups(heads: readonly Pick<GroupHead, 'writer' | 'epoch' | 'firstSeq'>[]): Promise<StoredGroup[]>
  partialTiles(): Promise<Tile[]>
  tiles(places: readonly { readonly level: number; readonly index: number }[]): Promise<Tile[]>
  /** Commits by compare-and-swap of size, root and leader epoch. False: another leader, or a changed head; nothing was written. */
  commit(round: Round): Promise<boolean>
  lastCheckpoint(): Promise<string | undefined>
  /** Throws when another leader has begun since {@link lead}: what was read and committed until then may be built on, and nothing is to be signed any more. */
  assertLeading(): Promise<void>
  /** Throws as {@link assertLeading}, and then nothing was published. */
  publish(size: number, note: string): Promise<void>
  /** The groups that hold entries from..to in the order of the log, and how many of each group's entries lie before and in the range. */
  sequencedGroups(
    from: number,
    to: number,
  ): Promise<{ readonly group: StoredGroup; readonly previousChain: Uint8Array | undefined; readonly skip: number; readonly take: number }[]>
  /** Whether anything waits to be sequenced, seen by another connection than the leader's. */
  hasPending(): Promise<boolean>
}

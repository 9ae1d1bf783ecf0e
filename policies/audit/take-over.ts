import { equalBytes } from '../../core/bytes.ts'
import { type Checkpoint, isLost, type LogKey, NoteError, ofUnknownShard, openSuccession, type ReplacedKey } from './checkpoint.ts'
import { decodeBundle, groupMessage } from './group.ts'
import type { HeadAnchor } from './head-anchor.ts'
import { LogFault } from './log-fault.ts'
import { append, type Edge, EMPTY_EDGE, edgeAt, leafHash, rootOf } from './merkle.ts'
import { followChain, macFault } from './round.ts'
import type { Head, SequencerStore } from './sequencer-store.ts'
import { storedNodes } from './stored-nodes.ts'

/** Groups as they are put to the token. */
export type CheckGroups = (groups: readonly { readonly message: Uint8Array; readonly mac: Uint8Array }[]) => Promise<boolean[]>

const PAGE = 1000
const RECOVER = 'gridseal audit recover'

export interface SignedHead extends Checkpoint {
  readonly note: string
}

/**
 * Checks the stored tree before a leader builds on it: it extends every checkpoint that is known to be signed (the database's last and each anchor's), and
 * what it holds beyond them are groups that the token MACed. Throws a {@link LogFault}. Gives the head and the last signed checkpoint.
 */
export async function checkTree(deps: {
  readonly store: SequencerStore
  readonly anchors: readonly HeadAnchor[]
  readonly key: LogKey
  /** Keys whose last checkpoint may still be the last one. Default none. */
  readonly replaced?: readonly ReplacedKey[]
  readonly checkGroups: CheckGroups
}): Promise<{ readonly head: Head; readonly signed: SignedHead | undefined }> {
  const { store, anchors, key, replaced = [] } = deps
  const head = await store.head()
  const { size } = head.edge
  const published = { name: 'the table audit_checkpoints', read: () => store.lastCheckpoint() }
  let signed: SignedHead | undefined
  for (const anchor of [...anchors, published]) {
    const { name } = anchor
    const note = await anchor.read()
    // What a recovery gave up may still be kept outside the database.
    if (note === undefined || (anchor !== published && isLost(note, { key, replaced }))) continue
    const checkpoint = openStored(note, { key, replaced }, name)
    if (checkpoint.size > size) throw behind(name, checkpoint.size, size)
    if (!equalBytes(rootOf(await storedEdge(store, checkpoint.size)), checkpoint.root)) {
      throw new LogFault(
        'history-changed',
        `the first ${checkpoint.size} entries of the database are not those that were signed (${name}). The tree was changed, or the database is another log's.`,
      )
    }
    if (signed === undefined || checkpoint.size > signed.size) signed = { ...checkpoint, note }
  }
  const rebuilt = await rebuild(deps, signed === undefined ? EMPTY_EDGE : await storedEdge(store, signed.size), size)
  if (!equalBytes(rootOf(rebuilt), head.root) || !sameEdge(rebuilt, head.edge)) {
    throw new LogFault(
      'head-inconsistent',
      `the head over ${size} entries does not follow from the entries after the last signed checkpoint (${signed?.size ?? 0}). Someone changed audit_head or audit_groups.`,
    )
  }
  return { head, signed }
}

/** `where` knows of more entries than the database. */
export const behind = (where: string, size: number, databaseSize: number): LogFault =>
  new LogFault(
    'database-behind',
    `${where} holds a signed checkpoint over ${size} entries, and the database has ${databaseSize}. The database was restored from an older copy, or entries were removed: ` +
      'what was acknowledged since is missing, and going on would sign a second history. Restore the newer database; where it is lost for good: ' +
      `${RECOVER}.`,
  )

function openStored(note: string, { key, replaced }: { readonly key: LogKey; readonly replaced: readonly ReplacedKey[] }, where: string): Checkpoint {
  try {
    return openSuccession(note, key, replaced)
  } catch (error) {
    const other = ofUnknownShard(note, { key, replaced })
    if (other !== undefined)
      throw new LogFault(
        'database-behind',
        `${where} holds a checkpoint of ${other.origin}, which this log became by a recovery that the database does not know: it was restored from a copy of before. ` +
          `Restore a later one; where there is none: ${RECOVER}.`,
        { cause: error },
      )
    const reason = error instanceof NoteError ? ` (${error.message})` : ''
    throw new LogFault(
      'checkpoint-invalid',
      `the checkpoint in ${where} is not signed by this log's key ${key.vkey}, nor by one before it that might have${reason}. It was changed, or the token is another one.`,
      { cause: error },
    )
  }
}

/** The edge at a size, from the stored tiles. Throws a {@link LogFault} where they are not there. */
export async function storedEdge(store: SequencerStore, size: number): Promise<Edge> {
  const nodeAt = await storedNodes(
    (places) => store.tiles(places),
    (node) => edgeAt(size, node),
  )
  try {
    return edgeAt(size, nodeAt)
  } catch (error) {
    throw new LogFault('history-changed', `tiles of the first ${size} entries are missing`, { cause: error })
  }
}

/** The edge at `size`, from `edge` and the groups after it, each believed by its MAC. */
async function rebuild({ store, checkGroups }: { store: SequencerStore; checkGroups: CheckGroups }, edge: Edge, size: number): Promise<Edge> {
  let now = edge
  while (now.size < size) {
    const parts = await store.sequencedGroups(now.size, Math.min(now.size + PAGE, size))
    const valid = await checkGroups(parts.map(({ group }) => ({ message: groupMessage(group), mac: group.mac })))
    for (const [at, { group, previousChain, skip, take }] of parts.entries()) {
      if (valid[at] !== true) throw macFault(group)
      followChain(group, previousChain)
      now = append(
        now,
        decodeBundle(group.bundle)
          .slice(skip, skip + take)
          .map(leafHash),
      )
    }
    if (parts.length === 0) throw new LogFault('head-inconsistent', `entry ${now.size} is missing from audit_entries`)
  }
  return now
}

const sameEdge = (a: Edge, b: Edge): boolean => a.size === b.size && equalBytes(Buffer.concat(a.nodes), Buffer.concat(b.nodes))

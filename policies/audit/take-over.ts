import { equalBytes } from '../../core/bytes.ts'
import type { CheckpointFile } from './checkpoint-file.ts'
import { type Checkpoint, type LogKey, NoteError, openSuccession, type ReplacedKey } from './checkpoint.ts'
import { decodeBundle, groupMessage } from './group.ts'
import { LogFault } from './log-fault.ts'
import { append, type Edge, EMPTY_EDGE, edgeAt, leafHash, type NodeAt, rootOf } from './merkle.ts'
import { followChain, macFault } from './round.ts'
import type { Head, SequencerStore } from './sequencer-store.ts'
import { nodesOf, placeOf } from './tiles.ts'

/** Groups as they are put to the token. */
export type CheckGroups = (groups: readonly { readonly message: Uint8Array; readonly mac: Uint8Array }[]) => Promise<boolean[]>

const PAGE = 1000

/**
 * Checks the stored tree before a leader builds on it: it extends every checkpoint that is known to be signed (the database's last and the file's), and
 * what it holds beyond them are groups that the token MACed. Throws a {@link LogFault}. Gives the head and the last signed checkpoint.
 */
export async function checkTree(deps: {
  readonly store: SequencerStore
  readonly file: CheckpointFile
  readonly key: LogKey
  /** Keys whose last checkpoint may still be the last one. Default none. */
  readonly replaced?: readonly ReplacedKey[]
  readonly checkGroups: CheckGroups
}): Promise<{ readonly head: Head; readonly signed: Checkpoint | undefined }> {
  const { store, file, key, replaced = [] } = deps
  const head = await store.head()
  const { size } = head.edge
  const published = openStored(await store.lastCheckpoint(), { key, replaced }, 'the table audit_checkpoints')
  const kept = openStored(await file.read(), { key, replaced }, 'the checkpoint file')
  for (const [checkpoint, where] of [
    [kept, 'checkpoint file'],
    [published, 'table audit_checkpoints'],
  ] as const) {
    if (checkpoint !== undefined && checkpoint.size > size) {
      throw new LogFault(
        'database-behind',
        `the ${where} holds a signed checkpoint over ${checkpoint.size} entries, and the database has ${size}. The database was restored from an older copy, or entries were removed: ` +
          'what was acknowledged since is missing, and going on would sign a second history. Restore the newer database.',
      )
    }
    if (checkpoint !== undefined) {
      const edge = await storedEdge(store, checkpoint.size)
      if (!equalBytes(rootOf(edge), checkpoint.root)) {
        throw new LogFault(
          'history-changed',
          `the first ${checkpoint.size} entries of the database are not those that were signed (${where}). The tree was changed, or the database is another log's.`,
        )
      }
    }
  }
  const signed = [published, kept].reduce((a, b) => ((b?.size ?? -1) > (a?.size ?? -1) ? b : a), undefined)
  const rebuilt = await rebuild(deps, signed === undefined ? EMPTY_EDGE : await storedEdge(store, signed.size), size)
  if (!equalBytes(rootOf(rebuilt), head.root) || !sameEdge(rebuilt, head.edge)) {
    throw new LogFault(
      'head-inconsistent',
      `the head over ${size} entries does not follow from the entries after the last signed checkpoint (${signed?.size ?? 0}). Someone changed audit_head or audit_groups.`,
    )
  }
  return { head, signed }
}

function openStored(
  note: string | undefined,
  { key, replaced }: { readonly key: LogKey; readonly replaced: readonly ReplacedKey[] },
  where: string,
): Checkpoint | undefined {
  if (note === undefined) return undefined
  try {
    return openSuccession(note, key, replaced)
  } catch (error) {
    const reason = error instanceof NoteError ? ` (${error.message})` : ''
    throw new LogFault(
      'checkpoint-invalid',
      `the checkpoint in ${where} is not signed by this log's key ${key.vkey}, nor by one before it that might have${reason}. It was changed, or the token is another one.`,
      { cause: error },
    )
  }
}

/** The edge at a size, from the stored tiles. */
async function storedEdge(store: SequencerStore, size: number): Promise<Edge> {
  const places: { level: number; index: number }[] = []
  const note: NodeAt = (level, index) => {
    const { level: tileLevel, tile } = placeOf(level, index)
    places.push({ level: tileLevel, index: tile })
    return new Uint8Array(32)
  }
  edgeAt(size, note)
  const tiles = new Map((await store.tiles(places)).map((tile) => [`${tile.level}/${tile.index}`, tile.hashes]))
  try {
    return edgeAt(
      size,
      nodesOf((level, index) => tiles.get(`${level}/${index}`)),
    )
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

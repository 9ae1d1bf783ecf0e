import { equalBytes } from '../../core/bytes.ts'
import { type Checkpoint, isLost, isSignedBy, type LogKey, ofUnknownShard, openCheckpoint, type ReplacedKey } from './checkpoint.ts'
import { LogFault } from './log-fault.ts'
import { rootOf } from './merkle.ts'
import type { SequencerStore } from './sequencer-store.ts'
import { type CheckGroups, checkTree, type SignedHead, storedEdge } from './take-over.ts'

/** A checkpoint that is kept outside the database, and where. */
export interface KeptNote {
  readonly where: string
  readonly note: string
}

/** How much the log had signed, as somebody says. */
export interface ToldSize {
  readonly where: string
  readonly size: number
}

/** What the database lacks of what the log has signed. */
export interface Loss {
  /** Entries in the database. */
  readonly size: number
  /** Entries under the largest checkpoint that they fulfil. */
  readonly logSize: number
  /** Entries under the largest checkpoint that is known; not more than `logSize` where nothing is lost. */
  readonly lostSize: number
  /** Its root, where more than its size is known. */
  readonly lostRoot?: Uint8Array
  /** What is known of the log, the largest last. */
  readonly told: readonly ToldSize[]
  /** Checkpoints of what this log became by a recovery that the database does not know. */
  readonly otherShards: readonly { readonly where: string; readonly origin: string }[]
}

/**
 * Compares the database with every checkpoint of the log that is kept elsewhere (`kept`) or told of (`tell`: sizes, by witnesses that are shown the last signed one). The database has to be the beginning
 * of what was signed: throws a {@link LogFault} where it is anything else. Then an older copy of it is to be restored.
 */
export async function findLoss({
  store,
  key,
  replaced,
  checkGroups,
  kept,
  tell,
}: {
  readonly store: SequencerStore
  readonly key: LogKey
  readonly replaced: readonly ReplacedKey[]
  readonly checkGroups: CheckGroups
  readonly kept: readonly KeptNote[]
  readonly tell: (signed: SignedHead | undefined) => Promise<readonly ToldSize[]>
}): Promise<Loss> {
  const { head, signed } = await checkTree({ store, anchors: [], key, replaced, checkGroups })
  const told = await tell(signed)
  const { size } = head.edge
  let logSize = signed?.size ?? 0
  let largest: { readonly size: number; readonly root?: Uint8Array } = { size: logSize }
  const known: ToldSize[] = [{ where: 'the database', size: logSize }, ...told]
  const otherShards: { readonly where: string; readonly origin: string }[] = []
  for (const { where, note } of kept.filter((one) => !isLost(one.note, { key, replaced }))) {
    const other = ofUnknownShard(note, { key, replaced })
    if (other !== undefined) {
      otherShards.push({ where, origin: other.origin })
      continue
    }
    const checkpoint = openKept(note, where, { key, replaced })
    known.push({ where, size: checkpoint.size })
    if (checkpoint.size > largest.size) largest = checkpoint
    if (checkpoint.size > size) continue
    if (!equalBytes(rootOf(await storedEdge(store, checkpoint.size)), checkpoint.root))
      throw new LogFault(
        'history-changed',
        `the first ${checkpoint.size} entries of the database are not those that were signed (${where}): it is no older copy of what is lost, and cannot go on in its place. Restore one that is.`,
      )
    logSize = Math.max(logSize, checkpoint.size)
  }
  for (const { size: by } of told) if (by > largest.size) largest = { size: by }
  return {
    size,
    logSize,
    lostSize: largest.size,
    ...(largest.root === undefined ? {} : { lostRoot: largest.root }),
    told: known.toSorted((a, b) => a.size - b.size),
    otherShards,
  }
}

/** By any key of the origin in force: a key may have signed on after the database was copied, which knows only how far it was then. */
function openKept(note: string, where: string, { key, replaced }: { readonly key: LogKey; readonly replaced: readonly ReplacedKey[] }): Checkpoint {
  const signer = [key, ...replaced.map((old) => old.key)].find((one) => isSignedBy(note, one))
  const checkpoint = signer && openCheckpoint(note, signer)
  const before = replaced.find((old) => old.key === signer && old.key.name !== key.name)
  if (checkpoint === undefined || (before !== undefined && checkpoint.size > before.lastSize))
    throw new LogFault('checkpoint-invalid', `the checkpoint in ${where} is not by a key of this log, or over more than one signed under an origin of before.`)
  return checkpoint
}

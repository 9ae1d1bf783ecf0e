import { base64 } from '../../../core/bytes.ts'
import type { OperationId } from '../../../core/ids.ts'
import { Problem } from '../../../core/problem.ts'
import type { Row } from '../../../core/row.ts'

/**
 * Entries below an index left the database for an archive. Sealed: who owns the database cannot make one up, and so not explain away entries that are gone. The log
 * has an event of it, which names the row.
 */
export interface PruneRecord {
  /** The first entry that is kept: a multiple of 256. */
  readonly before: number
  /** Of the event in the log. */
  readonly operationId: OperationId
  /** Of the tree over the entries below it. */
  readonly root: Uint8Array
  /** Digest of the row heads: policies/integrity/row-heads.ts. */
  readonly heads: Uint8Array
  /** The signed note of the archive, which was verified against the database. */
  readonly checkpoint: string
  /** When the youngest group with an entry below it was committed. */
  readonly youngestAt: Date
  readonly prunedAt: Date
  /** Of the two officers' decision that it used up. */
  readonly authorisation: OperationId
}

export const pruneRow = (p: PruneRecord): Row => ({
  table: 'audit_prunes',
  schema: 1,
  id: String(p.before),
  version: 1,
  columns: {
    operation_id: p.operationId,
    root: p.root,
    heads: p.heads,
    checkpoint: p.checkpoint,
    youngest_at: p.youngestAt.toISOString(),
    pruned_at: p.prunedAt.toISOString(),
    authorisation: p.authorisation,
  },
})

/** Of the event `system.log-pruned`. `archiveSize`: entries of the archive that was verified. */
export const pruneFacts = ({ before, root, heads, checkpoint, prunedAt, authorisation }: PruneRecord): Readonly<Record<string, string | number>> => ({
  before,
  root: base64(root),
  rowHeads: base64(heads),
  archiveSize: Number(checkpoint.split('\n')[1]),
  prunedAt: prunedAt.toISOString(),
  authorisation,
})

/** The first entry that the database has: 0 where nothing was pruned. Throws `integrity-failed` where a record of it is not the token's. */
export type MinimumIndex = () => Promise<number>

/** Of what was asked for below it. */
export const archived = (minimumIndex: number): Problem =>
  new Problem(
    'archived',
    `Entries before ${minimumIndex} were pruned: they are in the archive of the log alone. The service has those from ${minimumIndex} on.`,
  )

/** The same where nothing is found by an operation's id: whether it had entries below, the service cannot know. */
export const archivedHint = (minimumIndex: number): string =>
  minimumIndex === 0 ? '' : ` Entries before ${minimumIndex} are in the archive of the log alone: look there for an older one.`

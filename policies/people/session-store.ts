import type { RowDigest } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { Session, SessionUse } from './session.ts'

/** The sessions. Trusted for nothing, as the persons. Reads see what is committed. */
export interface SessionStore {
  findByDigest(digest: Uint8Array): Promise<Session | undefined>
  find(id: string): Promise<Session | undefined>
  /** The newest first, at most `limit`. */
  listOf(personId: string, limit: number): Promise<Session[]>
  findUses(sessionIds: readonly string[]): Promise<SessionUse[]>
  /** With its first use. */
  insert(tx: Tx, session: Session): Promise<void>
  /** Deletes those whose time, used or not, was over a week ago: what the entry names. */
  purge(tx: Tx, most: number): Promise<readonly RowDigest[]>
  /** Replaces version - 1. Throws `conflict` when that is not what stands. */
  update(tx: Tx, session: Session): Promise<void>
  /** Outside of any transaction. Does nothing when another process was first. */
  touch(use: SessionUse): Promise<void>
}

import type { WriterPosition } from '../audit/entry.ts'
import type { Tx } from '../../core/tx.ts'
import type { Erased, KeptOf, Tally } from './personal-value.ts'

/**
 * The personal values behind the commitments of entries. Not trusted: a value is believed when it opens the commitment in its entry's bytes. A value that is gone
 * is one that was erased where `audit_erasures` says so; who reads the log sees the digest of all that an erasure took.
 */
export interface PersonalStore {
  /** Every name that values stand under. */
  names(): Promise<string[]>
  /** What is left of the values of these entries. */
  keptOf(entries: readonly WriterPosition[]): Promise<KeptOf[]>
  /** `retentionDays`: younger ones are counted as retained too. By the database's clock. */
  tally(blindIndexes: readonly Uint8Array[], retentionDays: number): Promise<Tally>
  /**
   * Deletes the values of these blind indexes that are older than `retentionDays`, and notes their places under the erasure's id. What is committed by others
   * while this runs is not of it: an erasure takes what was there when its statement began.
   */
  erase(tx: Tx, erasure: string, blindIndexes: readonly Uint8Array[], retentionDays: number): Promise<Erased>
}

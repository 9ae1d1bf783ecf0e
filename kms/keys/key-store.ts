import type { KeyId } from '../../core/ids.ts'
import type { Row } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { FoundKey, KeyRecord } from './key.ts'

/** A reservation that has come to nothing for so long was left by a crash: the label is free for another key. */
export const STALE_RESERVATION_MS = 10 * 60_000

/**
 * Callers' keys. Not trusted: a reader checks the row's MAC before it relies on a row.
 * Reads see what was committed when they ran; writes stand with their transaction.
 */
export interface KeyStore {
  /** Reads of one turn of the event loop share one statement. */
  findKey(id: KeyId): Promise<FoundKey | undefined>
  /** The owner's keys in the order of their ids (that of their making, to the millisecond), after the key `after`. Keys that were never made are left out. */
  listKeys(owner: string, page: { readonly after?: KeyId; readonly limit: number }): Promise<FoundKey[]>
  /**
   * Takes id and label. Throws `conflict` when the owner has a key of that label; a reservation of that label that is
   * {@link STALE_RESERVATION_MS} older than the key is destroyed first, and whoever made it finds its version gone.
   */
  reserveKey(tx: Tx, key: KeyRecord): Promise<Row[]>
  /** Writes the record over version `key.version - 1`. Throws `conflict` when that is not the present one. Returns the row for the log. */
  replaceKey(tx: Tx, key: KeyRecord): Promise<Row>
}

import type { Tx } from '../core/tx.ts'
import type { Challenge } from './challenge.ts'

/** Rows that one purge deletes at most: its transaction is short. */
export const MOST_PURGED = 10_000

/** The challenges. Trusted for nothing: each row is sealed, and one that was edited is refused with `integrity-failed`. Reads see what is committed. */
export interface ChallengeStore {
  find(nonce: Uint8Array): Promise<Challenge | undefined>
  insert(tx: Tx, challenge: Challenge): Promise<void>
  /** Spends an open challenge that has not ended: of all that try, one succeeds. Throws `conflict` for the others. */
  spend(tx: Tx, challenge: Challenge): Promise<void>
  /** Deletes what ended over a day ago, and says how many; at most {@link MOST_PURGED}. */
  purge(tx: Tx): Promise<number>
}

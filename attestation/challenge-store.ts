import { Problem } from '../core/problem.ts'
import type { SealedRow } from '../core/row.ts'
import type { Tx } from '../core/tx.ts'
import type { Challenge } from './challenge.ts'

/** Rows that one purge deletes at most: its transaction is short. */
export const MOST_PURGED = 10_000

/** A challenge, as a row with its MAC. */
export interface SealedChallenge extends SealedRow {
  readonly challenge: Challenge
}

/** Why a challenge cannot be spent, as its caller hears it. */
export const spentAlready = (): Problem => new Problem('conflict', 'The challenge was answered already, and counts once, right or wrong. Ask for a new one.')
export const hasEnded = (): Problem => new Problem('conflict', 'The challenge has ended: it lives 150 seconds. Ask for a new one.')

/** The challenges. Trusted for nothing: each row is sealed, and one that was edited is refused with `integrity-failed`. Reads see what is committed. */
export interface ChallengeStore {
  find(nonce: Uint8Array): Promise<Challenge | undefined>
  /** Those that there are, by nonce (base64url). */
  findAll(nonces: readonly Uint8Array[]): Promise<ReadonlyMap<string, Challenge>>
  /** Makes the MACs of rows to be written, before their transaction, which then waits for no lane. */
  seal(challenges: readonly Challenge[]): Promise<SealedChallenge[]>
  insert(tx: Tx, sealed: readonly SealedChallenge[]): Promise<void>
  /**
   * Spends open challenges that have not ended, sealed as they are when spent, each given once: of all that try to spend one, one succeeds. Answers why those
   * that were not spent were not, by nonce (base64url). Throws `conflict`, and spends none, when the database breaks a deadlock with another that spends some of them.
   */
  spend(tx: Tx, sealed: readonly SealedChallenge[]): Promise<ReadonlyMap<string, Problem>>
  /** Deletes what ended over a day ago, and says how many; at most {@link MOST_PURGED}. */
  purge(tx: Tx): Promise<number>
}

/** Throws where a challenge was not spent. */
export function assertSpent(unspent: ReadonlyMap<string, Problem>): void {
  const [problem] = unspent.values()
  if (problem !== undefined) throw problem
}

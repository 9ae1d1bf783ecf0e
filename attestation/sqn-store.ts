import type { Tx } from '../core/tx.ts'
import type { SequenceNumber } from './sqn.ts'

/** Sequence numbers. Trusted for nothing: each row is sealed. A row that is replaced by an older one is found by comparing with the log. */
export interface SqnStore {
  /** What stands; SEQ 0 and version 0 where nothing does. */
  find(cardId: string): Promise<SequenceNumber>
  /** Replaces version - 1. Throws `conflict` when that is not what stands. */
  advance(tx: Tx, next: SequenceNumber): Promise<void>
  /** Moves to `seq` where what stands is lower, whoever changes it at the same time; answers what stands then. */
  raise(tx: Tx, cardId: string, seq: number): Promise<SequenceNumber>
}

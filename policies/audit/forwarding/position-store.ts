/**
 * How far each receiver is known to have read a log. Not trusted: who moves a position on keeps entries from a receiver, which sees that indexes are missing.
 * Durable: a position that was read is never lower afterwards.
 */
export interface PositionStore {
  /** `position`: the index of the first entry that the receiver is not known to have; of a new one that of the first that was not pruned. `movedAt`: when it was moved there. */
  find(receiver: string): Promise<{ readonly position: number; readonly movedAt: Date }>
  /** Moves it on. False when it is not what it was any more: somebody else forwards. */
  advance(receiver: string, from: number, to: number): Promise<boolean>
}

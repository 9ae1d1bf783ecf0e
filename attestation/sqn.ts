import type { Row } from '../core/row.ts'

/**
 * Sequence numbers of Milenage (TS 33.102 C.1.1.1): SQN, 48 bits, is SEQ, 43 bits, and IND, 5 bits. The card keeps the highest SEQ of each IND (C.2.2).
 * INVARIANT: IND 29 is this service's; the operator's authentication centre has the same Ki and must not use it (C.3.4 leaves the choice to it).
 */
export const OUR_IND = 29
/** SEQ has 43 bits. */
export const MAX_SEQ = 2 ** 43 - 1
const INDS = 32

/** How far SEQ moves at a recovery of the log: past what lost entries may have used, and less than the 2^28 that a card accepts at once (C.2.1, Delta). */
export const RECOVERY_JUMP = 2 ** 20

/** The last SEQ that left for a card. INVARIANT: it never goes back, so that no AUTN is ever made twice. */
export interface SequenceNumber {
  /** Id of the card's row, or of a group of unknown cards. */
  readonly cardId: string
  /** 0: none has left. */
  readonly seq: number
  /** Recoveries of the log that SEQ is above. */
  readonly recoveries: number
  /** 0: there is no row yet. */
  readonly version: number
}

/** As it stands after so many recoveries of the log: for each that it is not above yet it has moved by {@link RECOVERY_JUMP}. */
export const raisedAbove = (recoveries: number, last: SequenceNumber): SequenceNumber => ({
  ...last,
  seq: last.seq + RECOVERY_JUMP * (recoveries - last.recoveries),
  recoveries,
})

/** SQN of this service for a SEQ: 6 bytes, big-endian. */
export function sqnOf(seq: number): Uint8Array {
  const bytes = Buffer.alloc(6)
  bytes.writeUIntBE(seq * INDS + OUR_IND, 0, 6)
  return bytes
}

/** SEQ of an SQN of 6 bytes, of any IND. */
export const seqOf = (sqn: Uint8Array): number => Math.floor(Buffer.from(sqn).readUIntBE(0, 6) / INDS)

export const sequenceRow = ({ cardId, seq, recoveries, version }: SequenceNumber): Row => ({
  table: 'attestation_sqn',
  schema: 1,
  id: cardId,
  version,
  columns: { seq, recoveries: recoveries === 0 ? undefined : recoveries },
})

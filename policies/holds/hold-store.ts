import { type KeyId, keyId, type OperationId } from '../../core/ids.ts'
import type { Row, RowDigest, SealedRow } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { Approval, Hold } from './hold.ts'

/** The input of a hold, encrypted under a key of its own: deleted with its key when the hold ends. */
export interface ParkedInput {
  /** Of the key: algorithm, and the key under the storage KEK. */
  readonly sealed: SealedRow
  /** In order. Each is bound to its hold, place and number by its additional data. */
  readonly parts: readonly Uint8Array[]
}

/** A page of holds, the newest first. */
export interface HoldPage {
  /** Only those of this requester (id of the registration). */
  readonly requesterId?: string
  readonly state?: Hold['state']
  /** The last id of the page before. */
  readonly before?: string
  readonly limit: number
}

/** Holds, their approvals and what they parked. Rows are sealed: an edited one is refused with `integrity-failed`. Reads see what is committed. */
export interface HoldStore {
  find(id: string): Promise<Hold | undefined>
  list(page: HoldPage): Promise<Hold[]>
  approvals(id: string): Promise<Approval[]>
  /** Undefined once the hold has ended. Its row is checked by who uses the key. */
  findInput(id: string): Promise<ParkedInput | undefined>
  insert(tx: Tx, hold: Hold, input: ParkedInput): Promise<readonly Row[]>
  /** Ends it and deletes what it parked, key and all: what the entry names. Throws `conflict` where version - 1 is not what stands. */
  end(tx: Tx, hold: Hold): Promise<readonly RowDigest[]>
  /** Throws `conflict` where the person has approved already, or the hold has ended or is past its deadline by the database's clock. */
  approve(tx: Tx, approval: Approval): Promise<Row>
  /** Ids of at most `limit` that wait and are past their deadline by the database's clock. */
  overdue(limit: number): Promise<OperationId[]>
}

/** The key of one hold's input. */
export const holdKey = (id: string): KeyId => keyId(`hold:${id}`)

/** What of an input is sealed: its key. The parts are authenticated by it. */
export const holdInputRow = (id: KeyId, version: number, columns: Row['columns']): Row => ({ table: 'hold_inputs', schema: 1, id, version, columns })

import type { Tx } from '../core/tx.ts'
import type { UnbindRequest } from './unbind-request.ts'

/** Requests to unbind. Trusted for nothing: each row is sealed, and one that was edited is refused with `integrity-failed`. */
export interface UnbindRequestStore {
  find(id: string): Promise<UnbindRequest | undefined>
  insert(tx: Tx, request: UnbindRequest): Promise<void>
  /** Writes the approval over version - 1. Throws `conflict` when that is not what stands. */
  update(tx: Tx, request: UnbindRequest): Promise<void>
}

import type { Row } from '../core/row.ts'
import type { KeyId } from '../core/ids.ts'
import type { Tx } from '../core/tx.ts'
import type { StoredKey } from '../pkcs11/index.ts'

/** The key that stands in for the Ki of cards that are not known. It is random, and on no card. */
export interface Decoy {
  readonly id: KeyId
  /** AES-128, by AES-KWP under the storage KEK. */
  readonly wrapped: Uint8Array
  readonly version: number
}

/** The one decoy. Trusted for nothing: the row is sealed, and the lane checks it when it is used. */
export interface DecoyStore {
  find(): Promise<StoredKey | undefined>
  /** What was found is asked for anew. */
  forget(): void
  /** Throws `conflict` when there is one. */
  insert(tx: Tx, decoy: Decoy): Promise<void>
}

export const decoyRow = ({ id, wrapped, version }: Decoy): Row => ({
  table: 'attestation_decoys',
  schema: 1,
  id,
  version,
  columns: { algorithm: 'aes-128', wrapped },
})

import type { RowDigest } from '../core/row.ts'
import type { Tx } from '../core/tx.ts'
import type { StoredKey, TransportKeyMade } from '../pkcs11/index.ts'
import type { TransportKey } from './transport-key.ts'

/** Vendors' transport keys. Trusted for nothing: each row is sealed, and one that was edited is refused with `integrity-failed`. */
export interface TransportKeyStore {
  find(id: string): Promise<TransportKey | undefined>
  findByNumber(vendorId: string, number: number): Promise<TransportKey | undefined>
  /** The number that the vendor's next key has. */
  nextNumber(vendorId: string): Promise<number>
  /** The row-MAC key that goes with it. Its MAC is checked by the lane that loads it. */
  macKeyOf(key: TransportKey): Promise<StoredKey | undefined>
  /** Both rows, and the transport key's backup where the token has a backup KEK. Throws `conflict` when the vendor has a key of that number. Returns their digests. */
  insert(tx: Tx, key: TransportKey, made: Pick<TransportKeyMade, 'storedMacKey' | 'backup'>): Promise<RowDigest[]>
}

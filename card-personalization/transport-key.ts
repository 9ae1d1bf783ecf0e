import type { KeyId } from '../core/ids.ts'
import type { Row } from '../core/row.ts'
import type { Kcv } from '../pkcs11/index.ts'

/**
 * A transport key of one vendor: AES-256, in the token, TRUSTED, wraps card keys and nothing else. With it goes a MAC key, by which the vendor checks
 * the rows of its deliveries.
 */
export interface TransportKey {
  /** `transport:<uuid>`, the label in the token. */
  readonly id: KeyId
  readonly vendorId: string
  /** 1, 2 ... for each vendor: the TRANSPORT_KEY of its INP files. */
  readonly number: number
  /** SHA-256 of the certificate that it was encrypted to. */
  readonly recipient: Uint8Array
  /** Under the vendor's RSA key: OAEP with SHA-1 and MGF1-SHA-1, empty label. */
  readonly encryptedKey: Uint8Array
  readonly kcv: Kcv
  readonly macKeyId: KeyId
  /** The MAC key by AES-KWP under the transport key. */
  readonly wrappedMacKey: Uint8Array
  readonly macKcv: Kcv
  readonly madeBy: string
  /** RFC 3339. */
  readonly madeAt: string
  readonly version: number
}

/** What of a transport key is sealed. */
export const transportKeyRow = (k: TransportKey): Row => ({
  table: 'transport_keys',
  schema: 1,
  id: k.id,
  version: k.version,
  columns: {
    vendor_id: k.vendorId,
    number: k.number,
    recipient: k.recipient,
    encrypted_key: k.encryptedKey,
    kcv_method: k.kcv.method,
    kcv: k.kcv.value,
    mac_key_id: k.macKeyId,
    wrapped_mac_key: k.wrappedMacKey,
    mac_kcv_method: k.macKcv.method,
    mac_kcv: k.macKcv.value,
    made_by: k.madeBy,
    made_at: k.madeAt,
  },
})

/** A row-MAC key as the lanes load it; also the row of `row_mac_keys`. */
export const rowMacKeyRow = (key: { readonly id: KeyId; readonly transportKeyId: KeyId; readonly wrapped: Uint8Array; readonly version: number }): Row => ({
  table: 'row_mac_keys',
  schema: 1,
  id: key.id,
  version: key.version,
  columns: { transport_key_id: key.transportKeyId, algorithm: 'aes-cmac-256', wrapped: key.wrapped },
})

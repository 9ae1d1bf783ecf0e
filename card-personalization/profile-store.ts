import type { KeyId } from '../core/ids.ts'
import type { Row, RowDigest } from '../core/row.ts'
import type { Tx } from '../core/tx.ts'
import type { CardMaster, KeyBackup, StoredKey } from '../pkcs11/index.ts'
import type { ProfileId } from './profile.ts'

/** A profile whose keys stand: its cards can be filled. */
export interface EstablishedProfile {
  readonly id: ProfileId
  readonly master: CardMaster
  /** The operator's key OP (TS 35.206), AES-128. */
  readonly operatorKey: StoredKey
}

/** Profiles' keys. Trusted for nothing: the profile's row is checked here, master's and OP's by the lane that uses them. */
export interface ProfileStore {
  find(id: ProfileId): Promise<EstablishedProfile | undefined>
  /** All three rows, and the master's backup. Throws `conflict` when the profile stands. Returns their digests. */
  insert(tx: Tx, profile: NewProfile): Promise<RowDigest[]>
}

export interface NewProfile {
  readonly id: ProfileId
  readonly masterId: KeyId
  readonly k1: Uint8Array
  readonly katKcv: Uint8Array
  readonly operatorKeyId: KeyId
  /** OP by AES-KWP under the storage KEK. */
  readonly wrappedOperatorKey: Uint8Array
  /** RFC 3339. */
  readonly establishedAt: string
  /** Of the master, where the token has a backup KEK. */
  readonly backup?: KeyBackup
}

export const profileRow = (p: {
  readonly id: string
  readonly masterId: string
  readonly operatorKeyId: string
  readonly establishedAt: string
  readonly version: number
}): Row => ({
  table: 'card_profiles',
  schema: 1,
  id: p.id,
  version: p.version,
  columns: { master_id: p.masterId, operator_key_id: p.operatorKeyId, established_at: p.establishedAt },
})

/** `k1` and `katKcv` decide what keys come out: see {@link CardMaster}. */
export const masterRow = (m: {
  readonly id: string
  readonly profile: string
  readonly k1: Uint8Array
  readonly katKcv: Uint8Array
  readonly version: number
}): Row => ({
  table: 'card_masters',
  schema: 1,
  id: m.id,
  version: m.version,
  columns: { profile: m.profile, k1: m.k1, kat_kcv: m.katKcv },
})

export const operatorKeyRow = (k: { readonly id: string; readonly profile: string; readonly wrapped: Uint8Array; readonly version: number }): Row => ({
  table: 'operator_keys',
  schema: 1,
  id: k.id,
  version: k.version,
  columns: { profile: k.profile, algorithm: 'aes-128', wrapped: k.wrapped },
})

import type { KeyId } from '../../core/ids.ts'
import type { Row, SealedRow } from '../../core/row.ts'
import type { Facts } from '../../policies/audit/log.ts'
import type { Kcv, KeyAlgorithm } from '../../pkcs11/index.ts'
import type { CallerKeyUse, KeyState } from './state.ts'

/** The algorithms that callers may have keys of. */
export const CALLER_ALGORITHMS = ['ec-p256', 'hmac-sha256', 'aes-gcm-256'] as const satisfies readonly KeyAlgorithm[]
export type CallerAlgorithm = (typeof CALLER_ALGORITHMS)[number]

const USES: Readonly<Record<CallerAlgorithm, readonly CallerKeyUse[]>> = {
  'ec-p256': ['sign', 'verify'],
  'hmac-sha256': ['sign', 'verify'],
  'aes-gcm-256': ['encrypt', 'decrypt'],
}

/** Whether keys of the algorithm are for the use. */
export const isFor = (algorithm: CallerAlgorithm, use: CallerKeyUse): boolean => USES[algorithm].includes(use)

/** A caller's key: everything about it but its value. */
export interface KeyRecord {
  readonly id: KeyId
  /** Of the row: grows with every change. */
  readonly version: number
  /** Of the key itself. */
  readonly keyVersion: number
  /** URN of the caller that made it. */
  readonly owner: string
  /** Unique among the owner's keys that are not destroyed. */
  readonly label: string
  readonly algorithm: CallerAlgorithm
  readonly state: KeyState
  /** AES-KWP under the storage KEK. Absent in the states reserved and destroyed. */
  readonly wrapped?: Uint8Array
  /** SPKI DER, of a key pair. */
  readonly publicKey?: Uint8Array
  /** Of a secret key. */
  readonly kcv?: Kcv
  readonly createdAt: Date
}

/** A key as it was read: the record, and the row with its MAC. Whoever uses the row checks the MAC first; the lane does so before each use of the key. */
export interface FoundKey {
  readonly record: KeyRecord
  readonly sealed: SealedRow
}

export const keyRow = (key: KeyRecord): Row => ({
  table: 'kms_keys',
  schema: 1,
  id: key.id,
  version: key.version,
  columns: {
    owner: key.owner,
    label: key.label,
    algorithm: key.algorithm,
    key_version: key.keyVersion,
    state: key.state,
    wrapped: key.wrapped,
    public_key: key.publicKey,
    kcv_method: key.kcv?.method,
    kcv: key.kcv?.value,
    created_at: key.createdAt.getTime(),
  },
})

/** What the policy and the log see of a key. Of one that is not there, its id alone. */
export const keyFacts = (keyId: KeyId, key: KeyRecord | undefined): NonNullable<Facts['public']> =>
  key === undefined ? { keyId } : { keyId, label: key.label, algorithm: key.algorithm, owner: key.owner, state: key.state }

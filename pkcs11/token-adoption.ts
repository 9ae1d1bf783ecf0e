import { equalBytes } from '../core/bytes.ts'
import type { OperationId } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import type { Row } from '../core/row.ts'
import type { RecordedRootKey } from './root-key-store.ts'
import { SYSTEM_KEYS, type TokenIdentity } from './root-keys.ts'

/** A public key of the log's checkpoints. */
export interface CheckpointKey {
  readonly algorithm: 'ec-p256' | 'ed25519'
  /** SPKI DER. */
  readonly publicKey: Uint8Array
}

/**
 * A token took the place of another, or its checkpoint key that of its predecessor: who replaced whom, when, and from which size of the log on. Sealed by the
 * row-MAC key, which both tokens have: who owns the database can make the service refuse, and cannot name a predecessor of their own.
 */
export interface TokenAdoption {
  /** 1, 2 ... */
  readonly number: number
  /** Of the ceremony, and of its event in the log. */
  readonly operationId: OperationId
  readonly kind: 'token-restored' | 'checkpoint-key-replaced'
  readonly oldSerial: string
  readonly newSerial: string
  readonly oldKey: CheckpointKey
  readonly newKey: CheckpointKey
  /** Entries under the last checkpoint of the old key. It signs none over more. */
  readonly logSize: number
  /** RFC 3339. */
  readonly adoptedAt: string
  /** Of the decision by two officers that it used up. Absent: both holders of the token's PINs stood in for it. */
  readonly authorisation?: OperationId
}

export const adoptionRow = (a: TokenAdoption): Row => ({
  table: 'token_adoptions',
  schema: 1,
  id: String(a.number),
  version: 1,
  columns: {
    operation_id: a.operationId,
    kind: a.kind,
    old_serial: a.oldSerial,
    new_serial: a.newSerial,
    old_algorithm: a.oldKey.algorithm,
    old_key: a.oldKey.publicKey,
    new_algorithm: a.newKey.algorithm,
    new_key: a.newKey.publicKey,
    log_size: a.logSize,
    adopted_at: a.adoptedAt,
    authorisation: a.authorisation,
  },
})

const isCheckpoint = ({ keyId }: { readonly keyId: string }): boolean => keyId === SYSTEM_KEYS.checkpoint

/** The checkpoint key of a token, or of what is recorded of it. */
export function checkpointKeyOf(keys: TokenIdentity['keys']): CheckpointKey {
  const key = keys.find(isCheckpoint)
  if (key === undefined || !('publicKey' in key)) throw new Error('there is no checkpoint key')
  return { algorithm: key.algorithm, publicKey: key.publicKey }
}

const isSameKey = (a: CheckpointKey, b: CheckpointKey): boolean => a.algorithm === b.algorithm && equalBytes(a.publicKey, b.publicKey)

/** What was recorded at first, as the adoptions have left it. Throws the problem `integrity-failed` where one does not follow from the one before. */
export function applyAdoptions(recorded: readonly RecordedRootKey[], adoptions: readonly TokenAdoption[]): RecordedRootKey[] {
  return adoptions.reduce<RecordedRootKey[]>(
    (keys, { number, oldSerial, newSerial, oldKey, newKey }, at) => {
      const follows = number === at + 1 && keys.every(({ tokenSerial }) => tokenSerial === oldSerial) && isSameKey(checkpointKeyOf(keys), oldKey)
      if (!follows)
        throw new Problem(
          'integrity-failed',
          `The adoption ${String(number)} of a token does not follow from the one before it: rows of token_adoptions were changed.`,
        )
      return keys.map((key) => ({ ...(isCheckpoint(key) ? { keyId: key.keyId, ...newKey } : key), tokenSerial: newSerial }))
    },
    [...recorded],
  )
}

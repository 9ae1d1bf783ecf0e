import { hex } from '../core/bytes.ts'
import type { KeyId } from '../core/ids.ts'
import type { Row } from '../core/row.ts'
import type { KcvMethod } from './kcv.ts'
import { SYSTEM_KEYS } from './root-keys.ts'

/** How a key that lives in the token is known again. `aes-kwp`: see root-keys.ts. `kdf3-aes-gp`: of a card master, the KCV (aes-gp) of its ENC key for KDD 00 * 10. */
export interface TokenKcv {
  readonly method: KcvMethod | 'aes-kwp' | 'kdf3-aes-gp'
  readonly value: Uint8Array
}

interface Common {
  readonly keyId: KeyId
  /** The token that it was made in. */
  readonly tokenSerial: string
  /** The check value (`aes-kwp`, 5 bytes) of the backup KEK that it belongs to, which names it. */
  readonly kek: Uint8Array
}

/** The backup KEK, encrypted for the token that may restore. Nothing else opens the backup. */
export interface KekBackup extends Common {
  readonly algorithm: 'aes-256'
  /** SHA-256 of the recipient's public key (SPKI DER). */
  readonly recipient: Uint8Array
  /** RSA-OAEP with SHA-1 and MGF1-SHA-1, empty label. */
  readonly wrapped: Uint8Array
}

/** A key that lives in the token, under the backup KEK. */
export type KeyBackup = Common & {
  /** AES-KWP; of a P-256 key over its PKCS#8. */
  readonly wrapped: Uint8Array
} & (
    | { readonly algorithm: 'aes-256' | 'hmac-sha256'; readonly kcv: TokenKcv }
    | { readonly algorithm: 'ec-p256'; readonly publicKey: Uint8Array /* SPKI DER */ }
  )

/** The algorithm of a backup whose key tells its check value by a method. */
export const algorithmOf = (method: TokenKcv['method']): 'aes-256' | 'hmac-sha256' => (method === 'hmac-sha256' ? 'hmac-sha256' : 'aes-256')

export const isKekBackup = (backup: KekBackup | KeyBackup): backup is KekBackup => backup.keyId === SYSTEM_KEYS.backupKek

/** A backup with the MAC of its row by the row-MAC key, which is in the backup too: who restores finds an exchanged or edited one. */
export interface Sealed<Backup> {
  readonly backup: Backup
  readonly mac: Uint8Array
}

/** What is sealed, and what `token_key_backups` holds. The id: of a key with its KEK, of a KEK with its recipient too. */
export function keyBackupRow(backup: KekBackup | KeyBackup): Row {
  const { keyId, tokenSerial, kek, algorithm, wrapped } = backup
  const own = isKekBackup(backup)
    ? { id: `${keyId}@${hex(kek)}@${hex(backup.recipient)}`, columns: { recipient: backup.recipient } }
    : {
        id: `${keyId}@${hex(kek)}`,
        columns: backup.algorithm === 'ec-p256' ? { public_key: backup.publicKey } : { kcv_method: backup.kcv.method, kcv: backup.kcv.value },
      }
  return {
    table: 'token_key_backups',
    schema: 1,
    id: own.id,
    version: 1,
    columns: { key_id: keyId, token_serial: tokenSerial, kek, algorithm, wrapped, ...own.columns },
  }
}

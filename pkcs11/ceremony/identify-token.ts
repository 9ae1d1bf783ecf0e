import { hex } from '../../core/bytes.ts'
import type { KeyId } from '../../core/ids.ts'
import { encodeRow, type Row, type SealedRow } from '../../core/row.ts'
import { checkpointLabels, currentOf, findRootKeysOfBefore, identify, missingRootKeys } from '../root-handles.ts'
import { isFromBefore, type TokenIdentity } from '../root-keys.ts'
import { findRecipient, fingerprintOf } from './backup-recipient.ts'
import { type CeremonyToken, openAsUser } from './officer.ts'
import { findBackupKek } from './settled-key.ts'
import { isUnfinished, labelsOf } from './unfinished.ts'

export interface TokenShown {
  readonly serial: string
  readonly label: string
  /** Where every root key is there, but those that came with a later version than the token. */
  readonly identity?: TokenIdentity
  readonly missing: readonly string[]
  /** Of all our keys, in their order. */
  readonly labels: readonly string[]
  /** More than one while a checkpoint key is being replaced; the newest last. */
  readonly checkpointLabels: readonly string[]
  /** Check value of the backup KEK, hex. */
  readonly backupKek?: string
  /** SHA-256 of the recipient's public key, hex, where the token can restore another. */
  readonly recipient?: string
  readonly unfinished: boolean
}

/** What a token has of ours. Changes nothing. */
export function showToken(settings: CeremonyToken): TokenShown {
  const token = openAsUser(settings)
  const missing = missingRootKeys(token)
  const kek = findBackupKek(token)
  const recipient = findRecipient(token)
  return {
    serial: token.serial,
    label: token.label,
    ...(missing.length > 0 && !isFromBefore(missing) ? {} : { identity: identify(token, findRootKeysOfBefore(token)) }),
    missing,
    labels: labelsOf(token),
    checkpointLabels: checkpointLabels(token),
    ...(kek === undefined ? {} : { backupKek: hex(kek.check) }),
    ...(recipient === undefined ? {} : { recipient: hex(fingerprintOf(recipient.publicKey)) }),
    unfinished: isUnfinished(token),
  }
}

/** MACs by a generation of the row-MAC key, for rows that a ceremony writes while the service is stopped. Default the one that there is. */
export function macRows(settings: CeremonyToken, { rows, keyId }: { readonly rows: readonly Row[]; readonly keyId?: KeyId }): Buffer[] {
  const token = openAsUser(settings)
  const roots = findRootKeysOfBefore(token)
  const key = keyId === undefined ? currentOf(roots, 'row-mac') : roots.rotated['row-mac'].all.find(({ id }) => id === keyId)?.handle
  if (key === undefined) throw new Error(`the token has no ${String(keyId)}`)
  return rows.map((row) => token.cmac(key, encodeRow(row)))
}

/** Whether each row bears the MAC of one of the token's row-MAC keys. */
export function checkRows(settings: CeremonyToken, { rows }: { readonly rows: readonly SealedRow[] }): boolean[] {
  const token = openAsUser(settings)
  const { all } = findRootKeysOfBefore(token).rotated['row-mac']
  return rows.map(({ row, mac }) => all.some(({ handle }) => token.cmac(handle, encodeRow(row)).equals(mac)))
}

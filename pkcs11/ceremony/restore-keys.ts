import type { Handle } from 'pkcs11js'
import { equalBytes, hex } from '../../core/bytes.ts'
import type { KeyId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { encodeRow } from '../../core/row.ts'
import { P256_PUBLIC } from '../algorithms.ts'
import { type KekBackup, type KeyBackup, keyBackupRow, type Sealed } from '../key-backup.ts'
import { masterKcv } from '../lane-keys.ts'
import { masterK1 } from '../master-k1.ts'
import { P256_PARAMS, p256Point } from '../mechanisms.ts'
import { findRootKeysOfBefore, identify, kwpCheckValue } from '../root-handles.ts'
import { parseGeneration, ROTATED_KEY_NAMES, ROTATED_KEYS } from '../root-key-generations.ts'
import { LATER_ROOT_KEYS, SIGNING_KEYS, SYSTEM_KEYS, type TokenIdentity } from '../root-keys.ts'
import { wrapForRecipient } from '../rsa-oaep.ts'
import { CKA, CKO, type KeySpec } from '../templates.ts'
import type { Token } from '../token.ts'
import { tokenKeySpec } from '../token-key-spec.ts'
import { isNotUnwrapped } from '../unwrap-error.ts'
import { findRecipient, fingerprintOf, unwrapAsRecipient } from './backup-recipient.ts'
import { makeCheckpointKey } from './make-root-keys.ts'
import { asOfficer, type CeremonyToken, openAsUser, trustedOriginal } from './officer.ts'
import { settle } from './settled-key.ts'
import { syncFolder } from './sync-folder.ts'
import { destroyKeys, isUnfinished, labelsOf, markFinished, markUnfinished } from './unfinished.ts'

export interface RestoreKeys {
  readonly kek: Sealed<KekBackup>
  readonly keys: readonly Sealed<KeyBackup>[]
  /** SPKI DER of the RSA-3072 key of the token that is to restore this one, should it die. Absent: keys made in it from now on are not backed up. */
  readonly nextRecipient?: Uint8Array
}

export interface KeysRestored {
  readonly identity: TokenIdentity
  /** The same backup KEK for the next recipient. */
  readonly kek?: Sealed<KekBackup>
}

/**
 * The keys of another token, in the token that its backup was made for. Order, each a step of one process:
 *
 * 1. the user finds no key of ours in the token, sets the mark of an unfinished ceremony, and unwraps the backup KEK by the token's RSA key into a session
 *    object that is not private: so it is never on disk, and the officer, who sees no private objects, can use it;
 * 2. the row-MAC key first (each of its generations): every other backup must bear a MAC of it. Then what is not TRUSTED, in final form at once; a new checkpoint key;
 * 3. the officer unwraps what is TRUSTED into session objects; the user settles them;
 * 4. what was for the ceremony is destroyed; each key is used once and compared with the backup's KCV or public key; sync.
 *
 * The mark stands until `finishRootKeys`: who calls makes the KEK for the next recipient durable before. A crash leaves the mark, and behind it keys that
 * nothing uses: the same ceremony destroys them and starts over. A refusal leaves the token as it was.
 */
export function restoreKeys(settings: CeremonyToken, backup: RestoreKeys): KeysRestored {
  assertComplete(backup.keys)
  const token = openAsUser(settings)
  const recipient = findRecipient(token)
  if (recipient === undefined || !fingerprintOf(recipient.publicKey).equals(backup.kek.backup.recipient))
    throw new Problem(
      'conflict',
      `The backup was made for another token: for the one whose recipient key has the fingerprint ${hex(backup.kek.backup.recipient)}.`,
    )
  if (isUnfinished(token)) destroyKeys(token)
  const [there] = labelsOf(token)
  if (there !== undefined) throw new Problem('conflict', `The token has keys already (${there}). A backup is restored into a token without any.`)
  markUnfinished(token, settings)
  try {
    const restored = restoreInto(token, settings, recipient.privateKey, backup)
    if (settings.tokensFolder !== undefined) syncFolder(settings.tokensFolder)
    return restored
  } catch (error) {
    if (error instanceof Problem) {
      destroyKeys(token)
      markFinished(token, settings)
    }
    throw error
  }
}

/**
 * Every root key but the checkpoint key (of those that are rotated a generation at least; of those that came with a later version none need be there), each key once,
 * all of one KEK.
 */
function assertComplete(keys: readonly Sealed<KeyBackup>[]): void {
  const ids = keys.map(({ backup }) => backup.keyId)
  const missing = [
    ...ROTATED_KEY_NAMES.filter((key) => !ids.some((id) => parseGeneration(id)?.key === key)).map((key) => ROTATED_KEYS[key]),
    ...[SYSTEM_KEYS.blindIndex, ...SIGNING_KEYS].filter((id) => !ids.includes(id) && !LATER_ROOT_KEYS.includes(id)),
  ]
  if (missing.length > 0) throw new Problem('request-invalid', `The backup is not whole: ${missing.join(', ')} is missing.`)
  if (new Set(ids).size !== ids.length) throw new Problem('request-invalid', 'The backup has a key twice.')
}

function restoreInto(token: Token, settings: CeremonyToken, privateKey: Handle, { kek, keys, nextRecipient }: RestoreKeys): KeysRestored {
  const spec = (id: KeyId): KeySpec => tokenKeySpec(id, token.kwp)
  const kekForm = { ...spec(SYSTEM_KEYS.storageKek), trusted: false, insecurePublic: true, extractable: nextRecipient !== undefined }
  const backupKek = unwrapped(SYSTEM_KEYS.backupKek, () => unwrapAsRecipient(token, privateKey, kek.backup.wrapped, token.form(kekForm)))
  if (!kwpCheckValue(token, backupKek).equals(kek.backup.kek)) throw changed(SYSTEM_KEYS.backupKek)

  // All its generations: while one replaces another, rows bear MACs of both.
  const rowMacs = keys.flatMap(({ backup }) => (isRowMac(backup) ? [restoreSecret(token, backupKek, backup)] : []))
  for (const { backup, mac } of [kek, ...keys]) {
    const isOfKek = equalBytes(backup.kek, kek.backup.kek)
    if (!isOfKek || !rowMacs.some((rowMac) => token.cmac(rowMac, encodeRow(keyBackupRow(backup))).equals(mac))) throw changed(backup.keyId)
  }
  const isTrusted = ({ backup: { keyId } }: Sealed<KeyBackup>): boolean => spec(keyId).trusted === true
  for (const { backup } of keys.filter((key) => !isTrusted(key))) {
    if (backup.algorithm === 'ec-p256') restorePair(token, backupKek, backup)
    else if (!isRowMac(backup)) restoreSecret(token, backupKek, backup)
  }
  makeCheckpointKey(token, SYSTEM_KEYS.checkpoint)

  // The KEK goes to the officer by a carrier, because the one that this token keeps is to be TRUSTED.
  const next = nextRecipient && { publicKey: nextRecipient, wrapped: wrapForRecipient(token, backupKek, nextRecipient) }
  const wanted = keys.filter(isTrusted).map(({ backup: { keyId, wrapped } }) => ({ keyId, wrapped, by: backupKek }))
  const carrier = next && token.generate(token.form({ ...kekForm, extractable: false }), 32)
  if (carrier !== undefined) wanted.push({ keyId: SYSTEM_KEYS.backupKek, wrapped: token.wrap(carrier, backupKek), by: carrier })

  const originals = asOfficer(token, settings, () =>
    wanted.map(({ keyId, wrapped, by }) => {
      const original = trustedOriginal(spec(keyId))
      return { label: keyId, spec: original, handle: unwrapped(keyId, () => token.unwrap(by, wrapped, token.form(original))) }
    }),
  )
  for (const { handle, ...settled } of originals) settle(token, handle, settled)
  token.destroy(backupKek, ...(carrier === undefined ? [] : [carrier]))

  const roots = findRootKeysOfBefore(token) // again: handles of private keys end with the login
  const identity = identify(token, roots)
  for (const { backup } of keys) if (!isSame(token, backup, identity)) throw changed(backup.keyId)
  if (next === undefined) return { identity }
  const nextKek = { ...kek.backup, tokenSerial: token.serial, recipient: fingerprintOf(next.publicKey), wrapped: next.wrapped }
  const newest = roots.rotated['row-mac'].all[0]?.handle as Handle
  return { identity, kek: { backup: nextKek, mac: token.cmac(newest, encodeRow(keyBackupRow(nextKek))) } }
}

const isRowMac = ({ keyId }: KeyBackup): boolean => parseGeneration(keyId)?.key === 'row-mac'

const changed = (id: KeyId, cause?: unknown): Problem =>
  new Problem(
    'integrity-failed',
    `The backup of ${id} is not what the token made: the file was changed, or its keys are of more than one token. Nothing was restored.`,
    { cause },
  )

/** Any other error of the token is its own. */
function unwrapped(id: KeyId, unwrap: () => Handle): Handle {
  try {
    return unwrap()
  } catch (error) {
    throw isNotUnwrapped(error) ? changed(id, error) : error
  }
}

function restoreSecret(token: Token, kek: Handle, { keyId, wrapped }: KeyBackup): Handle {
  return unwrapped(keyId, () => token.unwrap(kek, wrapped, token.form({ ...tokenKeySpec(keyId, token.kwp), label: keyId })))
}

function restorePair(token: Token, kek: Handle, backup: KeyBackup & { readonly algorithm: 'ec-p256' }): void {
  restoreSecret(token, kek, backup)
  const ecPoint = p256Point(backup.publicKey)
  if (ecPoint === undefined) throw changed(backup.keyId)
  token.importKey(token.form({ ...P256_PUBLIC, label: backup.keyId }), { type: CKA.EC_PARAMS, value: P256_PARAMS }, { type: CKA.EC_POINT, value: ecPoint })
}

/** Whether a restored key does what the backup says. Public parts were checked against their private ones. */
function isSame(token: Token, backup: KeyBackup, identity: TokenIdentity): boolean {
  const root = identity.keys.find(({ keyId }) => keyId === backup.keyId)
  if (backup.algorithm === 'ec-p256') return root !== undefined && 'publicKey' in root && equalBytes(root.publicKey, backup.publicKey)
  const handle = token.find(CKO.SECRET, backup.keyId)
  if (handle === undefined) return false
  if (root !== undefined) return 'kcv' in root && root.kcv.method === backup.kcv.method && equalBytes(root.kcv.value, backup.kcv.value)
  if (backup.kcv.method === 'aes-kwp') return kwpCheckValue(token, handle).equals(backup.kcv.value)
  return backup.kcv.method === 'kdf3-aes-gp' && masterKcv(token, { handle, k1: masterK1(token, handle) }).equals(backup.kcv.value)
}

import type { KeyId } from '../../core/ids.ts'
import { encodeRow } from '../../core/row.ts'
import { cryptokiError } from '../errors.ts'
import { type KekBackup, type KeyBackup, keyBackupRow, type Sealed } from '../key-backup.ts'
import { selfTest } from '../probe.ts'
import type { ProbeName } from '../probe-names.ts'
import { CKK, CKM, ED25519_PARAMS } from '../mechanisms.ts'
import { currentOf, findRootKeys, identify, kwpCheckValue, missingRootKeys } from '../root-handles.ts'
import { MAC_KEYS, SIGNING_KEYS, SYSTEM_KEYS, type TokenIdentity } from '../root-keys.ts'
import { wrapForRecipient } from '../rsa-oaep.ts'
import { CKO } from '../templates.ts'
import { type Token, tokenError } from '../token.ts'
import { fingerprintOf } from './backup-recipient.ts'
import { type CeremonyToken, makeTrusted, openAsUser } from './officer.ts'
import { findBackupKek, makeP256, makeSecret, wrapForBackup } from './settled-key.ts'
import { syncFolder } from './sync-folder.ts'
import { destroyKeys, isUnfinished, markFinished, markUnfinished } from './unfinished.ts'

/** Storage KEK, pepper and checkpoint key; and those. */
const ROOT_KEY_COUNT = 3 + MAC_KEYS.length + SIGNING_KEYS.length

export interface RootKeysListed {
  readonly missing: readonly KeyId[]
  readonly none: boolean
  /** A ceremony that made keys with a backup, or restored them, did not come to its end. */
  readonly unfinished: boolean
}

/**
 * Which root keys a token lacks, and whether it has none at all. One without any is tried before it gets some: throws a SelfTestError where it does not do
 * what it must, unless `ignore` names it.
 */
export function listRootKeys(settings: CeremonyToken, ignore: readonly ProbeName[]): RootKeysListed {
  const token = openAsUser(settings)
  const missing = missingRootKeys(token)
  const none = missing.length === ROOT_KEY_COUNT
  if (none) selfTest(token, ignore)
  return { missing, none, unfinished: isUnfinished(token) }
}

export interface RootKeysMade {
  readonly identity: TokenIdentity
  /** The backup KEK and every root key but the checkpoint key; empty without a recipient. */
  readonly backups: readonly Sealed<KekBackup | KeyBackup>[]
}

/**
 * All root keys, in a token that has none of them. The storage KEK is TRUSTED and so the officer's; the others are made by the user, private from
 * the start and not extractable. Order: keys, sync, then every key is used once and its KCV or public part told. Throws when some but not all are there.
 *
 * With `recipient` (SPKI DER of an RSA-3072 key) there is a backup KEK, which leaves once, encrypted for it, and each key leaves once under that. The mark of an
 * unfinished ceremony then stands until {@link finishRootKeys}: who calls makes the backups durable before. A crash leaves the mark, and the same call
 * starts over.
 */
export function makeRootKeys(settings: CeremonyToken, { recipient }: { readonly recipient?: Uint8Array } = {}): RootKeysMade {
  const token = openAsUser(settings)
  if (recipient !== undefined && isUnfinished(token)) destroyKeys(token)
  const there = ROOT_KEY_COUNT - missingRootKeys(token).length
  if (there > 0) throw new Error(`the token already has ${there} of the root keys`)
  if (recipient !== undefined) markUnfinished(token, settings)

  token.logout()
  const encrypted = recipient === undefined ? undefined : makeBackupKek(token, settings, recipient)
  const storageKek = makeStorageKek(token, settings, { label: SYSTEM_KEYS.storageKek, backedUp: encrypted !== undefined })
  const kek = encrypted && findBackupKek(token)?.handle
  const wrapped = new Map<KeyId, Buffer | undefined>([[SYSTEM_KEYS.storageKek, storageKek]])
  for (const id of [...MAC_KEYS, SYSTEM_KEYS.pepper]) wrapped.set(id, makeSecret(token, id, kek).wrapped)
  for (const id of SIGNING_KEYS) wrapped.set(id, makeP256(token, id, kek).wrapped)
  makeCheckpointKey(token, SYSTEM_KEYS.checkpoint)

  if (settings.tokensFolder !== undefined) syncFolder(settings.tokensFolder)
  const roots = findRootKeys(token)
  const identity = identify(token, roots)
  if (encrypted === undefined) return { identity, backups: [] }
  const common = { tokenSerial: identity.serial, kek: encrypted.kek }
  const keys = identity.keys.flatMap((key): KeyBackup[] => {
    const blob = wrapped.get(key.keyId)
    return blob === undefined || key.algorithm === 'ed25519' ? [] : [{ ...key, ...common, wrapped: blob } as KeyBackup]
  })
  const backups = [{ ...encrypted, ...common }, ...keys].map((backup) => ({
    backup,
    mac: token.cmac(currentOf(roots, 'row-mac'), encodeRow(keyBackupRow(backup))),
  }))
  return { identity, backups }
}

/** After {@link makeRootKeys} with a recipient, once the backups are durable: from here on the token is used. */
export function finishRootKeys(settings: CeremonyToken): void {
  markFinished(openAsUser(settings), settings)
}

/** The backup KEK: TRUSTED, wraps only. It leaves once, under the recipient's RSA key. */
function makeBackupKek(token: Token, settings: CeremonyToken, recipient: Uint8Array): Omit<KekBackup, 'tokenSerial'> {
  const key = { label: SYSTEM_KEYS.backupKek, uses: ['wrap'] as const }
  const { handle, left } = makeTrusted(token, settings, key, {
    extractable: true,
    work: (original) => ({ wrapped: wrapForRecipient(token, original, recipient), kek: kwpCheckValue(token, original, true) }),
  })
  if (!kwpCheckValue(token, handle).equals(left.kek)) throw new Error('the settled backup KEK is not the key that left')
  token.logout()
  return { keyId: SYSTEM_KEYS.backupKek, algorithm: 'aes-256', recipient: fingerprintOf(recipient), ...left }
}

/** Answers it under the backup KEK, where there is one. Begins without a login; on return the user is logged in. */
export function makeStorageKek(
  token: Token,
  settings: CeremonyToken,
  { label, backedUp }: { readonly label: KeyId; readonly backedUp: boolean },
): Buffer | undefined {
  const key = { label, uses: ['wrap', 'unwrap'] as const }
  const { handle, left, wrapped } = makeTrusted(token, settings, key, {
    extractable: backedUp,
    wrapWithTrusted: backedUp,
    work: (original) => kwpCheckValue(token, original, true),
    backUp: (original) => (backedUp ? wrapForBackup(token, original)?.wrapped : undefined),
  })
  if (!kwpCheckValue(token, handle).equals(left)) throw new Error('the settled storage KEK is not the key that was made')
  return wrapped
}

/** Ed25519; a token that has none of it refuses by an error, and then it is P-256. It is not backed up: another token gets another one. */
export function makeCheckpointKey(token: Token, label: KeyId): void {
  const kind = { keyType: CKK.EC_EDWARDS, label }
  try {
    const publicForm = token.form({ class: CKO.PUBLIC, ...kind, uses: ['verify'], mechanisms: [] })
    const privateForm = token.form({ class: CKO.PRIVATE, ...kind, uses: ['sign'], mechanisms: [CKM.EDDSA] })
    token.generatePair(CKM.EC_EDWARDS_KEY_PAIR_GEN, ED25519_PARAMS, publicForm, privateForm)
  } catch (error) {
    if (cryptokiError(tokenError(error)) === undefined) throw error
    makeP256(token, label)
  }
}

import type { KeyId } from '../../core/ids.ts'
import type { KeyBackup } from '../key-backup.ts'
import { parseGeneration, ROTATED_KEYS, type SecretIdentity } from '../root-key-generations.ts'
import { identifyGeneration } from '../root-handles.ts'
import { CKO } from '../templates.ts'
import type { Token } from '../token.ts'
import { makeStorageKek } from './make-root-keys.ts'
import { type CeremonyToken, openAsUser } from './officer.ts'
import { findBackupKek, makeSecret } from './settled-key.ts'
import { syncFolder } from './sync-folder.ts'

export interface GenerationMade {
  readonly identity: SecretIdentity
  /** Where the token has a backup KEK. It is recorded with the generation. */
  readonly backup?: KeyBackup
}

/**
 * The next generation of a root key, beside those before it. The storage KEK is TRUSTED and so the officer's; the MAC keys are the user's. Order: one of this
 * number that an earlier ceremony made is destroyed (nobody has recorded it, so nothing is under it); the key, which with a backup KEK in the token leaves once
 * under that; sync; then it is used once and its check value told. A crash leaves a key that nothing uses.
 */
export function makeGeneration(settings: CeremonyToken, { keyId }: { readonly keyId: KeyId }): GenerationMade {
  const generation = parseGeneration(keyId)
  if (generation === undefined || generation.number === 1) throw new Error(`${keyId} is not the id of a later generation`)
  const token = openAsUser(settings)
  const left = token.find(CKO.SECRET, keyId)
  if (left !== undefined) token.destroy(left)
  const kek = findBackupKek(token)
  const wrapped = generation.key === 'storage-kek' ? makeTrustedKek(token, settings, keyId, kek !== undefined) : makeSecret(token, keyId, kek?.handle).wrapped
  if (settings.tokensFolder !== undefined) syncFolder(settings.tokensFolder)
  const handle = token.find(CKO.SECRET, keyId)
  if (handle === undefined) throw new Error('the new key is not to be seen')
  const identity = identifyGeneration(token, generation.key, { id: keyId, handle })
  if (kek === undefined || wrapped === undefined) return { identity }
  return { identity, backup: { ...identity, tokenSerial: token.serial, kek: kek.check, wrapped } }
}

function makeTrustedKek(token: Token, settings: CeremonyToken, label: KeyId, backedUp: boolean): Buffer | undefined {
  token.logout()
  return makeStorageKek(token, settings, { label, backedUp })
}

/**
 * Destroys a generation that nothing needs any more; `successor` must be there. Order: the object, then sync. Done twice it does nothing the second time. Answers
 * whether it was there.
 */
export function destroyGeneration(settings: CeremonyToken, { keyId, successor }: { readonly keyId: KeyId; readonly successor: KeyId }): boolean {
  const [old, next] = [parseGeneration(keyId), parseGeneration(successor)]
  if (old === undefined || next === undefined || old.key !== next.key || old.number >= next.number)
    throw new Error(`${successor} is no successor of ${keyId} (${Object.values(ROTATED_KEYS).join(', ')})`)
  const token = openAsUser(settings)
  if (token.find(CKO.SECRET, successor) === undefined) throw new Error(`the token has no ${successor}: ${keyId} stays`)
  const handle = token.find(CKO.SECRET, keyId)
  if (handle !== undefined) token.destroy(handle)
  if (settings.tokensFolder !== undefined) syncFolder(settings.tokensFolder)
  return handle !== undefined
}

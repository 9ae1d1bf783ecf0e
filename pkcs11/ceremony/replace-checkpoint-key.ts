import type { Handle } from 'pkcs11js'
import type { KeyId } from '../../core/ids.ts'
import { checkpointLabels, findRootKeysOfBefore, identify } from '../root-handles.ts'
import { SYSTEM_KEYS, type TokenIdentity } from '../root-keys.ts'
import { CKO } from '../templates.ts'
import { makeCheckpointKey } from './make-root-keys.ts'
import { type CeremonyToken, openAsUser } from './officer.ts'
import { syncFolder } from './sync-folder.ts'

/**
 * Makes the successor of the checkpoint key beside it, under the next number, or finds the one that an unfinished replacement has made. From here on until it is
 * recorded the service refuses the token. Answers the token with the new key.
 */
export function makeNextCheckpointKey(settings: CeremonyToken): TokenIdentity {
  const token = openAsUser(settings)
  const labels = checkpointLabels(token)
  const last = labels.at(-1)
  if (last === undefined) throw new Error('the token has no checkpoint key')
  if (labels.length === 1) {
    const number = Number(/-(\d+)$/.exec(last)?.[1] ?? 1) + 1
    makeCheckpointKey(token, `${SYSTEM_KEYS.checkpoint}-${number}` as KeyId)
  }
  if (settings.tokensFolder !== undefined) syncFolder(settings.tokensFolder)
  return identify(token, findRootKeysOfBefore(token))
}

/** Destroys every checkpoint key but the newest, once that is recorded. Answers their labels. */
export function destroyOldCheckpointKeys(settings: CeremonyToken): KeyId[] {
  const token = openAsUser(settings)
  const old = checkpointLabels(token).slice(0, -1)
  for (const label of old) {
    token.destroy(token.find(CKO.PRIVATE, label) as Handle)
    const publicKey = token.find(CKO.PUBLIC, label)
    if (publicKey !== undefined) token.destroy(publicKey)
  }
  if (settings.tokensFolder !== undefined) syncFolder(settings.tokensFolder)
  return old
}

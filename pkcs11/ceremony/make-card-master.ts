import type { KeyId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import type { CardMasterMade } from '../contract.ts'
import { masterKcv } from '../lane-keys.ts'
import { masterK1 } from '../master-k1.ts'
import { CKO } from '../templates.ts'
import { type CeremonyToken, openAsUser } from './officer.ts'
import { findBackupKek, makeSecret } from './settled-key.ts'
import { syncFolder } from './sync-folder.ts'

/**
 * A card master: AES-256, DERIVE only by AES_CBC_ENCRYPT_DATA, so that it prints no card key. K1 is got by deriving zeros.
 * Order: the key, which with a backup KEK in the token leaves once under that; sync; then K1 and its known answer.
 * A crash leaves a master that no row names, and that nothing uses.
 */
export function makeCardMaster(settings: CeremonyToken, { keyId }: { readonly keyId: KeyId }): CardMasterMade {
  if (!keyId.startsWith('master:')) throw new Error(`${keyId} is not the id of a master key`)
  const token = openAsUser(settings)
  if (token.find(CKO.SECRET, keyId) !== undefined) throw new Problem('conflict', 'There is a card master of this id.')
  const kek = findBackupKek(token)
  const { handle, wrapped } = makeSecret(token, keyId, kek?.handle)
  if (settings.tokensFolder !== undefined) syncFolder(settings.tokensFolder)
  const k1 = masterK1(token, handle)
  const katKcv = masterKcv(token, { handle, k1 })
  if (kek === undefined || wrapped === undefined) return { k1, katKcv }
  const kcv = { method: 'kdf3-aes-gp', value: katKcv } as const
  return { k1, katKcv, backup: { keyId, tokenSerial: token.serial, kek: kek.check, algorithm: 'aes-256', kcv, wrapped } }
}

import type { KeyId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { masterKcv } from '../lane-keys.ts'
import { CKK, CKM } from '../mechanisms.ts'
import { masterK1 } from '../probe.ts'
import { CKO } from '../templates.ts'
import { type CeremonyToken, openForCeremony } from './officer.ts'
import { syncFolder } from './sync-folder.ts'

/**
 * A card master: AES-256, DERIVE only by AES_CBC_ENCRYPT_DATA, so that it prints no card key. K1 is got by deriving zeros.
 * Order: the key, sync, then K1 and its known answer. A crash leaves a master that no row names, and that nothing uses.
 */
export function makeCardMaster(settings: CeremonyToken, { keyId }: { readonly keyId: KeyId }): { readonly k1: Buffer; readonly katKcv: Buffer } {
  if (!keyId.startsWith('master:')) throw new Error(`${keyId} is not the id of a master key`)
  const token = openForCeremony(settings)
  token.login('user', settings.pinFile)
  if (token.find(CKO.SECRET, keyId) !== undefined) throw new Problem('conflict', 'There is a card master of this id.')
  const spec = { class: CKO.SECRET, keyType: CKK.AES, label: keyId, uses: ['derive'], mechanisms: [CKM.AES_CBC_ENCRYPT_DATA] } as const
  const handle = token.generate(token.form(spec), 32)
  if (settings.tokensFolder !== undefined) syncFolder(settings.tokensFolder)
  const k1 = masterK1(token, handle)
  return { k1, katKcv: masterKcv(token, { handle, k1 }) }
}

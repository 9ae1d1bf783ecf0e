import type { Handle } from 'pkcs11js'
import type { KeyId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { freshSpec, kcvOf } from '../algorithms.ts'
import type { TransportKeyMade } from '../contract.ts'
import { kwpCheckValue } from '../root-handles.ts'
import { wrapForRecipient } from '../rsa-oaep.ts'
import { CKO } from '../templates.ts'
import type { Token } from '../token.ts'
import { type CeremonyToken, makeTrusted, openAsUser, throughTwin } from './officer.ts'
import { wrapForBackup } from './settled-key.ts'
import { syncFolder } from './sync-folder.ts'

/**
 * A vendor's transport key (AES-256, TRUSTED, wrap only, AES-KWP only) and the row-MAC key that goes with it. Order: the officer's session object
 * leaves once, under the vendor's RSA key, and with a backup KEK in the token once under that; it is settled as a token object; the MAC key is wrapped under it
 * and under the storage KEK; sync; the settled key is proved to be the one that left. A crash leaves a transport key that no row names, and that nothing uses.
 */
export function makeTransportKey(
  settings: CeremonyToken,
  { keyId, recipient, storageKekId }: { readonly keyId: KeyId; readonly recipient: Uint8Array; readonly storageKekId: KeyId },
): TransportKeyMade {
  if (!keyId.startsWith('transport:')) throw new Error(`${keyId} is not the id of a transport key`)
  const token = openAsUser(settings)
  if (token.find(CKO.SECRET, keyId) !== undefined) throw new Problem('conflict', 'There is a transport key of this id.')
  token.logout()

  const { handle, left, wrapped } = makeTrusted(
    token,
    settings,
    { label: keyId, uses: ['wrap'] },
    {
      extractable: true,
      work: (original) => ({
        encryptedKey: wrapForRecipient(token, original, recipient),
        value: throughTwin(token, original, (twin) => Buffer.from(kcvOf(token, 'aes-gp', twin))),
        check: kwpCheckValue(token, original, true),
      }),
      backUp: (original) => wrapForBackup(token, original),
    },
  )
  const macKey = makeMacKey(token, { transportKey: handle, storageKekId })
  if (settings.tokensFolder !== undefined) syncFolder(settings.tokensFolder)
  const settled = token.find(CKO.SECRET, keyId)
  if (settled === undefined || !kwpCheckValue(token, settled).equals(left.check)) throw new Error('the settled transport key is not the key that left')
  const made = { encryptedKey: left.encryptedKey, kcv: { method: 'aes-gp' as const, value: left.value }, ...macKey }
  if (wrapped === undefined) return made
  return { ...made, backup: { keyId, tokenSerial: token.serial, algorithm: 'aes-256', kcv: { method: 'aes-kwp', value: left.check }, ...wrapped } }
}

function makeMacKey(
  token: Token,
  { transportKey, storageKekId }: { readonly transportKey: Handle; readonly storageKekId: KeyId },
): Pick<TransportKeyMade, 'wrappedMacKey' | 'macKcv' | 'storedMacKey'> {
  const storageKek = token.find(CKO.SECRET, storageKekId)
  if (storageKek === undefined) throw new Error(`the token has no ${storageKekId}`)
  const key = token.generate(token.form(freshSpec('aes-cmac-256')), 32)
  try {
    return {
      wrappedMacKey: token.wrap(transportKey, key),
      macKcv: { method: 'aes-cmac', value: kcvOf(token, 'aes-cmac', key) },
      storedMacKey: token.wrap(storageKek, key),
    }
  } finally {
    token.destroy(key)
  }
}

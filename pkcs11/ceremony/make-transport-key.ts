import { createPublicKey } from 'node:crypto'
import pkcs11js, { type Handle } from 'pkcs11js'
import type { KeyId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { freshSpec, kcvOf } from '../algorithms.ts'
import type { TransportKeyMade } from '../contract.ts'
import { CKK, CKM } from '../mechanisms.ts'
import { kwpCheckValue } from '../root-handles.ts'
import { SYSTEM_KEYS } from '../root-keys.ts'
import { CKA, CKO } from '../templates.ts'
import type { Token } from '../token.ts'
import { type CeremonyToken, makeTrusted, openForCeremony, throughTwin } from './officer.ts'
import { syncFolder } from './sync-folder.ts'

const CKZ_DATA_SPECIFIED = 1

/**
 * A vendor's transport key (AES-256, TRUSTED, wrap only, AES-KWP only) and the row-MAC key that goes with it. Order: the officer's session object
 * leaves once, under the vendor's RSA key; it is settled as a token object; the MAC key is wrapped under it and under the storage KEK; sync;
 * the settled key is proved to be the one that left. A crash leaves a transport key that no row names, and that nothing uses.
 */
export function makeTransportKey(settings: CeremonyToken, { keyId, recipient }: { readonly keyId: KeyId; readonly recipient: Uint8Array }): TransportKeyMade {
  if (!keyId.startsWith('transport:')) throw new Error(`${keyId} is not the id of a transport key`)
  const token = openForCeremony(settings)
  token.login('user', settings.pinFile)
  if (token.find(CKO.SECRET, keyId) !== undefined) throw new Problem('conflict', 'There is a transport key of this id.')
  token.logout()

  const { handle, left } = makeTrusted(
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
    },
  )
  const macKey = makeMacKey(token, handle)
  if (settings.tokensFolder !== undefined) syncFolder(settings.tokensFolder)
  const settled = token.find(CKO.SECRET, keyId)
  if (settled === undefined || !kwpCheckValue(token, settled).equals(left.check)) throw new Error('the settled transport key is not the key that left')
  return { encryptedKey: left.encryptedKey, kcv: { method: 'aes-gp', value: left.value }, ...macKey }
}

/** RSA-OAEP with SHA-1 and MGF1-SHA-1, empty label: all that SoftHSM 2.6.1 has. */
function wrapForRecipient(token: Token, key: Handle, recipient: Uint8Array): Buffer {
  const { kty, n, e } = createPublicKey({ key: Buffer.from(recipient), format: 'der', type: 'spki' }).export({ format: 'jwk' })
  if (kty !== 'RSA' || n === undefined || e === undefined) throw new Problem('request-invalid', 'The encryption key of a recipient is an RSA key.')
  const modulus = Buffer.from(n, 'base64url')
  const publicKey = token.importKey(
    token.form({ class: CKO.PUBLIC, keyType: CKK.RSA, uses: ['wrap'], mechanisms: [] }),
    { type: CKA.MODULUS, value: modulus },
    { type: CKA.PUBLIC_EXPONENT, value: Buffer.from(e, 'base64url') },
  )
  try {
    const parameter = { type: pkcs11js.CK_PARAMS_RSA_OAEP, hashAlg: CKM.SHA_1, mgf: pkcs11js.CKG_MGF1_SHA1, source: CKZ_DATA_SPECIFIED }
    return token.lib.C_WrapKey(token.handle, { mechanism: CKM.RSA_PKCS_OAEP, parameter }, publicKey, key, Buffer.alloc(modulus.length))
  } finally {
    token.destroy(publicKey)
  }
}

function makeMacKey(token: Token, transportKey: Handle): Pick<TransportKeyMade, 'wrappedMacKey' | 'macKcv' | 'storedMacKey'> {
  const storageKek = token.find(CKO.SECRET, SYSTEM_KEYS.storageKek)
  if (storageKek === undefined) throw new Error('the token has no storage KEK')
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

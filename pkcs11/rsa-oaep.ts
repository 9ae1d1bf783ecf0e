import { createPublicKey } from 'node:crypto'
import pkcs11js, { type Handle } from 'pkcs11js'
import { Problem } from '../core/problem.ts'
import { CKK, CKM } from './mechanisms.ts'
import { CKA, CKO } from './templates.ts'
import type { Token } from './token.ts'

const CKZ_DATA_SPECIFIED = 1

/** RSA-OAEP with SHA-1 and MGF1-SHA-1, empty label: all that SoftHSM 2.6.1 has. */
export const oaep = () => ({
  mechanism: CKM.RSA_PKCS_OAEP,
  parameter: { type: pkcs11js.CK_PARAMS_RSA_OAEP, hashAlg: CKM.SHA_1, mgf: pkcs11js.CKG_MGF1_SHA1, source: CKZ_DATA_SPECIFIED },
})

/** By {@link oaep}. `recipient`: SPKI DER. */
export function wrapForRecipient(token: Token, key: Handle, recipient: Uint8Array): Buffer {
  const { kty, n, e } = createPublicKey({ key: Buffer.from(recipient), format: 'der', type: 'spki' }).export({ format: 'jwk' })
  if (kty !== 'RSA' || n === undefined || e === undefined) throw new Problem('request-invalid', 'The encryption key of a recipient is an RSA key.')
  const modulus = Buffer.from(n, 'base64url')
  const publicKey = token.importKey(
    token.form({ class: CKO.PUBLIC, keyType: CKK.RSA, uses: ['wrap'], mechanisms: [] }),
    { type: CKA.MODULUS, value: modulus },
    { type: CKA.PUBLIC_EXPONENT, value: Buffer.from(e, 'base64url') },
  )
  try {
    return token.ask(CKM.RSA_PKCS_OAEP, () => token.lib.C_WrapKey(token.handle, oaep(), publicKey, key, Buffer.alloc(modulus.length)))
  } finally {
    token.destroy(publicKey)
  }
}

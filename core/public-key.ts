import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { equalBytes } from './bytes.ts'

/** What browsers take in place of this file: clients/browser/public-key.ts, by the field `browser` of package.json. */

/** A public key that signatures are checked with. */
export class PublicKey {
  readonly algorithm: 'ed25519' | 'ecdsa-p256'
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array
  readonly #key: KeyObject

  constructor(algorithm: PublicKey['algorithm'], spki: Uint8Array, key: KeyObject) {
    this.algorithm = algorithm
    this.spki = spki
    this.#key = key
  }

  /** `signature`: of Ed25519 the 64 bytes of RFC 8032; of ECDSA (over SHA-256) a DER sequence of r and s. Never throws: what is no signature is `false`. */
  verifies(message: Uint8Array, signature: Uint8Array): boolean {
    if (this.algorithm === 'ed25519') return signature.length === 64 && verify(null, message, this.#key, signature)
    return verify('sha256', message, { key: this.#key, dsaEncoding: 'der' }, signature)
  }
}

/** Undefined: it is none of the two algorithms, or not in the one canonical form. */
export function readPublicKey(spki: Uint8Array): PublicKey | undefined {
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
    if (!equalBytes(key.export({ format: 'der', type: 'spki' }), spki)) return undefined
    if (key.asymmetricKeyType === 'ed25519') return new PublicKey('ed25519', spki, key)
    return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? new PublicKey('ecdsa-p256', spki, key) : undefined
  } catch {
    return undefined
  }
}

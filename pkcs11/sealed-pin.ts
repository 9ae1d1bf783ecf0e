import { createCipheriv, createDecipheriv, createPublicKey, diffieHellman, generateKeyPairSync, hkdfSync, type KeyObject } from 'node:crypto'

/** A PIN on its way from the keeper to the process that logs in: who passes it on (the service) cannot read it. X25519, HKDF-SHA-256, AES-256-GCM, keys for this once. */
export interface SealedPin {
  /** Of the keeper, SPKI DER. */
  readonly publicKey: Uint8Array
  /** Ciphertext || tag (16 bytes). The key is used once, so the IV is zero. */
  readonly sealed: Uint8Array
}

const IV = Buffer.alloc(12)
const TAG = 16
const INFO = 'gridseal-typed-pin-v1'

const keyOf = (privateKey: KeyObject, publicKey: Uint8Array): Buffer =>
  Buffer.from(
    hkdfSync(
      'sha256',
      diffieHellman({ privateKey, publicKey: createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' }) }),
      Buffer.alloc(0),
      INFO,
      32,
    ),
  )

export function sealPin(pin: Buffer, recipient: Uint8Array): SealedPin {
  const { publicKey, privateKey } = generateKeyPairSync('x25519')
  const cipher = createCipheriv('aes-256-gcm', keyOf(privateKey, recipient), IV)
  const sealed = Buffer.concat([cipher.update(pin), cipher.final(), cipher.getAuthTag()])
  return { publicKey: publicKey.export({ format: 'der', type: 'spki' }), sealed }
}

/** The side of the process that logs in. */
export class PinRecipient {
  readonly #pair = generateKeyPairSync('x25519')

  /** SPKI DER. */
  get publicKey(): Uint8Array {
    return this.#pair.publicKey.export({ format: 'der', type: 'spki' })
  }

  /** Throws on what was not sealed for it. */
  open({ publicKey, sealed }: SealedPin): Buffer {
    const bytes = Buffer.from(sealed)
    const decipher = createDecipheriv('aes-256-gcm', keyOf(this.#pair.privateKey, publicKey), IV)
    decipher.setAuthTag(bytes.subarray(-TAG))
    return Buffer.concat([decipher.update(bytes.subarray(0, -TAG)), decipher.final()])
  }
}

import { Crypto } from '@peculiar/webcrypto'
import { createCipheriv, createPrivateKey, createPublicKey } from 'node:crypto'
import { hex, sha256 } from '../core/bytes.ts'

const { subtle } = new Crypto()
/** The library asks for the MAC's length in bits, and always gives 128. */
const CMAC = { name: 'AES-CMAC', length: 128 }

/** A key for AES-CMAC (RFC 4493), which Node's own crypto does not have. */
export interface CmacKey {
  sign(message: Uint8Array): Promise<Uint8Array>
  verify(message: Uint8Array, mac: Uint8Array): Promise<boolean>
}

export async function aesCmacKey(value: Uint8Array): Promise<CmacKey> {
  const key = await subtle.importKey('raw', new Uint8Array(value), { name: CMAC.name }, false, ['sign', 'verify'])
  return {
    sign: async (message) => new Uint8Array(await subtle.sign(CMAC, key, new Uint8Array(message))),
    verify: (message, mac) => subtle.verify(CMAC, key, new Uint8Array(mac), new Uint8Array(message)),
  }
}

/**
 * The check value of a key by a named method: `aes-gp` AES of sixteen 01, 3 bytes (GPC Amendment D 7.2.2); `aes-cmac` CMAC of sixteen 00, 5 bytes
 * (X9.24-1); `spki-sha256` SHA-256 of the public key (SPKI DER) of a private one (PKCS#8 DER), 5 bytes. Undefined for another method, or a key that has none.
 */
export async function checkValue(method: string, key: Uint8Array): Promise<Uint8Array | undefined> {
  if (method === 'aes-cmac') return (await (await aesCmacKey(key)).sign(new Uint8Array(16))).subarray(0, 5)
  if (method === 'spki-sha256') return publicKeyOf(key)?.subarray(0, 5)
  if (method !== 'aes-gp' || (key.length !== 16 && key.length !== 32)) return undefined
  const cipher = createCipheriv(key.length === 16 ? 'aes-128-ecb' : 'aes-256-ecb', key, null).setAutoPadding(false)
  return cipher.update(new Uint8Array(16).fill(1)).subarray(0, 3)
}

/** SHA-256 of the SPKI. What follows the DER value is passed over: SoftHSM fills a PKCS#8 up to 8 bytes before it wraps it. */
function publicKeyOf(pkcs8: Uint8Array): Uint8Array | undefined {
  try {
    const privateKey = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' })
    return sha256(createPublicKey(privateKey).export({ format: 'der', type: 'spki' }))
  } catch {
    return undefined
  }
}

/** Whether `value` (hex) is the key's check value by that method. */
export async function hasCheckValue(key: Uint8Array, kcv: { readonly method: string; readonly value: string }): Promise<boolean> {
  const value = await checkValue(kcv.method, key)
  return value !== undefined && hex(value) === kcv.value.toLowerCase()
}

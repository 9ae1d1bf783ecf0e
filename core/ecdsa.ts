import { type KeyObject, verify } from 'node:crypto'

/** Whether the key (P-256) made the signature (raw r||s, 64 bytes): ECDSA with SHA-256 (FIPS 186-5 6.4). On a thread beside the event loop, so that many hold up nobody. */
export const isEcdsaSignature = (key: KeyObject, message: Uint8Array, signature: Uint8Array): Promise<boolean> =>
  new Promise((resolve, reject) => {
    verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, signature, (error, isRight) => (error === null ? resolve(isRight) : reject(error)))
  })

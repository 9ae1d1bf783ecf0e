import { KeyObject, webcrypto } from 'node:crypto'
import { equalBytes, fromHex } from '../core/bytes.ts'

/** Of a SubjectPublicKeyInfo of P-256 (RFC 5480 2), what stands before the point: SEQUENCE, its algorithm, the head of the BIT STRING. 26 bytes. */
const PREFIX = fromHex('3059301306072a8648ce3d020106082a8648ce3d030107034200')
/** An uncompressed point (SEC 1 2.3.3): 04, x, y. */
const UNCOMPRESSED = 0x04
const LENGTH = PREFIX.length + 1 + 2 * 32

/**
 * A card's public key. `spki`: DER, P-256, 91 bytes. As a raw point it is taken in half the time of DER. That it is on the curve is checked; that is enough, since
 * the curve has no points of another order (SEC 1 3.2.2.1, cofactor 1). Rejects with a RangeError on another kind of key, and with node's DataError on a point that
 * is not on the curve.
 */
export async function cardKey(spki: Uint8Array): Promise<KeyObject> {
  if (spki.length !== LENGTH || spki[PREFIX.length] !== UNCOMPRESSED || !equalBytes(spki.subarray(0, PREFIX.length), PREFIX)) {
    throw new RangeError('a card’s key is an uncompressed point of P-256 in 91 bytes of DER')
  }
  const key = await webcrypto.subtle.importKey('raw', spki.subarray(PREFIX.length), { name: 'ECDSA', namedCurve: 'P-256' }, true, ['verify'])
  return KeyObject.from(key)
}

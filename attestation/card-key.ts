import { createPublicKey, type KeyObject } from 'node:crypto'
import { base64url, equalBytes, fromHex } from '../core/bytes.ts'

/** Of a SubjectPublicKeyInfo of P-256 (RFC 5480 2), what stands before the point: SEQUENCE, its algorithm, the head of the BIT STRING. 26 bytes. */
const PREFIX = fromHex('3059301306072a8648ce3d020106082a8648ce3d030107034200')
const COORDINATE = 32
/** An uncompressed point (SEC 1 2.3.3): 04, x, y. */
const UNCOMPRESSED = 0x04
const X_AT = PREFIX.length + 1
const LENGTH = X_AT + 2 * COORDINATE

/**
 * A card's public key. `spki`: DER, P-256, 91 bytes. As a JWK it is taken in half the time of DER, and its point is checked to be on the curve all the same.
 * Throws a RangeError on another kind of key, and node's error on a point that is not on the curve.
 */
export function cardKey(spki: Uint8Array): KeyObject {
  if (spki.length !== LENGTH || spki[PREFIX.length] !== UNCOMPRESSED || !equalBytes(spki.subarray(0, PREFIX.length), PREFIX)) {
    throw new RangeError('a card’s key is an uncompressed point of P-256 in 91 bytes of DER')
  }
  const [x, y] = [spki.subarray(X_AT, X_AT + COORDINATE), spki.subarray(X_AT + COORDINATE)]
  return createPublicKey({ key: { kty: 'EC', crv: 'P-256', x: base64url(x), y: base64url(y) }, format: 'jwk' })
}

/** Mechanisms (PKCS#11 v3.0 6, and v2.40). Written out, because pkcs11js lacks those of Edwards curves and KWP. */
export const CKM = {
  RSA_PKCS_OAEP: 0x9,
  SHA_1: 0x220,
  SHA_1_HMAC: 0x221,
  SHA256_HMAC: 0x251,
  GENERIC_SECRET_KEY_GEN: 0x350,
  EC_KEY_PAIR_GEN: 0x1040,
  ECDSA: 0x1041,
  EC_EDWARDS_KEY_PAIR_GEN: 0x1055,
  EDDSA: 0x1057,
  AES_KEY_GEN: 0x1080,
  AES_ECB: 0x1081,
  AES_GCM: 0x1087,
  AES_CMAC: 0x108a,
  AES_CBC_ENCRYPT_DATA: 0x1105,
  /** RFC 5649 on SoftHSM; RFC 3394 over PKCS#7 padding on others. */
  AES_KEY_WRAP_PAD: 0x210a,
  /** RFC 5649 since PKCS#11 v3.0. */
  AES_KEY_WRAP_KWP: 0x210b,
} as const

export type MechanismName = keyof typeof CKM

/** `AES_CMAC (0x108a)`; of a mechanism that is not in the table the number alone. */
export function describeMechanism(mechanism: number): string {
  const number = `0x${mechanism.toString(16)}`
  const name = Object.entries(CKM).find(([, value]) => value === mechanism)?.[0]
  return name === undefined ? number : `${name} (${number})`
}

/** The two numbers that AES-KWP (RFC 5649) goes by; which one a token means is told by a known answer, see `Token.open`. */
export const KWP_CANDIDATES: readonly number[] = [CKM.AES_KEY_WRAP_PAD, CKM.AES_KEY_WRAP_KWP]

export const CKK = { RSA: 0x0, EC: 0x3, GENERIC_SECRET: 0x10, AES: 0x1f, EC_EDWARDS: 0x40 } as const

/** DER of `prime256v1`. */
export const P256_PARAMS: Buffer = Buffer.from('06082a8648ce3d030107', 'hex')
/** PrintableString `edwards25519` (PKCS#11 v3.0 2.3.5). */
export const ED25519_PARAMS: Buffer = Buffer.from('130c656477617264733235353139', 'hex')

const P256_SPKI = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex')
const ED25519_SPKI = Buffer.from('302a300506032b6570032100', 'hex')

/** CKA_EC_POINT: a DER OCTET STRING by the standard, the bare point on some tokens. */
const point = (value: Uint8Array, lengthBytes: number): Uint8Array =>
  value.length === lengthBytes + 2 && value[0] === 0x04 && value[1] === lengthBytes ? value.subarray(2) : value

/** SPKI DER of a P-256 key from its CKA_EC_POINT. */
export function p256Spki(ecPoint: Uint8Array): Buffer {
  const bare = point(ecPoint, 65)
  if (bare.length !== 65 || bare[0] !== 0x04) throw new RangeError('the token gave no uncompressed P-256 point')
  return Buffer.concat([P256_SPKI, bare])
}

/** CKA_EC_POINT (DER OCTET STRING) of a P-256 key from its SPKI DER. `undefined` for any other key. */
export function p256Point(spki: Uint8Array): Buffer | undefined {
  if (spki.length !== 91 || !P256_SPKI.equals(spki.subarray(0, 26)) || spki[26] !== 0x04) return undefined
  return Buffer.concat([Buffer.from([0x04, 65]), spki.subarray(26)])
}

/** SPKI DER (RFC 8410) of an Ed25519 key from its CKA_EC_POINT. */
export function ed25519Spki(ecPoint: Uint8Array): Buffer {
  const bare = point(ecPoint, 32)
  if (bare.length !== 32) throw new RangeError('the token gave no Ed25519 point')
  return Buffer.concat([ED25519_SPKI, bare])
}

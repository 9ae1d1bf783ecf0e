import type { Handle } from 'pkcs11js'
import type { KeyAlgorithm } from './contract.ts'
import { KCV_LENGTH, type KcvMethod } from './kcv.ts'
import { CKK, CKM } from './mechanisms.ts'
import { CKO, type KeySpec, type Use } from './templates.ts'
import type { Token } from './token.ts'

/** What a secret key computes of itself. */
type SecretKcv = Exclude<KcvMethod, 'spki-sha256'>

interface SecretAlgorithm {
  readonly keyType: number
  readonly lengthBytes: number
  readonly uses: readonly Use[]
  readonly mechanisms: readonly number[]
  readonly kcv: SecretKcv
}

const AES_BLOCK: Omit<SecretAlgorithm, 'lengthBytes'> = { keyType: CKK.AES, uses: ['encrypt', 'decrypt'], mechanisms: [CKM.AES_ECB], kcv: 'aes-gp' }
const AES_GCM: Omit<SecretAlgorithm, 'lengthBytes'> = { keyType: CKK.AES, uses: ['encrypt', 'decrypt'], mechanisms: [CKM.AES_GCM], kcv: 'aes-cmac' }
const AES_MAC: Omit<SecretAlgorithm, 'lengthBytes'> = { keyType: CKK.AES, uses: ['sign'], mechanisms: [CKM.AES_CMAC], kcv: 'aes-cmac' }

/** What each secret key of the database is in the token: the one table. */
export const SECRET_ALGORITHMS: Readonly<Record<Exclude<KeyAlgorithm, 'ec-p256'>, SecretAlgorithm>> = {
  'hmac-sha256': { keyType: CKK.GENERIC_SECRET, lengthBytes: 32, uses: ['sign'], mechanisms: [CKM.SHA256_HMAC], kcv: 'hmac-sha256' },
  'aes-128': { ...AES_BLOCK, lengthBytes: 16 },
  'aes-256': { ...AES_BLOCK, lengthBytes: 32 },
  'aes-gcm-256': { ...AES_GCM, lengthBytes: 32 },
  'aes-cmac-128': { ...AES_MAC, lengthBytes: 16 },
  'aes-cmac-256': { ...AES_MAC, lengthBytes: 32 },
}

export const isKeyAlgorithm = (text: unknown): text is KeyAlgorithm =>
  text === 'ec-p256' || (typeof text === 'string' && Object.hasOwn(SECRET_ALGORITHMS, text))

/** The secret of one-time codes: HMAC-SHA-1 with a 20-byte key (RFC 4226 4, R6). No operation can name one, and none is a caller's key: {@link KeyAlgorithm} has none of it. */
export const OTP_ALGORITHM = 'hmac-sha1'
export const OTP_SECRET_BYTES = 20
export const OTP_SPEC: KeySpec = { class: CKO.SECRET, keyType: CKK.GENERIC_SECRET, uses: ['sign'], mechanisms: [CKM.SHA_1_HMAC] }

/** Everything that rows of the database hold under the storage KEK: what a rotation of it opens and wraps anew. */
export type StoredAlgorithm = KeyAlgorithm | typeof OTP_ALGORITHM

export const isStoredAlgorithm = (text: unknown): text is StoredAlgorithm => text === OTP_ALGORITHM || isKeyAlgorithm(text)
export const storedSpec = (algorithm: StoredAlgorithm): KeySpec => (algorithm === OTP_ALGORITHM ? OTP_SPEC : loadedSpec(algorithm))

/** A key as it is used: it cannot leave. */
export function loadedSpec(algorithm: KeyAlgorithm): KeySpec {
  if (algorithm === 'ec-p256') return { class: CKO.PRIVATE, keyType: CKK.EC, uses: ['sign'], mechanisms: [CKM.ECDSA] }
  const { keyType, uses, mechanisms } = SECRET_ALGORITHMS[algorithm]
  return { class: CKO.SECRET, keyType, uses, mechanisms }
}

/** What a key must do to tell its check value. */
const CHECKS: Readonly<Record<SecretKcv, Pick<KeySpec, 'uses' | 'mechanisms'>>> = {
  'aes-gp': { uses: ['encrypt'], mechanisms: [CKM.AES_ECB] },
  'aes-cmac': { uses: ['sign'], mechanisms: [CKM.AES_CMAC] },
  'hmac-sha256': { uses: ['sign'], mechanisms: [CKM.SHA256_HMAC] },
}

/**
 * A key as it is made: a session object that tells its check value, if it is a secret one, and leaves once, under a trusted key.
 * So the check value of an AES-GCM key can be a standard one (CMAC, X9.24-1), although the key as it is used does GCM and nothing else. It is not `aes-gp`,
 * whose block is one of keystream: that of the IV 01 * 12 and the counter 01010101; nor that over zeros, which shows a part of GCM's H.
 */
export const freshSpec = (algorithm: KeyAlgorithm): KeySpec => ({
  ...loadedSpec(algorithm),
  ...(algorithm === 'ec-p256' ? {} : CHECKS[SECRET_ALGORITHMS[algorithm].kcv]),
  extractable: true,
  wrapWithTrusted: true,
})

export const P256_PUBLIC: KeySpec = { class: CKO.PUBLIC, keyType: CKK.EC, uses: ['verify'], mechanisms: [] }

const ONES = Buffer.alloc(16, 1)
const ZEROS = Buffer.alloc(16)

/** Computed by the key itself. CKA_CHECK_VALUE is wrong on derived keys and empty on unwrapped ones (SoftHSM 2.6.1). */
export function kcvOf(token: Token, method: SecretKcv, key: Handle): Buffer {
  const whole = { 'aes-gp': aesGp, 'aes-cmac': aesCmac, 'hmac-sha256': hmac }[method](token, key)
  return whole.subarray(0, KCV_LENGTH[method])
}
const aesGp = (token: Token, key: Handle): Buffer => token.encryptBlock(key, ONES)
const aesCmac = (token: Token, key: Handle): Buffer => token.cmac(key, ZEROS)
const hmac = (token: Token, key: Handle): Buffer => token.sign(CKM.SHA256_HMAC, key, ZEROS, Buffer.alloc(32))

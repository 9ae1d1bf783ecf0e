import { OTP_ALGORITHM, OTP_SECRET_BYTES, OTP_SPEC } from './algorithms.ts'
import type { LaneKeys, SealedBytes } from './lane-keys.ts'
import { CKM } from './mechanisms.ts'
import { CKA } from './templates.ts'

/** The secret of somebody's one-time codes, as it is made: wrapped for the database, and this one time in clear, for the person. */
export interface OtpSecret {
  /** AES-KWP under the storage KEK. */
  readonly wrapped: Uint8Array
  /** 20 bytes. The lane wipes its own once they are sent: see {@link wipeSecret}. */
  readonly secret: Uint8Array
}

/**
 * Bytes by the token's generator, brought in as a key that is sensitive as all others: the person's device must have the value, and so nothing has to be made
 * that the token would tell the value of.
 */
export function makeOtpSecret(keys: LaneKeys): OtpSecret {
  const { token } = keys
  const secret = token.lib.C_GenerateRandom(token.handle, Buffer.alloc(OTP_SECRET_BYTES))
  try {
    const key = token.importKey(token.form({ ...OTP_SPEC, extractable: true, wrapWithTrusted: true }), { type: CKA.VALUE, value: secret })
    try {
      return { wrapped: Buffer.from(token.wrap(keys.current('storage-kek'), key)), secret }
    } finally {
      token.destroy(key)
    }
  } catch (error) {
    secret.fill(0)
    throw error
  }
}

/** Wipes the secret of an answer that was sent. Copies that the channel between the processes made are freed, not wiped. */
export function wipeSecret(answer: unknown): void {
  if (typeof answer === 'object' && answer !== null && 'secret' in answer && answer.secret instanceof Uint8Array) answer.secret.fill(0)
}

/** Counters of one call: the time step of now and the one before it. */
const MOST_COUNTERS = 2
const SHA_1 = 20

export interface OtpCall {
  /** A row with `algorithm` ({@link OTP_ALGORITHM}) and `wrapped`. */
  readonly sealed: SealedBytes
  readonly counters: readonly number[]
}

/**
 * HMAC-SHA-1 over each counter as 8 bytes, big-endian (RFC 4226 5.2), 20 bytes each, one after the other. The row's MAC is checked before anything is unwrapped.
 * The key is unwrapped for this call and no handle of it is kept: a person who logs in often must not be answered sooner than one whom nobody knows.
 */
export function otpHmac(keys: LaneKeys, { sealed, counters }: OtpCall): Buffer {
  if (counters.length === 0 || counters.length > MOST_COUNTERS || !counters.every((one) => Number.isSafeInteger(one) && one >= 0))
    throw new RangeError(`one call is about 1 to ${String(MOST_COUNTERS)} counters`)
  const { algorithm, wrapped } = keys.open(sealed).columns
  if (algorithm !== OTP_ALGORITHM || !(wrapped instanceof Uint8Array)) throw new Error('the row holds no secret of one-time codes')
  const { token } = keys
  const { handle } = keys.unwrap(wrapped, token.form(OTP_SPEC))
  try {
    const out = Buffer.alloc(SHA_1 * counters.length)
    const message = Buffer.alloc(8)
    counters.forEach((counter, at) => {
      message.writeBigUInt64BE(BigInt(counter))
      token.sign(CKM.SHA_1_HMAC, handle, message, out.subarray(SHA_1 * at, SHA_1 * (at + 1)))
    })
    return out
  } finally {
    token.destroy(handle)
  }
}

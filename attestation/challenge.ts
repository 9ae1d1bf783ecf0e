import { base64url } from '../core/bytes.ts'
import type { Row } from '../core/row.ts'

/** How a card proves itself: by a MAC of its derived key, as a USIM (Milenage), by its certificate's key, or by evidence of the device that it sits in. */
export const METHODS = ['cmac', 'milenage', 'signature', 'evidence'] as const
export type Method = (typeof METHODS)[number]

/** How long a challenge may be answered, by the database's clock. */
const CHALLENGE_MS = 150_000

/** A challenge. INVARIANT: it is spent by the first answer, right or wrong, before anything is evaluated. */
export interface Challenge {
  /** 32 random bytes; its base64url is the challenge's id. RAND of Milenage is its first 16 bytes. */
  readonly nonce: Uint8Array
  /** 16 random bytes, so that the row's digest in the log does not give the ICCID away to who tries all. Purged with the row. */
  readonly salt: Uint8Array
  readonly iccid: string
  readonly method: Method
  /** URN of the caller that asked for it, the only one that may answer it. */
  readonly caller: string
  readonly issuedAt: Date
  readonly expiresAt: Date
  /** 1: open. 2: spent. */
  readonly version: 1 | 2
}

const NONCE_BYTES = 32
/** How much randomness a challenge takes: nonce and salt. */
export const CHALLENGE_RANDOM_BYTES = NONCE_BYTES + 16

/** An open challenge. `random`: {@link CHALLENGE_RANDOM_BYTES} unpredictable bytes. */
export function newChallenge({
  random,
  issuedAt,
  ...whose
}: Pick<Challenge, 'iccid' | 'method' | 'caller' | 'issuedAt'> & { readonly random: Uint8Array }): Challenge {
  const expiresAt = new Date(issuedAt.getTime() + CHALLENGE_MS)
  return { ...whose, nonce: random.subarray(0, NONCE_BYTES), salt: random.subarray(NONCE_BYTES), issuedAt, expiresAt, version: 1 }
}

export const challengeId = (challenge: Pick<Challenge, 'nonce'>): string => base64url(challenge.nonce)

/** RAND (TS 33.102 6.3.2), 16 bytes. */
export const randOf = (challenge: Pick<Challenge, 'nonce'>): Uint8Array => challenge.nonce.subarray(0, 16)

export const spent = (challenge: Challenge): Challenge => ({ ...challenge, version: 2 })

/** What of a challenge is sealed: everything. */
export const challengeRow = (c: Challenge): Row => ({
  table: 'attestation_nonces',
  schema: 1,
  id: challengeId(c),
  version: c.version,
  columns: {
    salt: c.salt,
    iccid: c.iccid,
    method: c.method,
    caller: c.caller,
    issued_at: c.issuedAt.toISOString(),
    expires_at: c.expiresAt.toISOString(),
  },
})

import type { SealedRow } from '../../core/row.ts'

/** What a MAC by the pepper key is for. No two purposes share a MAC. */
export type PepperPurpose = 'password' | 'recovery-code' | 'device' | 'login-name'

/**
 * What logins need of the token: functions that main.ts hands in. Its keys serve nothing else. A stolen database is of no use for guessing passwords without the
 * pepper key, and shows no secret of one-time codes.
 */
export interface PersonSecrets {
  /** HMAC-SHA-256 by the pepper key over `purpose || 00 || value`, 32 bytes. */
  pepper(purpose: PepperPurpose, value: Uint8Array): Promise<Uint8Array>
  /** A new secret of one-time codes: 20 bytes, under the storage KEK, and in clear this one time, for the person. */
  makeOtpSecret(): Promise<{ readonly wrapped: Uint8Array; readonly secret: Uint8Array }>
  /**
   * HMAC-SHA-1 by the secret in a row of `person_otps` over each counter as 8 bytes, big-endian (RFC 4226 5.2): 20 bytes each.
   * Throws `integrity-failed` where the row's MAC is not right; the secret is not unwrapped then.
   */
  otpHmac(secret: SealedRow, counters: readonly number[]): Promise<Uint8Array[]>
}

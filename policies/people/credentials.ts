import type { Row } from '../../core/row.ts'

/** Cost of Argon2id (RFC 9106): memory in KiB, passes, lanes. Kept with each digest, so that another cost can be chosen later. */
export interface HashCost {
  readonly memoryKib: number
  readonly passes: number
  readonly lanes: number
}

/** A person's password. */
export interface PasswordRecord {
  readonly personId: string
  /** `set`: waits for the first one-time code. `frozen`: too many wrong codes with the right password; a ticket ends it. */
  readonly state: 'set' | 'active' | 'frozen'
  /** 16 random bytes. */
  readonly salt: Uint8Array
  /** Argon2id over the token's MAC of the password, 32 bytes. */
  readonly digest: Uint8Array
  readonly cost: HashCost
  readonly setAt: Date
  /** Sessions end with another one. */
  readonly version: number
}

/** The secret of a person's one-time codes, and what was used of them. */
export interface OtpRecord {
  readonly personId: string
  /** `pending`: no code of it was shown yet. */
  readonly state: 'pending' | 'active'
  /** Under the storage KEK. */
  readonly wrapped: Uint8Array
  /** The last time step whose code was taken: none of it or before it is taken again. -1 before the first. */
  readonly lastStep: number
  /** Digests of the recovery codes that are left, base64url. */
  readonly recovery: readonly string[]
  readonly version: number
}

/** What lets a person set password and one-time codes: given out by an officer, once. One a person; a new one takes the place of the old. */
export interface TicketRecord {
  readonly personId: string
  /** SHA-256 of the ticket. */
  readonly digest: Uint8Array
  readonly state: 'issued' | 'password-set' | 'used'
  /** URN. */
  readonly issuedBy: string
  readonly issuedAt: Date
  readonly expiresAt: Date
  readonly version: number
}

export const passwordRow = (r: PasswordRecord): Row => ({
  table: 'person_passwords',
  schema: 1,
  id: r.personId,
  version: r.version,
  columns: {
    ...{ state: r.state, salt: r.salt, digest: r.digest, memory_kib: r.cost.memoryKib, passes: r.cost.passes, lanes: r.cost.lanes },
    set_at: r.setAt.toISOString(),
  },
})

/** The token's name of the algorithm: HMAC-SHA-1 with a 20-byte key (RFC 4226 4, R6). */
export const OTP_ALGORITHM = 'hmac-sha1'

export const otpRow = (r: OtpRecord): Row => ({
  table: 'person_otps',
  schema: 1,
  id: r.personId,
  version: r.version,
  columns: { state: r.state, algorithm: OTP_ALGORITHM, wrapped: r.wrapped, last_step: r.lastStep, recovery: r.recovery.join(' ') },
})

export const ticketRow = (r: TicketRecord): Row => ({
  table: 'person_tickets',
  schema: 1,
  id: r.personId,
  version: r.version,
  columns: { digest: r.digest, state: r.state, issued_by: r.issuedBy, issued_at: r.issuedAt.toISOString(), expires_at: r.expiresAt.toISOString() },
})

import type { Row } from '../../core/row.ts'

/** A login that goes on: who shows its token from the same place is the person, until it ends. */
export interface Session {
  readonly id: string
  /** SHA-256 of the token; the token itself is nowhere here. */
  readonly digest: Uint8Array
  readonly personId: string
  /** The registration that its person came in as. */
  readonly callerId: string
  /** Version of the password's row at the login: once that is another, the session has ended. */
  readonly passwordVersion: number
  /** Where it was opened from. */
  readonly address: string
  /** SHA-256 of the client certificate that was shown then, hex; undefined: none was. */
  readonly certificate?: string
  readonly openedAt: Date
  /** Used or not. */
  readonly expiresAt: Date
  /** Set once it was ended before its time. */
  readonly end?: { readonly at: Date; readonly why: 'closed' | 'revoked' | 'stolen' }
  readonly version: number
}

/** When a session was used last, to some seconds. A row of its own that the log does not name: each use has an entry there already. */
export interface SessionUse {
  readonly sessionId: string
  readonly usedAt: Date
  readonly version: number
}

export const sessionRow = (s: Session): Row => ({
  table: 'person_sessions',
  schema: 1,
  id: s.id,
  version: s.version,
  columns: {
    ...{ digest: s.digest, person_id: s.personId, caller_id: s.callerId, password_version: s.passwordVersion, address: s.address, certificate: s.certificate },
    ...{ opened_at: s.openedAt.toISOString(), expires_at: s.expiresAt.toISOString(), ended_at: s.end?.at.toISOString(), ended: s.end?.why },
  },
})

export const sessionUseRow = (u: SessionUse): Row => ({
  table: 'person_session_uses',
  schema: 1,
  id: u.sessionId,
  version: u.version,
  columns: { used_at: u.usedAt.toISOString() },
})

/** How long sessions last. */
export interface SessionLimits {
  /** Without use. Default 15 minutes. */
  readonly idleMs: number
  /** In all. Default 8 hours. */
  readonly mostMs: number
}
export const SESSION_LIMITS: SessionLimits = { idleMs: 15 * 60_000, mostMs: 8 * 3_600_000 }

export type SessionState = 'open' | 'closed' | 'revoked' | 'stolen' | 'password-changed' | 'idle' | 'expired'

/** What of a session holds at a moment. `passwordVersion`: of the password's row now; undefined where it no longer lets anybody in. */
export function stateOf(
  session: Session,
  {
    use,
    passwordVersion,
    idleMs,
    at,
  }: { readonly use: SessionUse | undefined; readonly passwordVersion: number | undefined; readonly idleMs: number; readonly at: Date },
): SessionState {
  if (session.end !== undefined) return session.end.why
  if (session.passwordVersion !== passwordVersion) return 'password-changed'
  if (at >= session.expiresAt) return 'expired'
  // A session whose use is nowhere: its row was deleted.
  if (use === undefined || at.getTime() - use.usedAt.getTime() >= idleMs) return 'idle'
  return 'open'
}

/** The kinds of callers that are registered. */
export const REGISTERED_KINDS = ['vendor', 'module', 'officer', 'auditor', 'business'] as const
export type RegisteredKind = (typeof REGISTERED_KINDS)[number]

/**
 * The kinds of callers that come from outside. `person`: somebody who acts for themselves and in no role, such as who ends a session of theirs.
 * `anonymous`: nobody knows who it is; who logs in is so at first.
 */
export const CALLER_KINDS = [...REGISTERED_KINDS, 'person', 'anonymous'] as const
/** `system` is the service itself: its jobs and timers are callers too, with policies of their own. */
export type CallerKind = (typeof CALLER_KINDS)[number] | 'system'

/** The kinds that need an admission: an organisation and its documents stand behind them, and no person does. See policies/admissions/. */
export const ADMITTED_KINDS = ['vendor', 'module'] as const satisfies readonly RegisteredKind[]
export type AdmittedKind = (typeof ADMITTED_KINDS)[number]
export const needsAdmission = (kind: string): kind is AdmittedKind => kind === 'module' || kind === 'vendor'

/** {@link Caller.admittedUntil} of callers that are imagined, and are to be admitted at any time. */
export const ADMITTED_AT_ANY_TIME = Number.MAX_SAFE_INTEGER

/** How callers prove who they are. `password+totp`: password and one-time code (RFC 6238), at the beginning of a session. */
export const STRENGTHS = ['certificate', 'password+totp'] as const
export type Strength = (typeof STRENGTHS)[number]

/** The service's two sockets: `tls` with client certificates, `plain` for what anyone may read. */
export const LISTENERS = ['tls', 'plain'] as const
export type Listener = (typeof LISTENERS)[number]

/** Who asks: from the registration that the client certificate belongs to, never from what the certificate says of itself. */
export interface Caller {
  readonly kind: CallerKind
  /** Unique within its kind: `acme-cards`, `billing`. */
  readonly name: string
  /** Id of the registration; for `system`, its URN. */
  readonly id: string
  /** SHA-256 of the client certificate, hex. Absent for `system`, and where none was shown. Of `anonymous`: whatever was shown. */
  readonly certificate?: string
  /** The address the connection came from. Absent for `system`. */
  readonly address?: string
  /** The listener that the connection came to. Absent for `system`. */
  readonly listener?: Listener
  /** How the caller proved who it is. Absent for `system` and `anonymous`. */
  readonly strength?: Strength
  /** Who stands behind the registration. Absent for vendors, modules, `system` and `anonymous`. */
  readonly person?: PersonName
  /** Id of the session that the caller came by. Absent where it was a certificate. */
  readonly session?: string
  /** When its admission ends: milliseconds since 1970. Absent: it is not admitted. Looked at of vendors and modules alone. */
  readonly admittedUntil?: number
}

/** Whether nothing is in the way but the policy: a vendor or module needs an admission that has not ended. */
export const isAdmitted = ({ kind, admittedUntil }: Pick<Caller, 'kind' | 'admittedUntil'>, at: number): boolean =>
  !needsAdmission(kind) || (admittedUntil !== undefined && at < admittedUntil)

/** A person, whom approvals by "another" are counted by: one person may have several registrations and certificates. */
export interface PersonName {
  readonly id: string
  readonly name: string
}

/** Whether the caller of a URN and this one are the same person; of callers behind whom no person stands, whether they are the same caller. */
export type SamePerson = (urn: string, caller: Caller) => Promise<boolean>

/** The caller's name in certificates (SAN URI), policies and the log. */
export const callerUrn = (caller: Pick<Caller, 'kind' | 'name'>): string => `urn:gridseal:${caller.kind}:${caller.name}`

export const systemCaller = (name: string): Caller => ({ kind: 'system', name, id: `urn:gridseal:system:${name}` })

/** Whoever it is that shows no registration. */
export const anonymousCaller = (from: Pick<Caller, 'address' | 'listener' | 'certificate'>): Caller => ({
  kind: 'anonymous',
  name: 'nobody',
  id: 'urn:gridseal:anonymous:nobody',
  ...from,
})

/** The kinds of callers. `system` is the service itself: its jobs and timers are callers too, with policies of their own. */
export const CALLER_KINDS = ['vendor', 'module', 'officer', 'auditor'] as const
export type CallerKind = (typeof CALLER_KINDS)[number] | 'system'

/** Who asks: from the registration that the client certificate belongs to, never from what the certificate says of itself. */
export interface Caller {
  readonly kind: CallerKind
  /** Unique within its kind: `acme-cards`, `billing`. */
  readonly name: string
  /** Id of the registration; for `system`, its URN. */
  readonly id: string
  /** SHA-256 of the client certificate, hex. Absent for `system`. */
  readonly certificate?: string
  /** The address the connection came from. Absent for `system`. */
  readonly address?: string
}

/** The caller's name in certificates (SAN URI), policies and the log. */
export const callerUrn = (caller: Pick<Caller, 'kind' | 'name'>): string => `urn:gridseal:${caller.kind}:${caller.name}`

export const systemCaller = (name: string): Caller => ({ kind: 'system', name, id: `urn:gridseal:system:${name}` })

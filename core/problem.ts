/** Every way in which a request can fail: one table. `docs/problems.md` says of each what to do. */
export const PROBLEMS = {
  'held': { status: 202, title: 'The policy holds this request until others have approved it' },
  'request-invalid': { status: 400, title: 'The request is not valid' },
  'unauthenticated': { status: 401, title: 'No accepted client certificate or session was presented' },
  'ticket-invalid': { status: 401, title: 'The ticket is not valid' },
  'login-failed': { status: 401, title: 'Name, password or code is not right' },
  'forbidden': { status: 403, title: 'The policy does not allow this' },
  'cross-site': { status: 403, title: 'The request did not come from a page of the service' },
  'not-found': { status: 404, title: 'There is no such thing here' },
  'method-not-allowed': { status: 405, title: 'This address does not take that method' },
  'conflict': { status: 409, title: 'The present state does not allow this' },
  'archived': { status: 410, title: 'This part of the audit log is in its archive alone' },
  'body-too-large': { status: 413, title: 'The body is too large' },
  'media-type-unsupported': { status: 415, title: 'The content type is not one that this address takes' },
  'order-invalid': { status: 422, title: 'The order has faults' },
  'password-weak': { status: 422, title: 'The password is too weak' },
  'login-delayed': { status: 429, title: 'After failed logins the next one has to wait' },
  'quota-exceeded': { status: 429, title: 'The policy allows no more of this in the period' },
  'rate-exceeded': { status: 429, title: 'The policy does not allow this so often' },
  'internal': { status: 500, title: 'The service failed' },
  'integrity-failed': { status: 500, title: 'A stored record is not what the service wrote' },
  'hsm-failed': { status: 500, title: 'The HSM refused an operation' },
  'mechanism-unsupported': { status: 501, title: 'The HSM does not have what this needs' },
  'clock-unreliable': { status: 503, title: 'The clocks of the service and its database are not to be relied on' },
  'overloaded': { status: 503, title: 'Too much of this waits already' },
  'hsm-unavailable': { status: 503, title: 'The HSM cannot be reached' },
  'log-unavailable': { status: 503, title: 'The audit log cannot be written' },
  'database-unavailable': { status: 503, title: 'The database cannot be reached' },
} as const satisfies Record<string, { readonly status: number; readonly title: string }>

export type ProblemCode = keyof typeof PROBLEMS

/** One fault in what the caller sent. `line` and `column` count from 1 and are for text files; `pointer` is an RFC 6901 JSON pointer. */
export interface Fault {
  readonly message: string
  readonly pointer?: string
  readonly line?: number
  readonly column?: number
}

/** A failure that the caller is told of (RFC 9457). `detail` is public: it says what is wrong and what to do, and holds no secret. `cause` stays inside. */
export class Problem extends Error {
  readonly code: ProblemCode
  readonly detail: string
  readonly faults: readonly Fault[]
  /** For the header `retry-after`. */
  readonly retryAfterSeconds: number | undefined

  constructor(
    code: ProblemCode,
    detail: string,
    options: { readonly cause?: unknown; readonly faults?: readonly Fault[]; readonly retryAfterSeconds?: number } = {},
  ) {
    super(`${code}: ${detail}`, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'Problem'
    this.code = code
    this.detail = detail
    this.faults = options.faults ?? []
    this.retryAfterSeconds = options.retryAfterSeconds
  }

  get status(): number {
    return PROBLEMS[this.code].status
  }
}

/** What is not a Problem becomes `internal`, without a word of its message; the cause is kept for the service's own log. */
export const asProblem = (error: unknown): Problem =>
  error instanceof Problem ? error : new Problem('internal', 'The service failed. Ask the operator about this operation id.', { cause: error })

/** What stands behind a problem, for the service's own log; never for a caller. */
export const causeOf = ({ cause }: Problem): string => (cause instanceof Error ? `${cause.name}: ${cause.message}` : typeof cause === 'string' ? cause : '')

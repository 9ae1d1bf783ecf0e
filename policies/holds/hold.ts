import { sha256, utf8 } from '../../core/bytes.ts'
import type { OperationId } from '../../core/ids.ts'
import type { Row } from '../../core/row.ts'
import { type Caller, callerUrn, type CallerKind } from '../caller.ts'

/** A request that the policy held: it is done when others have approved it. Its id is that of the operation that was asked for. */
export interface Hold {
  readonly id: OperationId
  /** What was asked for: `kms.certificate.issue`. */
  readonly operation: string
  readonly requester: { readonly kind: CallerKind; readonly name: string; readonly id: string; readonly person: string }
  /** {@link digestOf} what was sent. Every approval is of this. */
  readonly digest: Uint8Array
  /** 16 random bytes, as long as it waits: the log has the digest, and nobody is to guess the input from it. */
  readonly salt?: Uint8Array
  /** The public facts of the request, JSON: what it would do. */
  readonly facts: string
  readonly rule: string
  readonly revision: string
  /** How many people must approve. The policy of the moment it is run may ask for more. */
  readonly approvals: number
  /** Caller patterns of who may approve: `officer:*`. */
  readonly of: readonly string[]
  readonly askedAt: Date
  readonly deadline: Date
  /** `waiting` ends once: run, refused by who may approve, withdrawn by who asked, or past its deadline. */
  readonly state: 'waiting' | 'run' | 'refused' | 'withdrawn' | 'expired'
  /** URN of who ended it. */
  readonly endedBy?: string
  /** Of a `run`: the operation that did it. */
  readonly runBy?: OperationId
  /** Of a refusal. */
  readonly reason?: string
  readonly version: number
}

/** One person's yes to one hold. */
export interface Approval {
  readonly holdId: OperationId
  readonly approver: { readonly kind: CallerKind; readonly name: string; readonly id: string; readonly person: string }
  /** Of the hold, as the approver gave it. */
  readonly digest: Uint8Array
  readonly at: Date
}

/** SHA-256 of salt and body: JSON with the keys of each object sorted, UTF-8. `body`: as it was sent, before it was read. */
export const digestOf = (salt: Uint8Array, body: unknown): Uint8Array => sha256(salt, utf8(canonicalJson(body)))

/** JSON with the keys of each object in the order of their code units, no white space. Only of what JSON can say. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part) ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part,
  )
}

export const holdRow = (h: Hold): Row => ({
  table: 'holds',
  schema: 1,
  id: h.id,
  version: h.version,
  columns: {
    operation: h.operation,
    requester_kind: h.requester.kind,
    requester_name: h.requester.name,
    requester_id: h.requester.id,
    requester_person: h.requester.person,
    digest: h.digest,
    salt: h.salt,
    facts: h.facts,
    rule: h.rule,
    revision: h.revision,
    approvals: h.approvals,
    approvers: h.of.join(' '),
    asked_at: h.askedAt.toISOString(),
    deadline: h.deadline.toISOString(),
    state: h.state,
    ended_by: h.endedBy,
    run_by: h.runBy,
    reason: h.reason,
  },
})

export const approvalRow = (a: Approval): Row => ({
  table: 'hold_approvals',
  schema: 1,
  id: `${a.holdId} ${a.approver.person}`,
  version: 1,
  columns: {
    approver_kind: a.approver.kind,
    approver_name: a.approver.name,
    approver_id: a.approver.id,
    digest: a.digest,
    at: a.at.toISOString(),
  },
})

/** Whether a pattern (`officer:*`, `officer:alice`) names the caller. */
export const namesCaller = (pattern: string, { kind, name }: { readonly kind: string; readonly name: string }): boolean =>
  pattern === `${kind}:*` || pattern === `${kind}:${name}`

export const isOver = ({ deadline }: Pick<Hold, 'deadline'>, now: Date): boolean => now >= deadline

/** The unit of "another": the person behind the registration; where there is none, the caller itself. */
export const personKey = (caller: Caller): string => caller.person?.id ?? callerUrn(caller)

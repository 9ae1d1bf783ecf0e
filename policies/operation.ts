import type { z } from 'zod'
import type { CardFacts } from '../core/card-facts.ts'
import type { RowDigest } from '../core/row.ts'
import type { Tx } from '../core/tx.ts'
import { Problem } from '../core/problem.ts'
import type { Facts } from './audit/log.ts'
import { type Caller, callerUrn } from './caller.ts'
import type { HoldClaim } from './firewall/decide.ts'
import type { KeyUse, Permit } from './permit.ts'

/** A file or stream as an answer, where JSON will not do. */
export interface Download {
  readonly contentType: string
  readonly fileName?: string
  readonly chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>
}

/** Where the operation is mounted. Names in braces are fields of the input; the rest of the input is the JSON body, or the query of a GET. */
export interface Route {
  readonly method: 'GET' | 'POST'
  /** `/v1/kms/keys/{keyId}/sign` */
  readonly path: `/v1/${string}`
  /** The input field that a `text/plain` body fills. Absent: JSON only. */
  readonly textBody?: string
  /** The most bytes a body may have. Default 1 MiB. */
  readonly maxBodyBytes?: number
  /** The status of success. Default 200. */
  readonly status?: 200 | 201 | 202
  /** Set where the answer is a {@link Download}: the content types it can have, for the OpenAPI document. */
  readonly produces?: readonly string[]
  /** `anonymous`: for who has no certificate and no session. `self`: people call it for themselves, in no role. Absent: a registered caller. */
  readonly access?: 'anonymous' | 'self'
  /** What it does to the cookies of a browser that asks for it with `cookie`: the session's, and the one that the device is known by. */
  readonly session?: 'opens' | 'closes' | 'knows-device'
}

/** What a durable operation wrote: the entry of its outcome, and one entry for each item. */
export interface Recorded {
  readonly facts?: Facts
  readonly items?: readonly Facts[]
}

/**
 * One operation = one route = one policy action = one audit event = one metric label = one OpenAPI path.
 * `durable` makes, changes, destroys, issues, exports or fills. `transient` uses a key or reads, and leaves nothing but its entry.
 */
export interface Operation<Input, Target, Result, Output> {
  /** `kms.key.sign`: folder, thing, verb. */
  readonly name: string
  /** One sentence for the OpenAPI document. */
  readonly summary: string
  readonly effect: 'durable' | 'transient'
  /** Absent: only the service itself performs it. */
  readonly route?: Route
  /** Strict: an unknown field is a fault. */
  readonly input: z.ZodType<Input>
  readonly output: z.ZodType<Output>
  /** Reads, and fixes ids, serials and bytes to sign. What is not there is a value of the target, so that existence does not leak. */
  locate(input: Input, caller: Caller): Promise<Target>
  /** The keys that {@link execute} may use, all of them. */
  uses(target: Target): readonly KeyUse[]
  /** What the policy sees (public facts by name) and the entries say. */
  facts(target: Target): Facts
  /** The cards that it concerns, each as its sealed rows tell it: the policy is asked about every kind of card among them. Of a card that is not known: no facts. */
  cards?(target: Target): readonly CardFacts[]
  /** Preconditions that need no key, after the decision: the problem they raise, if any. It is logged as a refusal. */
  admit?(target: Target): Problem | undefined
  /** Approvals that it needs whatever the policy says; undefined: none. A rule can ask for more; none can ask for less. */
  leastHold?(target: Target): HoldClaim | undefined
  /**
   * Durable only. Takes ICCIDs, serials, nonces before use, in the transaction of the intent, which names the rows that it answers: those that it wrote. It may run
   * twice. A Problem thrown here is a refusal.
   */
  reserve?(tx: Tx, target: Target): Promise<readonly RowDigest[]>
  /** Uses the keys. A Problem thrown here is the outcome. */
  execute(permit: Permit, target: Target): Promise<Result>
  /** Durable only. Writes the rows, in the transaction of the outcome; it may run twice. A Problem thrown here (a lost race) is the outcome, and nothing is written. */
  record?(tx: Tx, target: Target, result: Result): Promise<Recorded>
  /** Durable only. What a failed outcome still writes (gives a reservation back, burns a nonce): the rows that its entry names. */
  recordFailure?(tx: Tx, target: Target, problem: Problem): Promise<readonly RowDigest[]>
  /** Transient only: facts known after execution. */
  outcomeFacts?(target: Target, result: Result): Facts
  respond(target: Target, result: Result): Output | Download
}

/**
 * Of what only officers ask for, whatever the policy says: the problem where somebody else does. `locate` comes before the decision, and for those it looks for
 * nothing that costs much or whose time tells what is there.
 */
export const officersOnly = (caller: Caller): Problem | undefined =>
  caller.kind === 'officer' ? undefined : new Problem('forbidden', `${callerUrn(caller)} is no officer: only officers ask for this, whatever the policy says.`)

/** An operation whose types nobody looks at: what lists of operations hold. */
// oxlint-disable-next-line typescript/no-explicit-any -- a list of operations is heterogeneous; `perform` ties the four types together again.
export type AnyOperation = Operation<any, any, any, any>

/** The least hold of what one officer asks for and another approves, within so many hours. */
export const byAnotherOfficer = (hours: number): HoldClaim => ({ approvals: 1, of: ['officer:*'], withinMs: hours * 3_600_000 })

/** Infers the four types from the parts. */
export const operation = <Input, Target, Result, Output>(op: Operation<Input, Target, Result, Output>): Operation<Input, Target, Result, Output> => op

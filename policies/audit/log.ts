import type { OperationId } from '../../core/ids.ts'
import type { RowDigest } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { Caller, Listener, Strength } from '../caller.ts'
import type { KeyUse } from '../permit.ts'

export type FactValue = string | number | boolean | readonly string[]

/** What an entry tells about the matter itself. */
export interface Facts {
  /** Values that anyone with the log may read. */
  readonly public?: Readonly<Record<string, FactValue>>
  /** Values of persons and cards (ICCID, IMSI, IMEI, names ...): they go in as salted commitments only. */
  readonly personal?: Readonly<Record<string, string>>
  /** The rows as they are after a durable outcome. */
  readonly rows?: readonly RowDigest[]
}

/**
 * `intent`: decided and reserved, about to use keys. `outcome`: how it ended. `item`: one of the many things an operation did (one card of a chunk).
 * `refusal`: nothing was done (denied, or the state forbids it, or it uses no key and failed). `event`: what happened to the service itself (start, stop, a writer closed).
 */
export type EntryKind = 'intent' | 'outcome' | 'item' | 'refusal' | 'event'

/** A decision as entries tell it: with the rest of the entry and the policy of the revision it can be made again. */
export interface DecisionRecord {
  readonly effect: 'allow' | 'deny'
  readonly rule: string
  readonly revision: string
  /** The time that it was for: milliseconds since 1970. */
  readonly at?: number
  readonly listener?: Listener
  readonly strength?: Strength
  /** Of vendors and modules: when the admission ends that they had then, milliseconds since 1970; 0: none. Absent in entries from before there were admissions. */
  readonly admittedUntil?: number
  /** The zones that the request came from, in the policy's order. Absent where it came from none, and in entries from before they were recorded. */
  readonly zones?: readonly string[]
  /** Names of the public facts that were not put to the policy: what came after it. */
  readonly added?: readonly string[]
}

/** What the gate knows of an entry. The log adds version, time, writer, epoch and sequence. */
export interface EntryDraft {
  readonly kind: EntryKind
  readonly id: OperationId
  /** The operation that this one is nested in. */
  readonly parent?: OperationId
  /** `kms.key.sign`; for an event its name, `system.started`. */
  readonly operation: string
  readonly caller: Caller
  readonly decision?: DecisionRecord
  readonly uses?: readonly KeyUse[]
  /** `ok`, or the code of the problem. Outcomes and refusals have one. */
  readonly code?: string
  readonly facts?: Facts
}

/** A transaction on a writer's slot. */
export interface LogTx {
  readonly tx: Tx
  /** Adds an entry to the group that commits with this transaction. An `intent` opens the operation; an `outcome` closes it, and the commit fails if it was closed already. */
  append(entry: EntryDraft): void
}

/**
 * The tamper-evident log, as the gate writes it. Trusted: what it acknowledges is durable, numbered without gaps and MACed by the token.
 * Both methods throw the problem `log-unavailable` when the commit is not certain.
 */
export interface AuditLog {
  /**
   * Rows and entries together or not at all. A `work` that throws leaves neither. Under load several works share a transaction, as if one ran after another;
   * where one of them fails, each is run again by itself: so a work writes to the transaction alone, and may run twice.
   */
  transact<Result>(work: (log: LogTx) => Promise<Result>): Promise<Result>
  /** One entry of a transient operation, in a group commit that many share. Resolves when it is durable. */
  append(entry: EntryDraft): Promise<void>
  /** Told of an operation whose outcome could not be written: reconciliation closes its intent, though the writer that opened it lives. */
  giveUp(id: OperationId): void
}

import { randomBytes } from 'node:crypto'
import { Problem } from '../../core/problem.ts'
import type { OperationId } from '../../core/ids.ts'
import type { AuditLog, EntryDraft, LogTx } from './log.ts'
import { type QueuedWork, Writer, type WriterSettings } from './writer.pg.ts'

export interface AuditLogSettings extends Pick<WriterSettings, 'connect' | 'macGroup' | 'blindIndex'> {
  /** Slots for transactions. Default 4. */
  readonly writers?: number
  /** Slots for group commits of single entries. Default 1: a second one makes groups smaller, and helps only while the first has lost its connection. */
  readonly appenders?: number
  /** Transactions, or single entries, that may wait for a slot; more are refused at once. Default 1000 and 8000. */
  readonly maxWaiting?: number
  readonly maxQueued?: number
  /** How long a transaction waits for a slot. Default 10,000. */
  readonly waitMs?: number
  /** How long to look for the answer of a lost commit. Default 5,000. */
  readonly settleMs?: number
  readonly now?: () => Date
  readonly salt?: () => Uint8Array
}

/** The most works of one transaction. */
const MAX_SHARED = 32
/** The most entries of one group commit. */
const MAX_APPENDED = 512

const busy = (): Problem => new Problem('log-unavailable', 'The audit log has too much waiting. Try again in a second.')
const closed = (): Problem => new Problem('log-unavailable', 'The audit log is closed: the service is stopping.')

/** The log on PostgreSQL: transactions on slots of their own, those that wait together; single entries in group commits on others. Slots are taken at first use and again when lost. */
export class PgAuditLog implements AuditLog {
  readonly #limits: { readonly maxWaiting: number; readonly maxQueued: number; readonly waitMs: number }
  readonly #writers: readonly Writer[]
  readonly #freeWriters: Writer[]
  readonly #freeAppenders: Writer[]
  readonly #works: (QueuedWork & { readonly timer: NodeJS.Timeout })[] = []
  #queue: { readonly draft: EntryDraft; readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = []
  /** Operations whose outcome could not be written, until reconciliation has seen to them. */
  readonly givenUp = new Set<OperationId>()
  #isPumping = false
  #isClosed = false
  #inFlight = 0

  constructor(settings: AuditLogSettings) {
    const { writers = 4, appenders = 1, maxWaiting = 1000, maxQueued = 8000, waitMs = 10_000, settleMs = 5000 } = settings
    const { now = () => new Date(), salt = () => randomBytes(16) } = settings
    this.#limits = { maxWaiting, maxQueued, waitMs }
    const make = (count: number): Writer[] => Array.from({ length: count }, () => new Writer({ ...settings, now, salt, settleMs }))
    this.#freeWriters = make(writers)
    this.#freeAppenders = make(appenders)
    this.#writers = [...this.#freeWriters, ...this.#freeAppenders]
  }

  transact<Result>(work: (log: LogTx) => Promise<Result>): Promise<Result> {
    if (this.#isClosed) return Promise.reject(closed())
    if (this.#works.length >= this.#limits.maxWaiting && this.#freeWriters.length === 0) return Promise.reject(busy())
    return new Promise<Result>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#works.splice(this.#works.indexOf(waiting), 1)
        reject(busy())
      }, this.#limits.waitMs)
      const waiting = { work, resolve: resolve as (result: unknown) => void, reject, timer }
      this.#works.push(waiting)
      this.#next()
    })
  }

  append(draft: EntryDraft): Promise<void> {
    if (draft.kind === 'intent') return Promise.reject(new Error('an intent commits with what it reserves: use transact'))
    if (this.#isClosed) return Promise.reject(closed())
    if (this.#queue.length >= this.#limits.maxQueued) return Promise.reject(busy())
    return new Promise((resolve, reject) => {
      this.#queue.push({ draft, resolve, reject })
      if (this.#isPumping) return
      // What else arrives in this turn of the event loop goes into the same group.
      this.#isPumping = true
      setImmediate(() => this.#pump())
    })
  }

  giveUp(id: OperationId): void {
    this.givenUp.add(id)
  }

  /** Waits for what is under way, 10 s at most, then gives the slots up: what has not committed then is rolled back. What comes later is refused. */
  async close(): Promise<void> {
    this.#isClosed = true
    const deadline = performance.now() + 10_000
    while ((this.#inFlight > 0 || this.#works.length > 0 || this.#queue.length > 0) && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 5))
    for (const { reject, timer } of this.#works.splice(0)) {
      clearTimeout(timer)
      reject(closed())
    }
    for (const { reject } of this.#queue.splice(0)) reject(closed())
    await Promise.all(this.#writers.map((writer) => writer.close()))
  }

  /** Gives what waits to the writers that are free. */
  #next(): void {
    while (this.#works.length > 0) {
      const writer = this.#freeWriters.pop()
      if (writer === undefined) return
      const works = this.#works.splice(0, MAX_SHARED)
      for (const { timer } of works) clearTimeout(timer)
      this.#inFlight += 1
      void writer.transactAll(works).finally(() => {
        this.#inFlight -= 1
        this.#freeWriters.push(writer)
        this.#next()
      })
    }
  }

  #pump(): void {
    this.#isPumping = false
    while (this.#queue.length > 0) {
      const writer = this.#freeAppenders.pop()
      if (writer === undefined) return
      const group = this.#queue.splice(0, MAX_APPENDED)
      this.#inFlight += 1
      void writer.append(group).finally(() => {
        this.#inFlight -= 1
        this.#freeAppenders.push(writer)
        this.#pump()
      })
    }
  }
}

import type { OperationId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import type { Tx } from '../../core/tx.ts'
import { systemCaller } from '../caller.ts'
import type { Entry } from './entry.ts'
import type { AuditLog, Facts } from './log.ts'

/** How an operation whose process died is closed. */
export interface Resolution {
  /** The outcome's code: `abandoned` when nothing is left of it. */
  readonly code: string
  readonly facts?: Facts
}

/**
 * Closes one kind of operation: looks up by the ids in the intent what is left of it, and finishes or undoes it in this transaction, which also
 * holds its outcome. What it throws leaves the intent open for the next time.
 */
export type Resolver = (tx: Tx, intent: Entry) => Promise<Resolution>

export interface OpenIntentStore {
  /** Open intents that are older than `graceMs`, and whose writer's epoch is over (superseded, or its connection gone) or that are among `givenUp`; the oldest first. `undefined`: the intent's entry cannot be found, or is not what was committed. */
  abandoned(query: {
    readonly graceMs: number
    readonly limit: number
    readonly givenUp: readonly OperationId[]
  }): Promise<{ readonly operationId: string; readonly intent: Entry | undefined }[]>
  /** Those of the operations that are open. */
  open(ids: readonly OperationId[]): Promise<OperationId[]>
}

export interface ReconcileReport {
  /** Closed, by code. */
  readonly closed: Readonly<Record<string, number>>
  /** Ended by themselves while being looked at. */
  readonly ended: number
  /** Left open, with why: a resolver failed, or an entry is missing. */
  readonly failed: readonly { readonly operationId: string; readonly reason: string }[]
}

export interface ReconcileSettings {
  readonly log: AuditLog
  readonly store: OpenIntentStore
  /** By operation name. An operation without one is closed as `abandoned`. */
  readonly resolvers: ReadonlyMap<string, Resolver>
  /** How long an operation may still end by itself, on another connection of a process that lives. Default 5000. */
  readonly graceMs?: number
  /** Operations whose outcome this process could not write: their intents are closed, whoever leads. Emptied of those that are closed. Default none. */
  readonly givenUp?: Set<OperationId>
  /** The most of one pass. Default 500. */
  readonly limit?: number
}

const abandon: Resolver = () => Promise.resolve({ code: 'abandoned' })

/** One pass over what fenced writers left open. Each is closed by an outcome of `system:reconcile`, exactly once: its row in open_intents goes in the same transaction. */
export async function reconcile({ log, store, resolvers, graceMs = 5000, limit = 500, givenUp = new Set() }: ReconcileSettings): Promise<ReconcileReport> {
  const closed: Record<string, number> = {}
  const failed: { operationId: string; reason: string }[] = []
  let ended = 0
  const asked = [...givenUp]
  for (const { operationId, intent } of await store.abandoned({ graceMs, limit, givenUp: asked })) {
    if (intent === undefined) {
      failed.push({ operationId, reason: 'the entry of its intent is missing from the log, or is not what was committed' })
      continue
    }
    try {
      const code = await log.transact(async ({ tx, append }) => {
        const resolution = await (resolvers.get(intent.operation) ?? abandon)(tx, intent)
        append({
          kind: 'outcome',
          id: intent.id,
          ...(intent.parent === undefined ? {} : { parent: intent.parent }),
          operation: intent.operation,
          caller: systemCaller('reconcile'),
          code: resolution.code,
          ...(resolution.facts === undefined ? {} : { facts: resolution.facts }),
        })
        return resolution.code
      })
      closed[code] = (closed[code] ?? 0) + 1
    } catch (error) {
      if (error instanceof Problem && error.code === 'conflict') ended += 1
      else failed.push({ operationId, reason: error instanceof Error ? error.message : 'unknown' })
    }
  }
  if (asked.length > 0) {
    const open = new Set(await store.open(asked))
    for (const id of asked) if (!open.has(id)) givenUp.delete(id)
  }
  return { closed, ended, failed }
}

export interface ReconcilerSettings extends ReconcileSettings {
  readonly leads: () => boolean
  /** Told of passes that closed something or failed. */
  readonly onReport?: (report: ReconcileReport) => void
  readonly onError?: (error: unknown) => void
  /** Default 3000. */
  readonly intervalMs?: number
}

/** Runs {@link reconcile} every few seconds while this process leads, or has given operations up. */
export class Reconciler {
  readonly #settings: ReconcilerSettings
  #timer: NodeJS.Timeout | undefined
  #running: Promise<unknown> = Promise.resolve()

  constructor(settings: ReconcilerSettings) {
    this.#settings = settings
  }

  /** The first pass at once: what a crash left open should not wait. */
  start(): void {
    this.#tick()
    this.#timer = setInterval(() => this.#tick(), this.#settings.intervalMs ?? 3000)
    this.#timer.unref()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#running
  }

  #tick(): void {
    const { leads, givenUp, onReport, onError } = this.#settings
    if (!leads() && (givenUp === undefined || givenUp.size === 0)) return
    this.#running = this.#running
      .then(() => reconcile(this.#settings))
      .then((report) => {
        if (Object.keys(report.closed).length > 0 || report.failed.length > 0) onReport?.(report)
      })
      .catch((error: unknown) => onError?.(error))
  }
}

import { newOperationId } from '../../core/ids.ts'
import { systemCaller } from '../caller.ts'
import type { AuditLog } from './log.ts'

/** Pairs of address and code that are told apart in one minute; the rest is counted together. Keeps the entry under its size. */
const MAX_PAIRS = 500

/**
 * Requests that fail before the gate (no certificate, no such address, a body that is too large ...) are not entries of their own: anybody could fill the
 * log with them. They are counted by source address and code, and each minute that had any is one `event` entry.
 */
export class EarlyFailures {
  readonly #log: Pick<AuditLog, 'append'>
  readonly #now: () => Date
  #since: Date
  #counts = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined

  constructor({ log, now = () => new Date() }: { readonly log: Pick<AuditLog, 'append'>; readonly now?: () => Date }) {
    this.#log = log
    this.#now = now
    this.#since = now()
  }

  /** `code`: the problem's. */
  count(address: string, code: string): void {
    const pair = `${address} ${code}`
    const key = this.#counts.has(pair) || this.#counts.size < MAX_PAIRS ? pair : `other ${code}`
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
  }

  /** Writes what was counted. When the log does not take it, it is kept for the next time. Rejects as the log does. */
  async flush(): Promise<void> {
    const counts = this.#counts
    const since = this.#since
    this.#counts = new Map()
    this.#since = this.#now()
    if (counts.size === 0) return
    try {
      await this.#log.append({
        kind: 'event',
        id: newOperationId(),
        operation: 'system.requests-failed-early',
        caller: systemCaller('edge'),
        facts: {
          public: {
            since: since.toISOString(),
            total: [...counts.values()].reduce((sum, count) => sum + count, 0),
            counts: [...counts].map(([pair, count]) => `${pair} ${count}`).sort(),
          },
        },
      })
    } catch (error) {
      for (const [pair, count] of counts) {
        const key = this.#counts.has(pair) || this.#counts.size < MAX_PAIRS ? pair : `other ${pair.slice(pair.lastIndexOf(' ') + 1)}`
        this.#counts.set(key, (this.#counts.get(key) ?? 0) + count)
      }
      this.#since = since
      throw error
    }
  }

  /** Every minute from now on. */
  start(onError?: (error: unknown) => void): void {
    this.#timer = setInterval(() => void this.flush().catch((error: unknown) => onError?.(error)), 60_000)
    this.#timer.unref()
  }

  /** Writes the last minute, as far as the log takes it. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.flush().catch(() => undefined)
  }
}

import type { Faults } from '../core/fault-point.ts'
import { PollLoop } from '../core/poll-loop.ts'
import { asProblem, type Problem } from '../core/problem.ts'
import type { OrderStore } from './order-store.ts'

/** What the job asks of the gate, as the caller `system:fill`. Each throws the {@link Problem} of a refusal or failure. */
export interface FillSteps {
  begin(orderId: string): Promise<void>
  fill(orderId: string, chunk: number): Promise<void>
  seal(orderId: string): Promise<void>
  halt(orderId: string, problem: Problem): Promise<void>
}

export interface FillJobSettings {
  readonly orders: Pick<OrderStore, 'nextToFill' | 'find' | 'openChunks' | 'countFilled'>
  readonly steps: FillSteps
  /** How many chunks are filled at a time. */
  readonly parallel: number
  readonly faults: Faults
  /** How often it looks without being woken. Default 5000. */
  readonly pollMs?: number
  /** The first wait after a failure; it doubles up to `maxRetryMs`. Default 250 and 10000. */
  readonly retryMs?: number
  readonly maxRetryMs?: number
  /** Told of every failure; it must not throw. */
  readonly onFailure?: (problem: Problem, orderId: string | undefined) => void
}

/** Tries without progress before an order is halted. */
const ATTEMPTS = 3

/**
 * Fills approved orders, one after the other, a few chunks at a time, and seals their deliveries. All its state is in the database: what is killed at any
 * moment goes on from there. Two at once waste work and no more: a chunk's compare-and-swap lets one of them fill it.
 * The token or database away: it waits and tries again. What fails for another reason three times without progress, or an edited row, halts the order.
 */
export class FillJob {
  readonly #settings: Required<FillJobSettings>
  readonly #loop = new PollLoop(() => this.#step())
  #failures = 0
  #stuck: { readonly at: string; readonly attempts: number } | undefined

  constructor(settings: FillJobSettings) {
    this.#settings = { pollMs: 5_000, retryMs: 250, maxRetryMs: 10_000, onFailure: () => undefined, ...settings }
  }

  start(): void {
    this.#loop.start()
  }

  /** There may be something to do. */
  wake(): void {
    this.#loop.wake()
  }

  /** Ends after the chunks that are being filled. */
  stop(): Promise<void> {
    return this.#loop.stop()
  }

  /** Does what is to do, and answers how long to wait then. */
  async #step(): Promise<number> {
    const { orders, pollMs, retryMs, maxRetryMs, onFailure } = this.#settings
    let orderId: string | undefined
    try {
      orderId = await orders.nextToFill()
      if (orderId === undefined) return pollMs
      await this.#fillOrder(orderId)
      this.#failures = 0
      return 0
    } catch (error) {
      const problem = asProblem(error)
      onFailure(problem, orderId)
      if (orderId !== undefined && problem.status !== 503 && (await this.#judge(orderId, problem)) === 'goes on') this.#failures = 0
      return Math.min(retryMs * 2 ** this.#failures++, maxRetryMs)
    }
  }

  async #fillOrder(orderId: string): Promise<void> {
    const { orders, steps, faults, parallel } = this.#settings
    const order = await orders.find(orderId)
    if (order?.state === 'approved') {
      faults('order.approved')
      await steps.begin(orderId)
    }
    for (;;) {
      const open = await orders.openChunks(orderId, parallel * 16)
      if (open.length === 0) break
      await this.#fillChunks(orderId, open)
      if (this.#loop.isStopping) return
    }
    faults('order.all-filled')
    await steps.seal(orderId)
    faults('order.sealed')
  }

  /** A failure lets the others finish the chunk that they have, and is thrown then. */
  async #fillChunks(orderId: string, chunks: readonly number[]): Promise<void> {
    const { steps, faults, parallel } = this.#settings
    const queue = [...chunks]
    const work = async (): Promise<void> => {
      for (let chunk = queue.shift(); chunk !== undefined && !this.#loop.isStopping; chunk = queue.shift()) {
        try {
          await steps.fill(orderId, chunk)
          faults('order.chunk-filled')
        } catch (error) {
          queue.length = 0
          throw error
        }
      }
    }
    const ended = await Promise.allSettled(Array.from({ length: parallel }, work))
    for (const end of ended) if (end.status === 'rejected') throw end.reason
  }

  /** Halts the order when trying again is of no use. It goes on where another has filled a part of it since, which is what most conflicts mean. */
  async #judge(orderId: string, problem: Problem): Promise<'goes on' | 'stuck' | 'halted'> {
    const { orders, steps, onFailure } = this.#settings
    try {
      if (problem.code !== 'integrity-failed') {
        const [order, filled] = [await orders.find(orderId), await orders.countFilled([orderId])]
        const at = `${orderId} ${order?.state} ${filled.get(orderId) ?? 0}`
        this.#stuck = { at, attempts: this.#stuck?.at === at ? this.#stuck.attempts + 1 : 1 }
        if (this.#stuck.attempts < ATTEMPTS) return this.#stuck.attempts === 1 ? 'goes on' : 'stuck'
      }
      this.#stuck = undefined
      await steps.halt(orderId, problem)
      return 'halted'
    } catch (error) {
      onFailure(asProblem(error), orderId)
      return 'stuck'
    }
  }
}

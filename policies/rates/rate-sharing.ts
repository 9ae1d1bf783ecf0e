import { PollLoop } from '../../core/poll-loop.ts'
import { asProblem, type Problem } from '../../core/problem.ts'
import type { RateTable } from '../firewall/rates.ts'
import type { Demand, DemandStore } from './demand-store.ts'

const EXCHANGE_MS = 500
/** How much the newest count weighs against those before: nodes do not swing with every burst. */
const NEWEST = 0.5
/** Below this many requests an exchange a key is forgotten. */
const LEAST = 0.1
/** Keys of one exchange; the busiest go first. What is left out has its whole rate on each node. */
const MOST_KEYS = 1000
/** A node that has just come gets something at once. */
const LEAST_SHARE = 0.02

export interface RateSharingParts {
  readonly node: string
  readonly rates: Pick<RateTable, 'takeDemand' | 'setShares'>
  readonly store: DemandStore
  /** Told of a failed exchange; it must not throw. Shares stay as they are. */
  readonly onFailure?: (problem: Problem) => void
}

/**
 * Shares the rates of a policy between the nodes of a database: twice a second each says what is asked of it, and takes the part of each rate that its demand is of all.
 * Until two nodes have heard of each other, which takes up to a second, each grants all of a rate.
 */
export class RateSharing {
  readonly #parts: RateSharingParts
  readonly #demand = new Map<string, number>()
  readonly #loop: PollLoop

  constructor(parts: RateSharingParts) {
    this.#parts = parts
    this.#loop = new PollLoop(async () => {
      await this.exchange().catch((error: unknown) => parts.onFailure?.(asProblem(error)))
      return EXCHANGE_MS
    })
  }

  start(): void {
    this.#loop.start()
  }

  async stop(): Promise<void> {
    await this.#loop.stop()
    await this.#parts.store.leave(this.#parts.node)
  }

  /** One exchange. */
  async exchange(): Promise<void> {
    const { node, rates, store } = this.#parts
    const own = this.#smoothed(rates.takeDemand())
    if (own.length === 0) return rates.setShares(new Map())
    const others = new Map((await store.exchange(node, own)).map(({ key, amount }) => [key, amount]))
    rates.setShares(
      new Map(
        own.flatMap(({ key, amount }): [string, number][] => {
          const other = others.get(key) ?? 0
          return other < LEAST ? [] : [[key, Math.max(LEAST_SHARE, amount / (amount + other))]]
        }),
      ),
    )
  }

  #smoothed(counted: ReadonlyMap<string, number>): Demand[] {
    for (const key of new Set([...counted.keys(), ...this.#demand.keys()])) {
      const before = this.#demand.get(key)
      const now = counted.get(key) ?? 0
      const amount = before === undefined ? now : before + NEWEST * (now - before)
      if (amount < LEAST) this.#demand.delete(key)
      else this.#demand.set(key, amount)
    }
    const all = [...this.#demand].map(([key, amount]) => ({ key, amount }))
    return all.length <= MOST_KEYS ? all : all.sort((a, b) => b.amount - a.amount).slice(0, MOST_KEYS)
  }
}

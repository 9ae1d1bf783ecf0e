import type { Problem } from '../core/problem.ts'
import type { Call } from './lane-message.ts'

/** A call that nobody works on yet. */
export interface Waiting {
  readonly call: Call
  /** About how many signatures' time it takes. */
  readonly weight: number
  /** In a message of its own, beside the others. */
  readonly alone: boolean
  /** On the steady clock, in milliseconds. */
  readonly since: number
  readonly resolve: (value: unknown) => void
  readonly reject: (problem: Problem) => void
}

/** What goes in one message, counted in signatures (50 microseconds each), so that none is near its deadline or holds the next one up for long. */
const MOST_WEIGHT = 128
/** Calls lighter than this go before the others, so that the MAC that ends an operation does not wait behind the batches of those that begin. */
const LIGHT = 16

/** What waits for one lane. Bounded: see {@link isFull}. */
export class LaneQueue {
  readonly #most: number
  #light: Waiting[] = []
  #heavy: Waiting[] = []
  #alone: Waiting[] = []
  #sharedWeight = 0
  #aloneWeight = 0

  /** `most`: the weight at which nothing more is taken. */
  constructor(most: number) {
    this.#most = most
  }

  /** Of what is sent in shared messages. */
  get sharedWeight(): number {
    return this.#sharedWeight
  }

  get weight(): number {
    return this.#sharedWeight + this.#aloneWeight
  }

  get isFull(): boolean {
    return this.weight >= this.#most
  }

  get hasShared(): boolean {
    return this.#light.length + this.#heavy.length > 0
  }

  add(waiting: Waiting): void {
    this.#listOf(waiting).push(waiting)
    if (waiting.alone) this.#aloneWeight += waiting.weight
    else this.#sharedWeight += waiting.weight
  }

  /** The next shared message: light calls, then the others in the order they came; of each at least one. */
  takeShared(): Waiting[] {
    const taken = takeFitting(this.#light, MOST_WEIGHT)
    taken.push(...takeFitting(this.#heavy, MOST_WEIGHT - weightOf(taken)))
    this.#sharedWeight -= weightOf(taken)
    return taken
  }

  takeAlone(): Waiting | undefined {
    const taken = this.#alone.shift()
    this.#aloneWeight -= taken?.weight ?? 0
    return taken
  }

  /** Everything, in the order it came within each kind; nothing waits after it. */
  takeAll(): Waiting[] {
    return this.takeOlder(Number.POSITIVE_INFINITY)
  }

  /** What waits since before `since`. */
  takeOlder(since: number): Waiting[] {
    const old: Waiting[] = []
    const keepYoung = (list: readonly Waiting[]): Waiting[] => list.filter((waiting) => waiting.since >= since || !old.push(waiting))
    this.#light = keepYoung(this.#light)
    this.#heavy = keepYoung(this.#heavy)
    this.#alone = keepYoung(this.#alone)
    this.#sharedWeight = weightOf(this.#light) + weightOf(this.#heavy)
    this.#aloneWeight = weightOf(this.#alone)
    return old
  }

  #listOf({ alone, weight }: Waiting): Waiting[] {
    if (alone) return this.#alone
    return weight < LIGHT ? this.#light : this.#heavy
  }
}

export const weightOf = (list: readonly Waiting[]): number => list.reduce((sum, { weight }) => sum + weight, 0)

/** Takes as many of the first calls out of the list as weigh `room` together, and at least one. */
function takeFitting(list: Waiting[], room: number): Waiting[] {
  let [count, left] = [0, room]
  for (const { weight } of list) {
    if (count > 0 && weight > left) break
    left -= weight
    count++
  }
  return list.splice(0, count)
}

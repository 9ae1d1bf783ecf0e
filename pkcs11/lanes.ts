import type { KeyId } from '../core/ids.ts'
import { unavailable } from './errors.ts'
import { Lane, type LaneListener, type LaneOptions } from './lane.ts'
import type { Waiting } from './lane-queue.ts'
import type { GenerationsInUse } from './root-key-generations.ts'
import type { TokenIdentity } from './root-keys.ts'

export interface LaneCounts {
  readonly ready: number
  readonly restarts: number
  /** Lanes killed because they gave no sign of life. */
  readonly deadlines: number
  /** What waits for an answer, counted in signatures. */
  readonly load: number
}

/** `ready`: every lane works. `degraded`: some do. `away`: none does. */
export interface TokenState {
  readonly state: 'ready' | 'degraded' | 'away'
  readonly since: Date
  /** Why, of one lane that does not work; empty when all do. For the service's own log. */
  readonly reason: string
}

/** The lanes of one machine. A key goes to the same lane by its id while that lane works, so that its cached handle is used; and again to its successor. */
export class Lanes {
  readonly all: readonly Lane[]
  readonly #onState: (state: TokenState) => void
  #isClosing = false
  #state: TokenState = { state: 'away', since: new Date(), reason: 'the lanes have not started' }

  /** `onState`: told of every change, but of the end by {@link close}. */
  constructor(count: number, options: LaneOptions, onState: (state: TokenState) => void = () => undefined) {
    if (!Number.isInteger(count) || count < 1) throw new RangeError('there is at least one lane')
    this.#onState = onState
    this.all = Array.from({ length: count }, () => {
      const listener: LaneListener = {
        onStatus: () => this.#look(),
        onStranded: (calls) => calls.filter((call) => !this.#give(call)),
      }
      return new Lane(options, listener)
    })
  }

  get state(): TokenState {
    return this.#state
  }

  /**
   * Starts the first, has it proved, then the others, which must find the same token: one after another, since on SoftHSM one's login writes what the next
   * reads. Rejects when one cannot, and then none runs.
   */
  async start(prove: (first: Lane) => Promise<TokenIdentity>): Promise<TokenIdentity> {
    const [first, ...others] = this.all as [Lane, ...Lane[]]
    try {
      await first.start()
      const identity = await prove(first)
      for (const lane of this.all) lane.pin(identity)
      for (const lane of others) await lane.start()
      return identity
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** Which generations of the root keys, from the next call of each lane on. */
  use(inUse: GenerationsInUse): void {
    for (const lane of this.all) lane.use(inUse)
  }

  /** The lane of a key. Throws the problem `hsm-unavailable` when none is ready. */
  of(id: KeyId): Lane {
    const home = hash(id) % this.all.length
    let second: Lane | undefined
    for (let step = 0; step < this.all.length; step++) {
      const lane = this.all[(home + step) % this.all.length] as Lane
      if (lane.status.state === 'ready') return lane
      if (lane.isReady) second ??= lane
    }
    return second ?? this.#none()
  }

  /** The lane that has the least to do. Throws the problem `hsm-unavailable` when none is ready. */
  any(): Lane {
    return this.#least('ready') ?? this.#least('renewing') ?? this.#least('stalled') ?? this.#none()
  }

  get counts(): LaneCounts {
    const sum = (count: (lane: Lane) => number): number => this.all.reduce((total, lane) => total + count(lane), 0)
    return {
      ready: this.all.filter((lane) => lane.status.state === 'ready').length,
      restarts: sum((lane) => lane.counts.restarts),
      deadlines: sum((lane) => lane.counts.deadlines),
      load: sum((lane) => lane.load),
    }
  }

  async close(): Promise<void> {
    this.#isClosing = true
    await Promise.all(this.all.map((lane) => lane.close()))
  }

  #least(state: 'ready' | 'renewing' | 'stalled'): Lane | undefined {
    let least: Lane | undefined
    for (const lane of this.all) if (lane.status.state === state && (least === undefined || lane.load < least.load)) least = lane
    return least
  }

  #none(): never {
    throw unavailable(this.#state.reason)
  }

  /** Whether another lane has taken a call that was not begun. */
  #give(call: Waiting): boolean {
    const lane = this.#least('ready')
    lane?.take(call)
    return lane !== undefined
  }

  #look(): void {
    const isWell = ({ status: { state } }: Lane): boolean => state === 'ready' || state === 'renewing'
    const ill = this.all.find((lane) => !isWell(lane))
    const state = ill === undefined ? 'ready' : this.all.some(isWell) ? 'degraded' : 'away'
    const reason = ill?.status.reason ?? ''
    if (state === this.#state.state && reason === this.#state.reason) return
    const changed = state !== this.#state.state
    this.#state = { state, since: changed ? new Date() : this.#state.since, reason }
    if (changed && !this.#isClosing) this.#onState(this.#state)
  }
}

/** FNV-1a, 32 bits: spreads ids over lanes, and no more. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193)
  return value >>> 0
}

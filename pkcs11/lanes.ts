import type { KeyId } from '../core/ids.ts'
import { unavailable } from './errors.ts'
import { Lane, type LaneOptions } from './lane.ts'

export interface LaneCounts {
  readonly ready: number
  readonly restarts: number
  /** Lanes killed because a message took too long. */
  readonly deadlines: number
}

/** The lanes of one machine. A key goes to the same lane by its id while that lane lives, so that its cached handle is used. */
export class Lanes {
  readonly all: readonly Lane[]

  constructor(count: number, options: LaneOptions) {
    if (!Number.isInteger(count) || count < 1) throw new RangeError('there is at least one lane')
    this.all = Array.from({ length: count }, () => new Lane(options))
  }

  /** Starts all, one after another: on SoftHSM one's login writes what the next reads. Rejects when one cannot, and then none runs. */
  async start(): Promise<void> {
    try {
      for (const lane of this.all) await lane.start()
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** The lane of a key. Throws the problem `hsm-unavailable` when none is ready. */
  of(id: KeyId): Lane {
    const home = hash(id) % this.all.length
    for (let step = 0; step < this.all.length; step++) {
      const lane = this.all[(home + step) % this.all.length]
      if (lane?.isReady === true) return lane
    }
    throw unavailable('no lane is ready')
  }

  /** The lane that has the least to do. Throws the problem `hsm-unavailable` when none is ready. */
  any(): Lane {
    let least: Lane | undefined
    for (const lane of this.all) if (lane.isReady && (least === undefined || lane.load < least.load)) least = lane
    if (least === undefined) throw unavailable('no lane is ready')
    return least
  }

  get counts(): LaneCounts {
    return {
      ready: this.all.filter((lane) => lane.isReady).length,
      restarts: this.all.reduce((sum, lane) => sum + lane.counts.restarts, 0),
      deadlines: this.all.reduce((sum, lane) => sum + lane.counts.deadlines, 0),
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map((lane) => lane.close()))
  }
}

/** FNV-1a, 32 bits: spreads ids over lanes, and no more. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193)
  return value >>> 0
}

/** What one look at a condition found: what is wrong, that nothing is, or that it could not be looked at. */
export type Sight = { readonly is: 'wrong'; readonly detail: string } | { readonly is: 'well' } | { readonly is: 'unknown' }

export interface TrackerTimes {
  /** How long a condition must last before its alarm is raised, in milliseconds. */
  readonly lastsMs: number
  /** How long it must be gone before the alarm ends. */
  readonly quietMs: number
}

const HOUR_MS = 3_600_000

/**
 * Whether one condition is an alarm. A condition that comes and goes does not raise an alarm each time: it has to be gone for a while, and for twice as long with
 * each time that it was raised within the hour, an hour at most. So it writes a dozen entries an hour and not one with each change. Pure; times are of a steady clock.
 */
export class Tracker {
  readonly #times: TrackerTimes
  #wrongSince: number | undefined
  #wellSince: number | undefined
  #raised: number[] = []
  #detail: string | undefined

  constructor(times: TrackerTimes) {
    this.#times = times
  }

  /** What is wrong, while it is an alarm. */
  get detail(): string | undefined {
    return this.#detail
  }

  /** An unknown sight changes nothing: an alarm stays, and none is raised. */
  step(sight: Sight, nowMs: number): void {
    if (sight.is === 'unknown') return
    if (sight.is === 'wrong') {
      this.#wellSince = undefined
      this.#wrongSince ??= nowMs
      if (this.#detail !== undefined) this.#detail = sight.detail
      else if (nowMs - this.#wrongSince >= this.#times.lastsMs) this.#raise(sight.detail, nowMs)
      return
    }
    this.#wrongSince = undefined
    if (this.#detail === undefined) return
    this.#wellSince ??= nowMs
    if (nowMs - this.#wellSince >= this.#quietMs(nowMs)) this.#detail = undefined
  }

  /** An alarm that was open already, raised by who went before. It ends here as any other. */
  adopt(detail: string, nowMs: number): void {
    this.#wellSince = undefined
    this.#raise(detail, nowMs)
  }

  #raise(detail: string, nowMs: number): void {
    this.#raised = [...this.#raised.filter((at) => nowMs - at < HOUR_MS), nowMs]
    this.#detail = detail
  }

  #quietMs(nowMs: number): number {
    const times = this.#raised.filter((at) => nowMs - at < HOUR_MS).length
    return Math.min(HOUR_MS, this.#times.quietMs * 2 ** Math.max(0, times - 1))
  }
}

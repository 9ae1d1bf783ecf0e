import { asProblem, type Problem } from './problem.ts'

export interface PurgeJobSettings {
  /** Deletes what ended long ago, through the gate. */
  readonly purge: () => Promise<void>
  /** Default 10 minutes. */
  readonly everyMs?: number
  /** Told of every failure; it must not throw. The next turn tries again. */
  readonly onFailure?: (problem: Problem) => void
}

/** Purges now and then. Two processes at once delete different rows. It keeps no process alive. */
export class PurgeJob {
  readonly #settings: PurgeJobSettings
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> = Promise.resolve()

  constructor(settings: PurgeJobSettings) {
    this.#settings = settings
  }

  start(): void {
    this.#timer ??= setInterval(() => {
      this.#running = this.#running.then(() => this.#turn())
    }, this.#settings.everyMs ?? 600_000).unref()
  }

  /** Ends after the turn that is under way. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    await this.#running
  }

  async #turn(): Promise<void> {
    try {
      await this.#settings.purge()
    } catch (error) {
      this.#settings.onFailure?.(asProblem(error))
    }
  }
}

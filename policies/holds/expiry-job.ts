import { PollLoop } from '../../core/poll-loop.ts'
import { asProblem, type Problem } from '../../core/problem.ts'

export interface ExpiryJobSettings {
  /** Ids of holds whose time is over. */
  readonly overdue: () => Promise<readonly string[]>
  /** Ends one, through the gate. */
  readonly expire: (holdId: string) => Promise<void>
  /** Default: a minute. */
  readonly everyMs?: number
  /** Told of every failure; it must not throw. The next turn tries again. */
  readonly onFailure?: (problem: Problem) => void
}

/**
 * Ends what was not approved in time, and with it what was parked. That an overdue hold is not run does not depend on this: whoever asks looks at the deadline.
 * Two processes at once: one of them finds it ended.
 */
export class ExpiryJob {
  readonly #loop: PollLoop

  constructor({ overdue, expire, everyMs = 60_000, onFailure }: ExpiryJobSettings) {
    this.#loop = new PollLoop(async () => {
      try {
        for (const holdId of await overdue()) {
          if (this.#loop.isStopping) break
          await expire(holdId).catch((error: unknown) => onFailure?.(asProblem(error)))
        }
      } catch (error) {
        onFailure?.(asProblem(error))
      }
      return everyMs
    })
  }

  start(): void {
    this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }
}

import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { entryArguments, entryUrl } from '../../core/entry-file.ts'
import { Problem } from '../../core/problem.ts'
import type { Review, ReviewJob } from './review.ts'
import type { TimedJob } from './review-process.ts'

/** Why there is no review: of somebody else's text, and no fault of the service. */
export interface Unreviewed {
  readonly ok: 'undecided'
  readonly reason: string
}

/** How long one review may take, in milliseconds. */
export const REVIEW_MS = 10_000
const MOST_MEGABYTES = 512
/** Jobs that wait while one is under way. */
const MOST_WAITING = 4

/**
 * Reviews policies, one at a time, each in a process of its own: a policy that is endless work costs a process and its time, and no request waits for it. The process
 * has no environment, no key and bounded memory; it is killed at its deadline.
 */
export class Reviewer {
  readonly #deadlineMs: number
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0

  constructor({ deadlineMs = REVIEW_MS }: { readonly deadlineMs?: number | undefined } = {}) {
    this.#deadlineMs = deadlineMs
  }

  /** Throws `overloaded` where too many wait. */
  async review(job: ReviewJob): Promise<Review | Unreviewed> {
    if (this.#waiting > MOST_WAITING) {
      throw new Problem('overloaded', 'Policies are being reviewed, and others wait for that already. Try again in some seconds.', {
        retryAfterSeconds: Math.ceil(this.#deadlineMs / 1000),
      })
    }
    this.#waiting += 1
    const done = this.#last.then(() => this.#run(job))
    this.#last = done.catch(() => undefined)
    return done.finally(() => {
      this.#waiting -= 1
    })
  }

  #run(job: ReviewJob): Promise<Review | Unreviewed> {
    return new Promise((resolve) => {
      const child = fork(fileURLToPath(entryUrl('review-process', import.meta.url)), [], {
        env: {},
        execArgv: [`--max-old-space-size=${String(MOST_MEGABYTES)}`, ...entryArguments()],
        serialization: 'advanced',
        stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      })
      const end = (answer: Review | Unreviewed): void => {
        clearTimeout(timer)
        child.kill('SIGKILL')
        resolve(answer)
      }
      const undecided = (reason: string): void => end({ ok: 'undecided', reason })
      const timer = setTimeout(() => undecided(`It could not be found out within ${String(this.#deadlineMs / 1000)} s.`), this.#deadlineMs)
      child.on('message', (review) => end(review as Review))
      // After all that it sent was read.
      child.on('disconnect', () => undecided('It could not be found out: what looked at it failed, perhaps for want of memory.'))
      child.on('error', () => undecided('It could not be found out: no process could be started for it.'))
      child.send({ job, deadlineMs: this.#deadlineMs } satisfies TimedJob, () => undefined)
    })
  }
}

import { runInNewContext } from 'node:vm'
import { review, type ReviewJob } from './review.ts'

/** What the child of reviewer.ts is sent. */
export interface TimedJob {
  readonly job: ReviewJob
  readonly deadlineMs: number
}

/** One job comes in, one review goes out. Who started this ends it at the deadline; it ends by then too where nobody is left who could. */
process.once('message', (message) => {
  const { job, deadlineMs } = message as TimedJob
  const reviewed: unknown = runInNewContext('run()', { run: () => review(job) }, { timeout: deadlineMs })
  process.send?.(reviewed, undefined, undefined, () => process.disconnect())
})

import type { Faults } from '../../core/fault-point.ts'
import { PollLoop } from '../../core/poll-loop.ts'
import { asProblem, type Problem } from '../../core/problem.ts'
import { isAtStart, type Rotation, unaccepted } from './rotation.ts'
import type { RotationStore } from './rotation-store.ts'

/** What the job asks of the gate, as the caller `system:rotation`. Each throws the {@link Problem} of a refusal or failure. */
export interface RotationSteps {
  /** Answers the rows that were brought under the new generation. */
  renew(rotationId: string): Promise<number>
  retire(rotationId: string): Promise<void>
}

export interface RotationJobSettings {
  readonly rotations: Pick<RotationStore, 'findOpen'>
  readonly steps: RotationSteps
  /** Processes that do not work with what is recorded now; this one has looked before it answers. */
  readonly countBehind: () => Promise<number>
  /** Whether it is this process that does the work of all. Two at once waste work and no more. */
  readonly leads: () => boolean
  readonly faults: Faults
  /** How often it looks without being woken. Default 5000. */
  readonly pollMs?: number
  /** How often it looks for processes that are behind, while there are some. Default 250. */
  readonly waitMs?: number
  /** How long nobody must have been behind: longer than a process without a lock makes anything (generation-follower.ts). Default 10,000. */
  readonly graceMs?: number
  /** How long a pass waits for its predecessor's rows of no generation to be mended or given up. Default 60,000. */
  readonly refusedMs?: number
  /** The first wait after a failure; it doubles up to `maxRetryMs`. Default 250 and 10000. */
  readonly retryMs?: number
  readonly maxRetryMs?: number
  /** Told of every failure; it must not throw. */
  readonly onFailure?: (problem: Problem, rotation: Rotation | undefined) => void
}

/**
 * Brings approved rotations of root keys to their end, online. All its state is in the database (rotation.ts): what is killed at any moment goes on from there.
 *
 * Order of durable effects, and what a crash after each leaves:
 *
 * | step | a crash after it leaves |
 * |---|---|
 * | 1. approved: intent, rotation `making` | no key, or one in the token that nothing uses and no start minds; it is approved once more, and the key made anew |
 * | 2. the new key in the token, synced | the same |
 * | 3. generations (new `current`, old `older`), backup, rotation `working`, one transaction | all of it: every process makes new things with the new key from its next look on (1 s), and opens both |
 * | 4. a page of rows with the cursor, one transaction | rows under the old key and rows under the new one, each of which opens; the job goes on at the cursor |
 * | 5. the first pass at its end; every process has switched, and what it had begun before has ended | nothing new: it is asked again |
 * | 6. a later pass that has found nothing under the old key, and no row that nobody wrote but those that officers gave up: rotation and old generation `closing`, one transaction | an old key that nothing is under; nobody uses it from their next look on |
 * | 7. every process has heard of that, and forgotten rows that it kept | nothing new |
 * | 8. retire: intent; the old key destroyed, synced | the key gone and recorded as `closing`, which no start minds: done again, where there is nothing to destroy |
 * | 9. generation and rotation `retired`, one transaction | the end |
 *
 * INVARIANT: nothing is destroyed before a pass that began after 5 has opened or checked every row. What a process that has not switched makes is found by it; what nobody
 * sees yet, since it is not committed, belongs to an operation that ended before 5.
 */
export class RotationJob {
  readonly #settings: Required<RotationJobSettings>
  readonly #loop = new PollLoop(() => this.#turn())
  #failures = 0
  #alone: { readonly version: number; readonly sinceMs: number } | undefined
  #state: Rotation['state'] | 'none' = 'none'
  #renewed = 0

  constructor(settings: RotationJobSettings) {
    this.#settings = {
      pollMs: 5_000,
      waitMs: 250,
      graceMs: 10_000,
      refusedMs: 60_000,
      retryMs: 250,
      maxRetryMs: 10_000,
      onFailure: () => undefined,
      ...settings,
    }
  }

  /** State of the open rotation as it was seen last, and rows that this process has brought under new keys. For metrics. */
  get progress(): { readonly state: Rotation['state'] | 'none'; readonly renewed: number } {
    return { state: this.#state, renewed: this.#renewed }
  }

  start(): void {
    this.#loop.start()
  }

  /** There may be something to do. */
  wake(): void {
    this.#loop.wake()
  }

  /** Ends after the page that is under way. */
  stop(): Promise<void> {
    return this.#loop.stop()
  }

  /** Does what is to do, and answers how long to wait then. */
  async #turn(): Promise<number> {
    const { rotations, leads, pollMs, retryMs, maxRetryMs, onFailure } = this.#settings
    let rotation: Rotation | undefined
    try {
      rotation = await rotations.findOpen()
      this.#state = rotation?.state ?? 'none'
      if (rotation === undefined || !leads()) return pollMs
      const waitMs = await this.#goOn(rotation)
      this.#failures = 0
      return waitMs
    } catch (error) {
      onFailure(asProblem(error), rotation)
      return Math.min(retryMs * 2 ** this.#failures++, maxRetryMs)
    }
  }

  async #goOn(rotation: Rotation): Promise<number> {
    const { steps, faults, pollMs, waitMs } = this.#settings
    if (rotation.state === 'working') {
      if (rotation.pass === 1 && isAtStart(rotation)) faults('rotation.begun')
      if (rotation.pass > 1 && isAtStart(rotation) && !(await this.#isAlone(rotation))) return waitMs
      if (isAtStart(rotation) && this.#waitsForOfficers(rotation)) return pollMs
      this.#renewed += await steps.renew(rotation.id)
      faults('rotation.page-renewed')
      return 0
    }
    if (rotation.state === 'closing') {
      if (!(await this.#isAlone(rotation))) return waitMs
      faults('rotation.closing')
      await steps.retire(rotation.id)
      faults('rotation.retired')
      return 0
    }
    return pollMs
  }

  #waitsForOfficers(rotation: Rotation): boolean {
    const { passBeganAt } = rotation
    return rotation.pass > 2 && unaccepted(rotation) > 0 && passBeganAt !== undefined && Date.now() - passBeganAt.getTime() < this.#settings.refusedMs
  }

  /** Whether nobody has been behind for long enough: since this version of the rotation. */
  async #isAlone({ version }: Rotation): Promise<boolean> {
    if ((await this.#settings.countBehind()) > 0) {
      this.#alone = undefined
      return false
    }
    if (this.#alone?.version !== version) this.#alone = { version, sinceMs: performance.now() }
    return performance.now() - this.#alone.sinceMs >= this.#settings.graceMs
  }
}

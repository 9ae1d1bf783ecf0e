import { freshRun } from '../../core/fresh-run.ts'
import { PollLoop } from '../../core/poll-loop.ts'
import { Problem } from '../../core/problem.ts'
import type { RecordedGenerations, RootKeysInUse, TokenIdentity } from '../../pkcs11/index.ts'
import type { GenerationStore } from './generations.ts'
import type { GenerationFence } from './generation-fence.pg.ts'

export interface FollowerSettings {
  readonly store: GenerationStore
  /** As the token was found at the start. */
  readonly identity: TokenIdentity
  readonly rootKeys: RootKeysInUse
  readonly fence: Pick<GenerationFence, 'hold' | 'held' | 'lostMs' | 'close'>
  /** Resolves when everything that had begun before has ended. */
  readonly drained: () => Promise<void>
  /** Rows that somebody keeps are to be forgotten: they may be under what was replaced. */
  readonly onChange: () => void
  /** Told of every failure; it must not throw. */
  readonly onError: (error: unknown) => void
  /** How often it looks without being asked. Default 1000. */
  readonly pollMs?: number
}

/** For so long the lock may be lost before nothing new is made. A rotation waits longer for a lock that is gone: see rotation-job.ts. */
const LONGEST_UNFENCED_MS = 5_000

/**
 * Keeps this process at what the database has recorded of generations, whoever recorded it. Order with each change: lanes are told (from their next call on they
 * make everything with what is current), kept rows are forgotten, everything that had begun before has ended, and only then the fence says so.
 */
export class GenerationFollower implements RecordedGenerations {
  readonly #settings: FollowerSettings
  readonly #loop = new PollLoop(() => this.#turn())
  /** Has what is recorded now in use when it resolves. */
  readonly look = freshRun(() => this.#look())
  #moving: Promise<void> | undefined
  /** INVARIANT: grows. */
  #number = 0

  constructor(settings: FollowerSettings) {
    this.#settings = settings
  }

  /** What is recorded, in use; before anything is made. Throws `integrity-failed` where it was changed. */
  async open(): Promise<void> {
    const { fence, rootKeys } = this.#settings
    const before = await this.#load()
    await fence.hold(before)
    // One that was recorded meanwhile: whoever waits for the fence sees the lock of now.
    await fence.hold(await this.#load())
    rootKeys.follow(this)
  }

  start(): void {
    this.#loop.start()
  }

  /** The fence falls: nothing is made any more. */
  async close(): Promise<void> {
    await this.#loop.stop()
    await this.#settings.fence.close()
    await this.#moving
  }

  assertFenced(): void {
    const { held, lostMs = 0 } = this.#settings.fence
    if (held !== undefined || lostMs < LONGEST_UNFENCED_MS) return
    throw new Problem('database-unavailable', 'The database cannot be reached. Try again in a few seconds.')
  }

  async #turn(): Promise<number> {
    const { onError, pollMs = 1_000 } = this.#settings
    try {
      await this.look()
      return pollMs
    } catch (error) {
      onError(error)
      return Math.min(pollMs, 250)
    }
  }

  async #look(): Promise<void> {
    const { store, fence } = this.#settings
    if ((await store.number()) !== this.#number) await this.#load()
    if (fence.held !== this.#number) void this.#move()
  }

  /** Answers the number that is in use now. */
  async #load(): Promise<number> {
    const { store, identity, rootKeys, onChange } = this.#settings
    const inUse = await store.load(identity)
    if (inUse.number < this.#number)
      throw new Problem(
        'integrity-failed',
        'Generations of root keys were taken back: rows of root_key_generations were changed, or the database is an old one.',
      )
    if (inUse.number === this.#number && this.#number > 0) return this.#number
    rootKeys.use(inUse)
    this.#number = inUse.number
    onChange()
    return inUse.number
  }

  /** Takes the fence along, once what had begun before has ended. */
  #move(): Promise<void> {
    const { fence, drained, onError } = this.#settings
    this.#moving ??= (async () => {
      const number = this.#number
      await drained()
      await fence.hold(number)
    })()
      .catch(onError)
      .finally(() => {
        this.#moving = undefined
      })
    return this.#moving
  }
}

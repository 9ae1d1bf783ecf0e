import type { KeyId } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import type { Lanes } from './lanes.ts'
import { type GenerationsInUse, parseGeneration, ROTATED_KEY_NAMES, type RotatedKey } from './root-key-generations.ts'
import type { TokenIdentity } from './root-keys.ts'

/** Who knows what the database has recorded of generations: the service, once it is open. */
export interface RecordedGenerations {
  /** Has what is recorded now in use when it resolves. */
  look(): Promise<void>
  /** Throws while this process may not make anything new: others cannot see with which generations it works. */
  assertFenced(): void
}

/**
 * Which generations of the root keys this process works with. Until it is told, those that the token has: they open and check, and where there are several
 * of one key nothing new is made with it.
 */
export class RootKeysInUse {
  readonly #lanes: Pick<Lanes, 'use'>
  readonly #identity: TokenIdentity
  #inUse: GenerationsInUse | undefined
  #recorded: RecordedGenerations | undefined

  constructor(lanes: Pick<Lanes, 'use'>, identity: TokenIdentity) {
    this.#lanes = lanes
    this.#identity = identity
  }

  /** 0 before it is told. */
  get number(): number {
    return this.#inUse?.number ?? 0
  }

  /** The generation that new things are made with. Throws the problem `hsm-unavailable` where that was not said. */
  current(key: RotatedKey): KeyId {
    const told = this.#inUse?.keys.find(({ identity, isCurrent }) => isCurrent && parseGeneration(identity.keyId)?.key === key)?.identity.keyId
    const [only, ...others] = this.#identity.keys.filter(({ keyId }) => parseGeneration(keyId)?.key === key)
    if (told !== undefined) return told
    if (only === undefined || others.length > 0)
      throw new Problem('hsm-unavailable', `The token has several generations of ${key}, and it was not said which is current.`)
    return only.keyId
  }

  /** From now on these, in every lane. Throws where one of the keys has no current generation: nothing is changed then. */
  use(inUse: GenerationsInUse): void {
    for (const key of ROTATED_KEY_NAMES) {
      const current = inUse.keys.filter(({ identity, isCurrent }) => isCurrent && parseGeneration(identity.keyId)?.key === key)
      if (current.length !== 1) throw new Problem('integrity-failed', `Not exactly one generation of ${key} is recorded as current.`)
    }
    this.#inUse = inUse
    this.#lanes.use(inUse)
  }

  follow(recorded: RecordedGenerations): void {
    this.#recorded = recorded
  }

  assertFenced(): void {
    this.#recorded?.assertFenced()
  }

  /**
   * Runs the work, and once more when it ended in `integrity-failed` (or in what `isSuspect` names) and newer generations are recorded than it began with: another
   * process may have made what it met.
   */
  async knowing<Result>(work: () => Promise<Result>, isSuspect: (result: Result) => boolean = () => false): Promise<Result> {
    const before = this.number
    try {
      const result = await work()
      return isSuspect(result) && (await this.#hasNewer(before)) ? await work() : result
    } catch (error) {
      if (error instanceof Problem && error.code === 'integrity-failed' && (await this.#hasNewer(before))) return work()
      throw error
    }
  }

  async #hasNewer(before: number): Promise<boolean> {
    if (this.number === before) await this.#recorded?.look()
    return this.number !== before
  }
}

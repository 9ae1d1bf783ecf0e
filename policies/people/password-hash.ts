import { timingSafeEqual } from 'node:crypto'
import { hashRaw } from '@node-rs/argon2'
import { concat, utf8 } from '../../core/bytes.ts'
import { Problem } from '../../core/problem.ts'
import type { HashCost } from './credentials.ts'
import { normalised } from './password-rules.ts'
import type { PersonSecrets } from './person-secrets.ts'

/** The second recommended option of RFC 9106 4: 64 MiB, 3 passes, 4 lanes, 128-bit salt, 256-bit tag. */
export const HASH_COST: HashCost = { memoryKib: 64 * 1024, passes: 3, lanes: 4 }
const ARGON2ID = 2
const DIGEST_BYTES = 32

/** Hashed at the same time at most: two take 128 MiB and two of libuv's four threads. */
const MOST_AT_ONCE = 2
/** Waiting at most: some 2 s of work. */
const MOST_WAITING = 32

/**
 * Argon2id over the token's MAC of a password, beside the event loop. The queue is bounded: hashing takes memory and time, and anybody may ask for it.
 * Both methods throw the problem `overloaded` when it is full.
 */
export class PasswordHasher {
  readonly #secrets: PersonSecrets
  readonly #cost: HashCost
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor({ secrets, cost = HASH_COST }: { readonly secrets: PersonSecrets; readonly cost?: HashCost }) {
    this.#secrets = secrets
    this.#cost = cost
  }

  /** Throws `overloaded` when the queue is full. */
  assertRoom(): void {
    if (this.#waiting.length >= MOST_WAITING) throw new Problem('overloaded', 'Too many passwords wait to be checked. Nothing was tried.')
  }

  get cost(): HashCost {
    return this.#cost
  }

  /** The digest of a person's password. `cost`: default that of new ones. */
  async hash(
    password: string,
    { personId, salt, cost = this.#cost }: { readonly personId: string; readonly salt: Uint8Array; readonly cost?: HashCost },
  ): Promise<Uint8Array> {
    return this.#queued(async () => {
      const mac = await this.#secrets.pepper('password', concat(utf8(personId), Buffer.of(0), utf8(normalised(password))))
      return hashRaw(mac, {
        ...{ algorithm: ARGON2ID, salt, outputLen: DIGEST_BYTES },
        ...{ memoryCost: cost.memoryKib, timeCost: cost.passes, parallelism: cost.lanes },
      })
    })
  }

  /** Compared in constant time. */
  async matches(
    password: string,
    { personId, salt, digest, cost }: { readonly personId: string; readonly salt: Uint8Array; readonly digest: Uint8Array; readonly cost: HashCost },
  ): Promise<boolean> {
    const hashed = await this.hash(password, { personId, salt, cost })
    return hashed.length === digest.length && timingSafeEqual(hashed, digest)
  }

  async #queued<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#running >= MOST_AT_ONCE) {
      this.assertRoom()
      await new Promise<void>((resolve) => void this.#waiting.push(resolve))
    } else this.#running += 1
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      // Who waited longest takes the place over.
      if (next === undefined) this.#running -= 1
      else next()
    }
  }
}

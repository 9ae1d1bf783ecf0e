import type { RateClaim } from './decide.ts'

interface Bucket {
  readonly claim: RateClaim
  /** Tokens times `everyMs`, so that whole milliseconds add whole numbers. */
  readonly credit: number
  /** When `credit` was right. */
  readonly atMs: number
}

const creditAt = ({ claim: { count, everyMs, burst }, credit, atMs }: Bucket, now: number): number => Math.min(burst * everyMs, credit + (now - atMs) * count)

/** Buckets kept at most. A full one may be forgotten at any time: who has been away as long as it takes to fill it is told from nobody. */
const MOST_BUCKETS = 100_000

/**
 * Token buckets of one node, in memory. Bounded: when there is no room even after full buckets were forgotten, who has no bucket yet is refused until there is.
 * Not shared between nodes: with n of them, a rate is n times as high.
 */
export class RateTable {
  readonly #nowMs: () => number
  readonly #most: number
  readonly #buckets = new Map<string, Bucket>()
  #sweptMs = Number.NEGATIVE_INFINITY

  /** `nowMs`: a clock that never goes back. */
  constructor({ nowMs = () => performance.now(), most = MOST_BUCKETS }: { readonly nowMs?: () => number; readonly most?: number } = {}) {
    this.#nowMs = nowMs
    this.#most = most
  }

  get size(): number {
    return this.#buckets.size
  }

  /** Takes a token. Undefined when there was one; else after how many milliseconds there will be. */
  take(claim: RateClaim): number | undefined {
    const now = this.#nowMs()
    const known = this.#buckets.get(claim.key)
    if (known === undefined && !this.#hasRoom(now)) return claim.everyMs
    const price = claim.everyMs
    const credit = known === undefined ? claim.burst * price : creditAt({ ...known, claim }, now)
    const isEnough = credit >= price
    this.#buckets.set(claim.key, { claim, credit: isEnough ? credit - price : credit, atMs: now })
    return isEnough ? undefined : Math.ceil((price - credit) / claim.count)
  }

  #hasRoom(now: number): boolean {
    if (this.#buckets.size < this.#most) return true
    // Once a second at most: a sweep walks over all of them.
    if (now - this.#sweptMs < 1000) return false
    this.#sweptMs = now
    for (const [key, bucket] of this.#buckets) if (creditAt(bucket, now) >= bucket.claim.burst * bucket.claim.everyMs) this.#buckets.delete(key)
    return this.#buckets.size < this.#most
  }
}

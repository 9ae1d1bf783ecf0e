import type { RateClaim } from './decide.ts'

interface Bucket {
  readonly claim: RateClaim
  /** Tokens times `everyMs`, so that whole milliseconds add whole numbers. */
  readonly credit: number
  /** When `credit` was right. */
  readonly atMs: number
}

const creditAt = ({ claim: { count, everyMs, burst }, credit, atMs }: Bucket, now: number): number => Math.min(burst * everyMs, credit + (now - atMs) * count)

/** A node's part of a claim. A bucket holds one token at least, else nothing would ever be granted. */
const shareOf = (claim: RateClaim, share = 1): RateClaim =>
  share >= 1 ? claim : { ...claim, count: claim.count * share, burst: Math.max(1, claim.burst * share) }

/** Buckets kept at most. A full one may be forgotten at any time: who has been away as long as it takes to fill it is told from nobody. */
const MOST_BUCKETS = 100_000

/**
 * Token buckets of one node, in memory. Bounded: when there is no room even after full buckets were forgotten, who has no bucket yet is refused until there is.
 * Of a rate that several nodes ask for, each has the share that {@link setShares} says; of all others the whole.
 */
export class RateTable {
  readonly #nowMs: () => number
  readonly #most: number
  readonly #buckets = new Map<string, Bucket>()
  /** Requests since they were last asked for, by key. */
  #asked = new Map<string, number>()
  #shares: ReadonlyMap<string, number> = new Map()
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
  take(whole: RateClaim): number | undefined {
    const now = this.#nowMs()
    const known = this.#buckets.get(whole.key)
    if (known === undefined && !this.#hasRoom(now)) return whole.everyMs
    this.#asked.set(whole.key, (this.#asked.get(whole.key) ?? 0) + 1)
    const claim = shareOf(whole, this.#shares.get(whole.key))
    const price = claim.everyMs
    const credit = known === undefined ? claim.burst * price : creditAt({ ...known, claim }, now)
    const isEnough = credit >= price
    this.#buckets.set(claim.key, { claim, credit: isEnough ? credit - price : credit, atMs: now })
    return isEnough ? undefined : Math.ceil((price - credit) / claim.count)
  }

  /** How many requests there were for each key since this was last called, granted or not. */
  takeDemand(): ReadonlyMap<string, number> {
    const asked = this.#asked
    this.#asked = new Map()
    return asked
  }

  /** Which part of a rate this node has, from above 0 to 1. Keys that are not named have all of it. */
  setShares(shares: ReadonlyMap<string, number>): void {
    this.#shares = shares
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

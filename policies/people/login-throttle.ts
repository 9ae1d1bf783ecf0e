/** Who tries: the name that was typed, where from, and the device, where it has proved that this person logged in on it before. */
export interface Attempt {
  readonly name: string
  readonly address: string
  readonly device?: string
}

export interface ThrottleSettings {
  /** Failures of a name from one place that cost nothing. Default 3. */
  readonly freeFailures: number
  /** Then the first wait; each further failure doubles it. Default 1 s. */
  readonly firstWaitMs: number
  /** Default 15 minutes. */
  readonly longestWaitMs: number
  /** Failures of a name from unknown devices, from wherever, that are taken at once; one more comes each `nameEveryMs`. Default 20, and one in 3 minutes. */
  readonly nameBurst: number
  readonly nameEveryMs: number
  /** The same of an address, for whatever names. Default 60, and one in a minute. */
  readonly addressBurst: number
  readonly addressEveryMs: number
}

export const THROTTLE: ThrottleSettings = {
  ...{ freeFailures: 3, firstWaitMs: 1000, longestWaitMs: 15 * 60_000 },
  ...{ nameBurst: 20, nameEveryMs: 3 * 60_000, addressBurst: 60, addressEveryMs: 60_000 },
}

interface Place {
  failures: number
  /** When the next attempt is taken. */
  untilMs: number
}
interface Bucket {
  tokens: number
  atMs: number
}

/** Places and buckets of a generation; two are kept of each. */
const MOST_KEPT = 25_000

/** An attempt that is under way: it counts as failed until something else is said. */
export interface Admitted {
  succeeded(): void
  /** It was not tried after all. */
  abandoned(): void
}

/**
 * Slows guessing down so that nobody can lock anybody out (OWASP: device cookies). A wait belongs to a name and the place that failed: a device that the person has
 * logged in on, or else an address. Only unknown devices share a budget of each name, from wherever they come, and of each address: a guesser uses up that one, and who
 * comes by a known device goes past it. Unknown names are treated like others. An attempt is counted as failed when it begins, so that many at once are no way around.
 * In memory, of one node: what spares the others and the database most of a guesser's attempts. What unknown devices share is counted over all nodes too: see
 * login-budgets.ts. A monotonic clock.
 */
export class LoginThrottle {
  readonly settings: ThrottleSettings
  readonly #nowMs: () => number
  readonly #places = new Kept<Place>()
  readonly #names = new Kept<Bucket>()
  readonly #addresses = new Kept<Bucket>()

  constructor({ settings = THROTTLE, nowMs = () => performance.now() }: { readonly settings?: ThrottleSettings; readonly nowMs?: () => number } = {}) {
    this.settings = settings
    this.#nowMs = nowMs
  }

  /** How many milliseconds this attempt has to wait; undefined: it need not. Counts nothing. */
  waitMs(attempt: Attempt): number | undefined {
    return this.#look(attempt).waitMs
  }

  /** A number is the milliseconds to wait: nothing was counted then, so that who waits is let in. */
  begin(attempt: Attempt): Admitted | number {
    const { place, buckets, waitMs, now } = this.#look(attempt)
    if (waitMs !== undefined) return waitMs
    const before = place.failures
    place.failures += 1
    place.untilMs = now + this.#waitMs(place.failures)
    for (const { bucket } of buckets) bucket.tokens -= 1
    const giveBack = (failures: number): void => {
      for (const { bucket, burst } of buckets) bucket.tokens = Math.min(burst, bucket.tokens + 1)
      place.failures = Math.max(0, place.failures - failures)
      place.untilMs = this.#nowMs()
    }
    // A success forgets what failed before it at this place; others that fail meanwhile stay counted.
    return { succeeded: () => giveBack(before + 1), abandoned: () => giveBack(1) }
  }

  #look({ name, address, device }: Attempt): { place: Place; buckets: Budget[]; waitMs: number | undefined; now: number } {
    const now = this.#nowMs()
    const network = networkOf(address)
    const { longestWaitMs, nameBurst, nameEveryMs, addressBurst, addressEveryMs } = this.settings
    const place = this.#places.get(device === undefined ? `address ${network} ${name}` : `device ${device} ${name}`, () => ({ failures: 0, untilMs: 0 }))
    // What nobody tried for as long as the longest wait is forgotten.
    if (now - place.untilMs >= longestWaitMs) place.failures = 0
    const buckets =
      device === undefined
        ? [
            budget(this.#names, name, { now, burst: nameBurst, everyMs: nameEveryMs }),
            budget(this.#addresses, network, { now, burst: addressBurst, everyMs: addressEveryMs }),
          ]
        : []
    const waits = buckets.filter(({ bucket }) => bucket.tokens < 1).map(({ bucket, everyMs }) => (1 - bucket.tokens) * everyMs)
    if (now < place.untilMs) waits.push(place.untilMs - now)
    return { place, buckets, waitMs: waits.length === 0 ? undefined : Math.max(...waits), now }
  }

  #waitMs(failures: number): number {
    const { freeFailures, firstWaitMs, longestWaitMs } = this.settings
    return failures <= freeFailures ? 0 : Math.min(longestWaitMs, firstWaitMs * 2 ** Math.min(30, failures - freeFailures - 1))
  }
}

interface Budget {
  readonly bucket: Bucket
  readonly burst: number
  readonly everyMs: number
}

function budget(of: Kept<Bucket>, key: string, { now, burst, everyMs }: { readonly now: number; readonly burst: number; readonly everyMs: number }): Budget {
  const bucket = of.get(key, () => ({ tokens: burst, atMs: now }))
  bucket.tokens = Math.min(burst, bucket.tokens + (now - bucket.atMs) / everyMs)
  bucket.atMs = now
  return { bucket, burst, everyMs }
}

/** What is kept by key: two generations, of which the older is forgotten as a whole when the younger is full. What is asked for again moves to the younger. */
class Kept<Value> {
  #young = new Map<string, Value>()
  #old = new Map<string, Value>()

  get(key: string, make: () => Value): Value {
    const known = this.#young.get(key)
    if (known !== undefined) return known
    const value = this.#old.get(key) ?? make()
    if (this.#young.size >= MOST_KEPT) [this.#young, this.#old] = [new Map(), this.#young]
    this.#young.set(key, value)
    return value
  }
}

/** Of IPv6 the /64, which one subscriber has whole. */
export function networkOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '')
  if (!plain.includes(':')) return plain
  const [head = '', tail = ''] = plain.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === '' ? [] : tail.split(':')
  const groups = plain.includes('::') ? [...left, ...Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0'), ...right] : left
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`
}

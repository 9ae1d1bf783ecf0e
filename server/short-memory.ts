/** How long an answer serves. A revocation is to work within 5 s, on open connections too. */
const FRESH_MS = 1000
/** Answers remembered at most; beyond it the memory starts anew. */
const MOST_KNOWN = 50_000

/** Answers to who comes by what, for a second: hot callers cost one look-up a second and not one a request. */
export class ShortMemory<Answer> {
  readonly #find: (key: string) => Promise<Answer>
  readonly #nowMs: () => number
  readonly #known = new Map<string, { readonly until: number; readonly answer: Promise<Answer> }>()

  constructor(find: (key: string) => Promise<Answer>, nowMs: () => number = () => performance.now()) {
    this.#find = find
    this.#nowMs = nowMs
  }

  lookUp(key: string): Promise<Answer> {
    const now = this.#nowMs()
    const known = this.#known.get(key)
    if (known !== undefined && now < known.until) return known.answer
    if (this.#known.size >= MOST_KNOWN) this.#known.clear()
    const answer = this.#find(key)
    // A look-up that fails is not remembered: the next request asks again.
    answer.catch(() => this.#known.delete(key))
    this.#known.set(key, { until: now + FRESH_MS, answer })
    return answer
  }

  forget(key: string): void {
    this.#known.delete(key)
  }
}

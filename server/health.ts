import { setTimeout as sleep } from 'node:timers/promises'

/** `degraded`: it works, with less than it should have. */
export interface PartState {
  readonly state: 'ready' | 'degraded' | 'away'
  readonly since: Date
}

export interface Part {
  readonly name: string
  /** A part that tells of itself. */
  readonly state?: () => PartState
  /** One that is asked, again and again: whether it does its work. An error, or no answer in time, is a no. */
  readonly check?: () => Promise<unknown>
}

/** What is well and what is not, by part, and since when. */
export class Health {
  readonly #parts: readonly Part[]
  readonly #onChange: (name: string, state: PartState) => void
  readonly #everyMs: number
  readonly #answerMs: number
  readonly #checked = new Map<string, PartState>()
  readonly #stop = new AbortController()

  /** `onChange`: told of the parts that are asked. `everyMs`: default 1,000. `answerMs`: how long an answer may take, default 2,000. */
  constructor(parts: readonly Part[], onChange: (name: string, state: PartState) => void, { everyMs = 1000, answerMs = 2000 } = {}) {
    this.#parts = parts
    this.#onChange = onChange
    this.#everyMs = everyMs
    this.#answerMs = answerMs
  }

  /** Asks each part for the first time, then goes on by itself. */
  async start(): Promise<void> {
    await this.#look()
    void this.#goOn()
  }

  stop(): void {
    this.#stop.abort()
  }

  get states(): Readonly<Record<string, PartState>> {
    const never: PartState = { state: 'away', since: new Date() }
    return Object.fromEntries(this.#parts.map(({ name, state }) => [name, state?.() ?? this.#checked.get(name) ?? never]))
  }

  /** Whether requests can be served: no part is away. */
  get isReady(): boolean {
    return Object.values(this.states).every(({ state }) => state !== 'away')
  }

  async #goOn(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await sleep(this.#everyMs, undefined, { signal: this.#stop.signal, ref: false }).catch(() => undefined)
      if (!this.#stop.signal.aborted) await this.#look()
    }
  }

  async #look(): Promise<void> {
    await Promise.all(
      this.#parts.map(async ({ name, check }) => {
        if (check === undefined) return
        const state = (await this.#answersSoon(check)) ? 'ready' : 'away'
        const before = this.#checked.get(name)
        if (before?.state === state) return
        const now = { state, since: new Date() } as const
        this.#checked.set(name, now)
        if (before !== undefined) this.#onChange(name, now)
      }),
    )
  }

  async #answersSoon(check: () => Promise<unknown>): Promise<boolean> {
    const answered = check().then(
      () => true,
      () => false,
    )
    return Promise.race([answered, sleep(this.#answerMs, false, { ref: false })])
  }
}

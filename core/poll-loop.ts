/**
 * Takes one turn after another until it is stopped. Between two it waits as long as the turn answered, in milliseconds (0: not at all), or until it is woken;
 * a wake during a turn brings the next one at once. A turn must not throw; a long one asks {@link isStopping} where it can end early.
 */
export class PollLoop {
  readonly #turn: () => Promise<number>
  #running: Promise<void> | undefined
  #stopping = false
  #woken = false
  #endWait: () => void = () => undefined

  constructor(turn: () => Promise<number>) {
    this.#turn = turn
  }

  get isStopping(): boolean {
    return this.#stopping
  }

  start(): void {
    this.#stopping = false
    this.#running ??= this.#run()
  }

  wake(): void {
    this.#woken = true
    this.#endWait()
  }

  /** Ends after the turn that is under way. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.#endWait()
    await this.#running
    this.#running = undefined
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      this.#woken = false
      const waitMs = await this.#turn()
      if (waitMs > 0) await this.#wait(waitMs)
    }
  }

  #wait(ms: number): Promise<void> {
    if (this.#stopping || this.#woken) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#endWait = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

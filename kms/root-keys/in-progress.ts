/** What has begun and not ended, so that somebody can wait for all of it. */
export class InProgress {
  readonly #open = new Map<number, Promise<void>>()
  #next = 0

  /** What it answers is called at the end. */
  begin(): () => void {
    const id = this.#next++
    let end = (): void => undefined
    this.#open.set(id, new Promise<void>((resolve) => void (end = resolve)))
    return () => {
      this.#open.delete(id)
      end()
    }
  }

  /** Resolves when everything that had begun before this call has ended. */
  async drained(): Promise<void> {
    await Promise.all(this.#open.values())
  }
}

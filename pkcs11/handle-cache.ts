import type { KeyId } from '../core/ids.ts'

/** What a lane keeps at hand, by key id: no more than `capacity`, and the least recently used goes first. `drop` is told of each that goes, also of one that is replaced. */
export class HandleCache<Value> {
  readonly #capacity: number
  readonly #drop: (value: Value) => void
  /** In the order of use. */
  readonly #values = new Map<KeyId, Value>()

  constructor(capacity: number, drop: (value: Value) => void) {
    this.#capacity = capacity
    this.#drop = drop
  }

  get(id: KeyId): Value | undefined {
    const value = this.#values.get(id)
    if (value === undefined) return undefined
    this.#values.delete(id)
    this.#values.set(id, value)
    return value
  }

  set(id: KeyId, value: Value): void {
    this.#remove(id)
    this.#values.set(id, value)
    for (const oldest of this.#values.keys()) {
      if (this.#values.size <= this.#capacity) break
      this.#remove(oldest)
    }
  }

  /** Without a word to `drop`: what they stood for is gone already. */
  forget(): void {
    this.#values.clear()
  }

  #remove(id: KeyId): void {
    const value = this.#values.get(id)
    if (value === undefined) return
    this.#values.delete(id)
    this.#drop(value)
  }
}

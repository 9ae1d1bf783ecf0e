import { type Fault, Problem } from '../core/problem.ts'

/** At most this many faults are told; the rest are counted. */
export const MAX_FAULTS = 1_000

/** The faults of one order, all of them counted and the first {@link MAX_FAULTS} kept, so that a hostile file costs no more than its own size. */
export class FaultList {
  readonly #faults: Fault[] = []
  #total = 0

  add(fault: Fault): void {
    this.#total++
    if (this.#faults.length < MAX_FAULTS) this.#faults.push(fault)
  }

  get total(): number {
    return this.#total
  }

  get faults(): readonly Fault[] {
    return this.#faults
  }

  /** The problem `order-invalid`, or undefined where there is no fault. */
  problem(): Problem | undefined {
    if (this.#total === 0) return undefined
    const count = this.#total === 1 ? 'The order has 1 fault' : `The order has ${this.#total} faults`
    const told = this.#total > this.#faults.length ? `, the first ${this.#faults.length} of which are in \`faults\`` : '. See `faults`'
    return new Problem('order-invalid', `${count}${told}. Nothing was taken of it: correct the order and send it again.`, { faults: this.#faults })
  }
}

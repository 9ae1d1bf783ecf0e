/** Rules as bits: the first rule is the lowest bit of the first word. */
export type BitVector = Int32Array

export const setBit = (vector: BitVector, at: number): void => {
  vector[at >>> 5] = (vector[at >>> 5] ?? 0) | (1 << (at & 31))
}

export function addAll(vector: BitVector, more: BitVector): void {
  for (let word = 0; word < vector.length; word += 1) vector[word] = (vector[word] ?? 0) | (more[word] ?? 0)
}

/** The place of the lowest bit of a word that is not 0. */
export const lowestBit = (word: number): number => 31 - Math.clz32(word & -word)

/** 256 MiB. */
const MOST_WORDS = 64 * 1024 * 1024

/** Makes vectors for a number of rules. Throws a RangeError before they take more memory than a policy may. */
export class VectorMaker {
  readonly #size: number
  readonly words: number
  #made = 0

  constructor(size: number) {
    this.#size = size
    this.words = Math.max(1, Math.ceil(size / 32))
  }

  empty(): BitVector {
    this.#made += this.words
    if (this.#made > MOST_WORDS) throw new RangeError('the rules name too many values')
    return new Int32Array(this.words)
  }

  /** The rules that `holds` for. */
  where(holds: (at: number) => boolean): BitVector {
    const vector = this.empty()
    for (let at = 0; at < this.#size; at += 1) if (holds(at)) setBit(vector, at)
    return vector
  }

  copy(vector: BitVector): BitVector {
    const made = this.empty()
    made.set(vector)
    return made
  }
}

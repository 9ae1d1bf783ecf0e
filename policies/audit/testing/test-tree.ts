import { utf8 } from '../../../core/bytes.ts'
import { checkpointText } from '../checkpoint.ts'
import { append, consistencyProof, EMPTY_EDGE, leafHash, rootOf } from '../merkle.ts'
import { encodeAddCheckpoint } from '../witness-request.ts'
import { testLog } from './test-witness.ts'

/** A log in memory, which can be asked for its past. `seed` makes its entries: two of one origin and other seeds are two histories. */
export class TestTree {
  readonly #log: ReturnType<typeof testLog>
  readonly #seed: string
  readonly #nodes = new Map<string, Uint8Array>()
  readonly #roots: Uint8Array[] = [rootOf(EMPTY_EDGE)]
  #edge = EMPTY_EDGE

  constructor(log = testLog('grid.example/audit'), seed = 'a') {
    this.#log = log
    this.#seed = seed
  }

  get key(): ReturnType<typeof testLog>['key'] {
    return this.#log.key
  }

  text(size: number): string {
    while (this.#edge.size < size) {
      this.#edge = append(this.#edge, [leafHash(utf8(`${this.#seed}${this.#edge.size}`))], (level, index, node) => this.#nodes.set(`${level}/${index}`, node))
      this.#roots.push(rootOf(this.#edge))
    }
    return checkpointText({ origin: this.key.name, size, root: this.#roots[size] ?? new Uint8Array() })
  }

  note(size: number): string {
    return this.#log.note(this.text(size))
  }

  proof(from: number, to: number): Uint8Array[] {
    this.text(to)
    return from === 0 || from > to ? [] : consistencyProof(from, to, (level, index) => this.#nodes.get(`${level}/${index}`) ?? new Uint8Array())
  }

  /** The body of `add-checkpoint`. */
  request(from: number, to: number): string {
    return encodeAddCheckpoint({ oldSize: from, proof: this.proof(from, to), note: this.note(to) })
  }
}

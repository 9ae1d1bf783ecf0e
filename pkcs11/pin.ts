import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'

/** A PIN that keeps no text: it reads its file when a login needs it. Prints as `[pin]`. */
export class Pin {
  readonly #file: string

  constructor(file: string) {
    this.#file = file
  }

  /** Only for a login. The string stays in the memory of the calling process, a lane or a ceremony (see README). */
  read(): string {
    return readFileSync(this.#file, 'utf8').replace(/\r?\n$/, '')
  }

  toString(): string {
    return '[pin]'
  }

  toJSON(): string {
    return '[pin]'
  }

  [inspect.custom](): string {
    return '[pin]'
  }
}

import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'

/** The variable that a source of the form `env:NAME` names. */
export const pinVariable = (source: string): string | undefined => /^env:([A-Za-z_]\w*)$/.exec(source)?.[1]

/** A PIN that keeps no text: it reads its file, or its variable, when a login needs it. Prints as `[pin]`. */
export class Pin {
  readonly #source: string

  /** The path of a file; or `env:NAME`, a variable that this process was started with. */
  constructor(source: string) {
    this.#source = source
  }

  /** Only for a login. The string stays in the memory of the calling process, a lane or a ceremony (see README). */
  read(): string {
    const variable = pinVariable(this.#source)
    if (variable === undefined) return readFileSync(this.#source, 'utf8').replace(/\r?\n$/, '')
    const value = process.env[variable]
    if (value === undefined) throw new Error(`the variable ${variable}, which the PIN is read from, is not set`)
    return value
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

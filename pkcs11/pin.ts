import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'

/** Whose PIN. */
export type PinHolder = 'user' | 'officer'

/** The variable that a source of the form `env:NAME` names. */
export const pinVariable = (source: string): string | undefined => /^env:([A-Za-z_]\w*)$/.exec(source)?.[1]

/** A source that is typed at the terminal: see pin-keeper.ts. */
export const promptSource = (holder: PinHolder): string => `prompt:${holder}`
/** Whose PIN a source says is typed. */
export const promptedHolder = (source: unknown): PinHolder | undefined =>
  source === 'prompt:user' ? 'user' : source === 'prompt:officer' ? 'officer' : undefined

/** Where a PIN is. Between processes it goes as text; a child that was handed a typed one has that. */
export type PinSource = string | Pin

/** A PIN that keeps no text: it reads its file, or its variable, when a login needs it. Prints as `[pin]`. */
export class Pin {
  readonly #read: () => string

  /** The path of a file; or `env:NAME`, a variable that this process was started with; or the bytes of one that was typed, which whoever hands them over wipes. */
  constructor(source: string | Buffer) {
    this.#read = typeof source === 'string' ? () => readSource(source) : () => source.toString('utf8')
  }

  static of(source: PinSource): Pin {
    return typeof source === 'string' ? new Pin(source) : source
  }

  /** Only for a login. The string stays in the memory of the calling process, a lane or a ceremony (see README). */
  read(): string {
    return this.#read()
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

function readSource(source: string): string {
  if (promptedHolder(source) !== undefined) throw new Error('the PIN is typed, and was not handed to this process')
  const variable = pinVariable(source)
  if (variable === undefined) return readFileSync(source, 'utf8').replace(/\r?\n$/, '')
  const value = process.env[variable]
  if (value === undefined) throw new Error(`the variable ${variable}, which the PIN is read from, is not set`)
  return value
}

/** One variable of an output format. */
export interface OutputVariable {
  /** Upper case. */
  readonly name: string
  readonly value: /** `NAME`: its value comes from elsewhere. */
    | { readonly kind: 'named' }
    /** `NAME:32x` hexadecimal, `NAME:8d` decimal: drawn at random. */
    | { readonly kind: 'random'; readonly length: number; readonly digits: 'x' | 'd' }
    /** `NAME+start`: counts up. */
    | { readonly kind: 'increment'; readonly start: string }
    /** `NAME=value`: the same on every card. */
    | { readonly kind: 'fixed'; readonly value: string }
  /** `^`: encrypted under the transport key. */
  readonly encrypted: boolean
  /** From 0, in the text. */
  readonly at: number
}

const MAX_VARIABLES = 64
const NAME = /^[A-Za-z][A-Za-z0-9_]{0,31}$/
const DECIMAL = /^[0-9]{1,40}$/
const LENGTH = /^([0-9]{1,4})([xd])$/

/** Reads `/ICCID+8986.../IMSI+4600.../Ki:32x^/` (VAR_OUT and FORMAT_OUT). A text is why it cannot be read, with the place from 0. */
export function parseOutputFormat(text: string): readonly OutputVariable[] | { readonly message: string; readonly at: number } {
  const variables: OutputVariable[] = []
  let at = 0
  for (const part of text.split('/', MAX_VARIABLES + 3)) {
    const start = at
    at += part.length + 1
    if (part === '') {
      if (start === 0 || start >= text.length) continue
      return { message: 'a variable between two slashes is empty', at: start }
    }
    if (variables.length === MAX_VARIABLES) return { message: `there are more than ${MAX_VARIABLES} variables`, at: start }
    const variable = parseVariable(part, start)
    if (variable === undefined) return { message: 'this variable is not NAME, NAME:32x, NAME:8d, NAME+start or NAME=value, with or without ^', at: start }
    variables.push(variable)
  }
  return variables
}

function parseVariable(part: string, at: number): OutputVariable | undefined {
  const encrypted = part.endsWith('^')
  const plain = encrypted ? part.slice(0, -1) : part
  const mark = [...plain].findIndex((character) => character === ':' || character === '+' || character === '=')
  const name = (mark < 0 ? plain : plain.slice(0, mark)).trim()
  if (!NAME.test(name)) return undefined
  const rest = plain.slice(mark + 1)
  const value = mark < 0 ? ({ kind: 'named' } as const) : parseValue(plain[mark], rest)
  return value && { name: name.toUpperCase(), value, encrypted, at }
}

function parseValue(mark: string | undefined, rest: string): OutputVariable['value'] | undefined {
  if (mark === '=') return { kind: 'fixed', value: rest }
  if (mark === '+') return DECIMAL.test(rest) ? { kind: 'increment', start: rest } : undefined
  const match = LENGTH.exec(rest)
  return match ? { kind: 'random', length: Number(match[1]), digits: match[2] === 'x' ? 'x' : 'd' } : undefined
}

import { parseArgs } from 'node:util'

/** What a benchmark may be told: `flag` alone, or with a whole number above 0. */
export type Known = Readonly<Record<string, 'flag' | 'count'>>

export interface Options {
  flag(name: string): boolean
  /** Undefined when it was not given. */
  count(name: string): number | undefined
}

/** Reads `--name` and `--name N`. Answers a sentence instead where the words will not do. */
export function parseOptions(words: readonly string[], known: Known): Options | string {
  try {
    const { values } = parseArgs({
      args: [...words],
      options: Object.fromEntries(Object.entries(known).map(([name, kind]) => [name, { type: kind === 'flag' ? 'boolean' : 'string' } as const])),
    })
    const wrong = Object.entries(values).find(([, value]) => typeof value === 'string' && !/^[1-9][0-9]{0,9}$/.test(value))
    if (wrong !== undefined) return `--${wrong[0]} takes a whole number above 0`
    return { flag: (name) => values[name] === true, count: (name) => (typeof values[name] === 'string' ? Number(values[name]) : undefined) }
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

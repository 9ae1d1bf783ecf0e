import { admits, type Glob } from './glob.ts'

/** Sets of places in patterns that are looked at before it is too much. */
const MOST_STATES = 50_000

/**
 * One text for every way in which texts can match some of the patterns and not others: all texts that match the same ones are alike.
 * The patterns are run side by side, character by character (the subset construction). `isComplete` is false where that was too much: then texts of some ways are missing.
 */
export function globClasses(globs: readonly Glob[]): { readonly examples: readonly string[]; readonly isComplete: boolean } {
  const stride = Math.max(0, ...globs.map((glob) => glob.length)) + 1
  const place = (glob: number, step: number): number => glob * stride + step
  const tokenAt = (at: number): Glob[number] | undefined => globs[Math.floor(at / stride)]?.[at % stride]
  /** A star may stand for nothing. */
  const settled = (places: Iterable<number>): number[] => {
    const all = new Set<number>()
    for (let at of places) {
      all.add(at)
      while (tokenAt(at) === 'any') all.add((at += 1))
    }
    return [...all].sort((a, b) => a - b)
  }
  const other = otherCharacter(globs)
  const matched = (places: readonly number[]): string => places.filter((at) => at % stride === (globs[Math.floor(at / stride)]?.length ?? -1)).join(',')

  const start = settled(globs.map((_glob, at) => place(at, 0)))
  const seen = new Set([start.join(',')])
  const examples = new Map([[matched(start), '']])
  const queue: { readonly places: readonly number[]; readonly text: string }[] = [{ places: start, text: '' }]
  for (const { places, text } of queue) {
    const tokens = places.map(tokenAt)
    const characters = new Set([other, ...tokens.flatMap((token) => (typeof token === 'object' ? [token.character] : []))])
    // A digit that no pattern names here.
    const digit = tokens.includes('digit') ? Array.from('0123456789').find((one) => !characters.has(one)) : undefined
    if (digit !== undefined) characters.add(digit)
    for (const character of characters) {
      const next = settled(places.flatMap((at) => (tokenAt(at) === 'any' ? [at] : admits(tokenAt(at), character) ? [at + 1] : [])))
      const key = next.join(',')
      if (seen.has(key)) continue
      if (seen.size >= MOST_STATES) return { examples: [...examples.values()], isComplete: false }
      seen.add(key)
      const longer = text + character
      if (!examples.has(matched(next))) examples.set(matched(next), longer)
      queue.push({ places: next, text: longer })
    }
  }
  return { examples: [...examples.values()], isComplete: true }
}

/** A character that no pattern names, and no digit. */
function otherCharacter(globs: readonly Glob[]): string {
  const named = new Set(globs.flatMap((glob) => glob.flatMap((token) => (typeof token === 'object' ? [token.character] : []))))
  for (let code = 'x'.charCodeAt(0); ; code += 1) {
    const character = String.fromCodePoint(code)
    if (!named.has(character)) return character
  }
}

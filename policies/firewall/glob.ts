/** One step of a pattern: a character that must stand there, any one character, one digit, or any number of any characters. */
export type Token = { readonly character: string } | 'one' | 'digit' | 'any'
export type Glob = readonly Token[]

/** `*` is any number of characters, `?` one. A character is a Unicode code point. */
export const parseGlob = (text: string): Glob => Array.from(text, (character) => (character === '*' ? 'any' : character === '?' ? 'one' : { character }))

/** Codes of six digits that begin so: `33` covers `330106` (GB/T 2260: province, city, county). */
export const regionGlob = (prefix: string): Glob => [
  ...Array.from(prefix, (character) => ({ character })),
  ...Array.from({ length: 6 - prefix.length }, () => 'digit' as const),
]

const isDigit = (character: string): boolean => character >= '0' && character <= '9' && character.length === 1

/** Whether one character may stand where the token does. Not for `any`. */
export const admits = (token: Token | undefined, character: string): boolean =>
  token === 'one' || (token === 'digit' ? isDigit(character) : typeof token === 'object' && token.character === character)

/** In time of at most pattern times text; no regular expressions. */
export function matchesGlob(glob: Glob, text: string): boolean {
  const characters = Array.from(text)
  let [at, step] = [0, 0]
  // Where to go on from when what follows the last star did not fit.
  let [starStep, starAt] = [-1, 0]
  while (at < characters.length) {
    if (glob[step] === 'any') {
      starStep = step
      starAt = at
      step += 1
    } else if (admits(glob[step], characters[at] ?? '')) {
      at += 1
      step += 1
    } else if (starStep >= 0) {
      starAt += 1
      at = starAt
      step = starStep + 1
    } else return false
  }
  while (glob[step] === 'any') step += 1
  return step === glob.length
}

/** The characters that every match begins with. */
export function literalPrefix(glob: Glob): string {
  let prefix = ''
  for (const token of glob) {
    if (typeof token === 'string') break
    prefix += token.character
  }
  return prefix
}

import type { Detection } from './tampering-site.ts'

/** What may be found by one of the three: one of these, or also nothing. */
interface Column {
  readonly codes: readonly string[]
  readonly mayBeNothing: boolean
}

export type Expected = Readonly<Record<'start' | 'check' | 'verifier', Column>>

/** The table of docs/integrity.md, by what is done. */
export const readTable = (page: string): Map<string, Expected> =>
  new Map(
    page.split('\n').flatMap((line) => {
      const [, kind, start, check, verifier, soon] = line.split('|').map((cell) => cell.trim())
      if (kind === undefined || start === undefined || check === undefined || verifier === undefined || soon === undefined) return []
      if (kind.startsWith('--') || kind.startsWith('done by')) return []
      return [[kind, { start: columnOf(start), check: columnOf(check), verifier: columnOf(verifier) }] as const]
    }),
  )

const columnOf = (cell: string): Column => {
  const codes = cell === 'no' ? [] : cell.split(' or ')
  return { codes: codes.filter((code) => code !== 'nothing'), mayBeNothing: codes.length === 0 || codes.includes('nothing') }
}

/** Where a detection is not as expected; undefined where it is. */
export function fault(expected: Expected, { start, check, verifier }: Detection): string | undefined {
  for (const [by, found] of [
    ['start', start === undefined ? [] : [start]],
    ['check', check],
    ['verifier', verifier],
  ] as const) {
    const { codes, mayBeNothing } = expected[by]
    if (found.length === 0 ? mayBeNothing : codes.some((code) => found.includes(code))) continue
    return `${by}: found ${found.join(', ') || 'nothing'}, expected ${codes.join(' or ') || 'nothing'}`
  }
  return undefined
}

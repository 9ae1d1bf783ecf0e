import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Glob, matchesGlob, parseGlob, regionGlob } from './glob.ts'
import { globClasses } from './glob-classes.ts'

const signature = (globs: readonly Glob[], text: string): string => globs.map((glob) => (matchesGlob(glob, text) ? '1' : '0')).join('')

describe('classes of texts', () => {
  it('every way in which a text matches some of the patterns has an example, and each example is of a way of its own', () => {
    const glob = fc.string({ unit: fc.constantFrom('a', 'b', '3', '*', '?'), maxLength: 5 }).map(parseGlob)
    const region = fc.constantFrom('33', '3301', '330106', '34').map(regionGlob)
    const text = fc.oneof(
      fc.string({ unit: fc.constantFrom('a', 'b', 'c', '3', '4'), maxLength: 7 }),
      fc.constantFrom('330106', '330107', '340000', '350000', '33010'),
    )
    fc.assert(
      fc.property(fc.array(fc.oneof(glob, region), { maxLength: 5 }), fc.array(text, { maxLength: 40 }), (globs, texts) => {
        const { examples, isComplete } = globClasses(globs)
        expect(isComplete).toBe(true)
        const known = new Set(examples.map((example) => signature(globs, example)))
        expect(known.size).toBe(examples.length)
        for (const one of texts) expect(known, one).toContain(signature(globs, one))
      }),
      { numRuns: 500 },
    )
  })

  it('says when there were too many to find all', () => {
    const globs = Array.from({ length: 40 }, (_, at) => parseGlob(`*${String.fromCodePoint(97 + (at % 26))}${'?'.repeat(at % 13)}x*`))
    expect(globClasses(globs).isComplete).toBe(false)
  })
})

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { matchesGlob, parseGlob, regionGlob } from './glob.ts'

it('matches as a regular expression would', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', 'ä', '😀', '.'), maxLength: 8 })
  const glob = fc.string({ unit: fc.constantFrom('a', 'b', '😀', '.', '*', '?'), maxLength: 6 })
  fc.assert(
    fc.property(glob, text, (pattern, one) => {
      const expression = new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll('*', '.*').replaceAll('?', '.')}$`, 'su')
      expect(matchesGlob(parseGlob(pattern), one)).toBe(expression.test(one))
    }),
    { numRuns: 2000 },
  )
})

it('takes no time to speak of for what makes regular expressions hang', () => {
  const start = performance.now()
  expect(matchesGlob(parseGlob(`${'*a'.repeat(60)}b`), 'a'.repeat(10_000))).toBe(false)
  expect(performance.now() - start).toBeLessThan(1000)
})

it.each([
  ['33', '330106', true],
  ['3301', '330106', true],
  ['330106', '330106', true],
  ['33', '340106', false],
  ['33', '33010', false],
  ['33', '3301067', false],
  ['33', '33010x', false],
  ['33', '33010٣', false],
])('the region %s covers %s: %s', (prefix, code, wanted) => {
  expect(matchesGlob(regionGlob(prefix), code)).toBe(wanted)
})

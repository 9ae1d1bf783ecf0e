import { expect, it } from 'vitest'
import { REGION, regionPrefix } from './card-facts.ts'

it.each([
  ['330000', '33'],
  ['330100', '3301'],
  ['330106', '330106'],
  ['100000', '10'],
  ['110010', '110010'],
])('the region %s holds what begins with %s', (region, prefix) => {
  expect(regionPrefix(region)).toBe(prefix)
})

it.each(['33', '033010', '33010', '3301067', '33010a', '３３０１０６', '330106\n', ''])('%j is no region', (text) => {
  expect(REGION.test(text)).toBe(false)
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  andInto,
  bitsAt,
  countOf,
  countOfBoth,
  countOfStored,
  decodeBits,
  encodeBits,
  firstBits,
  noBits,
  orInto,
  placesOf,
  SEGMENT_ENTRIES,
  without,
} from './bits.ts'

const places = fc
  .oneof(
    fc.uniqueArray(fc.nat(SEGMENT_ENTRIES - 1), { maxLength: 600 }),
    fc.nat(SEGMENT_ENTRIES).map((count) => Array.from({ length: count }, (_, at) => at)),
  )
  .map((list) => list.sort((a, b) => a - b))

describe('bits of a segment', () => {
  it('come back as they were stored, in at most 512 bytes', () => {
    fc.assert(
      fc.property(places, (list) => {
        fc.pre(list.length > 0)
        const stored = encodeBits(list)
        expect(stored.length).toBeLessThanOrEqual(Math.min(512, list.length * 2))
        expect(placesOf(decodeBits(stored))).toEqual(list)
      }),
    )
  })

  it('are counted and combined as sets are', () => {
    fc.assert(
      fc.property(places, places, (one, other) => {
        const both = one.filter((place) => other.includes(place))
        expect(placesOf(andInto(bitsAt(one), bitsAt(other)))).toEqual(both)
        expect(countOfBoth(bitsAt(one), bitsAt(other))).toBe(both.length)
        if (one.length > 0) expect(countOfStored(encodeBits(one), bitsAt(other))).toBe(both.length)
        expect(placesOf(without(bitsAt(one), bitsAt(other)))).toEqual(one.filter((place) => !other.includes(place)))
        expect(countOf(orInto(bitsAt(one), bitsAt(other)))).toBe(one.length + other.length - both.length)
      }),
      { numRuns: 30 },
    )
  })

  it.each([0, 1, 7, 8, 4095, 4096])('of the first %i', (count) => {
    expect(placesOf(firstBits(count))).toEqual(Array.from({ length: count }, (_, at) => at))
    expect(countOf(noBits())).toBe(0)
  })

  it.each([
    ['an odd list', new Uint8Array(3)],
    ['more than a segment', new Uint8Array(514)],
    ['a place that no segment has', Uint8Array.of(0x10, 0)],
  ])('are not made of %s', (_, stored) => {
    expect(() => decodeBits(stored)).toThrow(RangeError)
    expect(() => countOfStored(stored, noBits())).toThrow(RangeError)
  })
})

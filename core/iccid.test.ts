import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromHex, hex } from './bytes.ts'
import { decodeEfIccid, encodeEfIccid, iccidFault, luhnDigit, nextIccid, trimFiller } from './iccid.ts'

/** From public card dumps: osmocom/pysim tests, a TCA sample profile, AOSP's emulator profile. Each is written as the card holds it. */
const CARDS = [
  ['8988211000000467285', '988812010000407682f5'],
  ['8988219000000117833', '988812090000107138f3'],
  ['8949440000001155314', '989444000000115513f4'],
  ['89860318640220133897', '98683081462002318379'],
  ['89000123456789012341', '98001032547698103214'],
] as const

const body = fc
  .tuple(fc.constantFrom(16, 17), fc.bigInt(0n, 10n ** 17n - 1n))
  .map(([digits, value]) => `89${value.toString().slice(-digits).padStart(digits, '0')}`)
const iccid = body.map((text) => text + luhnDigit(text))

describe('ICCID', () => {
  it.each(CARDS)('%s is one, and EF.ICCID is %s', (text, ef) => {
    expect(iccidFault(text)).toBeUndefined()
    expect(hex(encodeEfIccid(text))).toBe(ef)
    expect(decodeEfIccid(fromHex(ef))).toBe(text)
  })

  it('agrees with ISO/IEC 7812-1’s own example of the Luhn digit', () => {
    expect(luhnDigit('7992739871')).toBe('3')
  })

  it.each([
    ['8988211000000467284', /check digit is 4, by Luhn it must be 5/],
    ['8988211000000000001', /check digit/], // of a range that was counted up with its check digit
    ['11111111110000000000', /begins with 89/],
    ['898821100000046728', /19 or 20 digits, this has 18/],
    ['898603186402201338971', /this has 21/],
    ['8988211000000467285F', /digits only/],
    ['８９860318640220133897', /digits only/],
    ['', /digits only/],
  ])('%j is none', (text, why) => {
    expect(iccidFault(text)).toMatch(why)
  })

  it('the filler behind 19 digits is taken off, and nothing else', () => {
    expect(trimFiller('8988211000000467285F')).toBe('8988211000000467285')
    expect(trimFiller('89882110000004672F')).toBe('89882110000004672F')
  })

  it('the next has a body one higher and a check digit of its own', () => {
    expect(nextIccid('89860318640220133897')).toBe('89860318640220133905')
    fc.assert(
      fc.property(iccid, fc.integer({ min: 0, max: 100_000 }), (start, by) => {
        const next = nextIccid(start, by)
        if (next === undefined) return
        expect(iccidFault(next)).toBeUndefined()
        expect(BigInt(next.slice(0, -1)) - BigInt(start.slice(0, -1))).toBe(BigInt(by))
      }),
    )
  })

  it('there is none behind the last', () => {
    const last = '899999999999999999'
    expect(nextIccid(last + luhnDigit(last))).toBeUndefined()
  })

  it('EF.ICCID reads back as written, and hostile bytes as nothing', () => {
    fc.assert(fc.property(iccid, (text) => decodeEfIccid(encodeEfIccid(text)) === text))
    expect(decodeEfIccid(fromHex('9888120100004076fff5'))).toBeUndefined()
    expect(decodeEfIccid(fromHex('98'))).toBeUndefined()
  })
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { luhnDigit } from '../core/iccid.ts'
import { imeiDigits, imeiOfDigits, readImei } from './imei.ts'

const digits = (length: number) => fc.array(fc.nat(9), { minLength: length, maxLength: length }).map((all) => all.join(''))

describe('an IMEI', () => {
  // 3GPP TS 23.003 annex B, B.3: the worked example.
  it('has the check digit that annex B computes', () => {
    expect(luhnDigit('26053179311383')).toBe('7')
    expect(readImei('260531793113837')).toEqual({ imei: '26053179311383' })
  })

  it('is its 14 digits, in whatever form it comes', () => {
    fc.assert(
      fc.property(digits(14), digits(2), (imei, version) => {
        expect(readImei(imei)).toEqual({ imei })
        expect(readImei(imei + luhnDigit(imei))).toEqual({ imei })
        expect(readImei(imei + version)).toEqual({ imei })
      }),
    )
  })

  it('with a wrong check digit is refused, and the right one told', () => {
    expect(readImei('260531793113830')).toEqual({ fault: 'the check digit is 0, by Luhn it must be 7' })
    fc.assert(
      fc.property(digits(15), (text) => {
        expect('imei' in readImei(text)).toBe(text.endsWith(luhnDigit(text.slice(0, 14))))
      }),
    )
  })

  it.each([
    ['nothing', ''],
    ['13 digits', '2605317931138'],
    ['17 digits', '26053179311383701'],
    ['hyphens', '26-053179-311383-7'],
    ['a space', '26053179311383 '],
    ['a line end', '26053179311383\n'],
    ['a sign', '+2605317931138'],
    ['digits of another script', '٢٦٠٥٣١٧٩٣١١٣٨٣'],
    ['hexadecimal', '2605317931138A'],
  ])('refuses %s', (_, text) => {
    expect(readImei(text)).toHaveProperty('fault')
  })
})

describe('the digits of an IMEI', () => {
  it('are values, not characters', () => {
    expect([...imeiDigits('26053179311383')]).toEqual([2, 6, 0, 5, 3, 1, 7, 9, 3, 1, 1, 3, 8, 3])
  })

  it('read back', () => {
    fc.assert(
      fc.property(digits(14), (imei) => {
        expect(imeiOfDigits(imeiDigits(imei))).toBe(imei)
      }),
    )
  })

  it.each([
    ['characters', Buffer.from('26053179311383')],
    ['a digit of ten', Uint8Array.of(10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)],
    ['15 digits', new Uint8Array(15)],
    ['13 digits', new Uint8Array(13)],
    ['none', new Uint8Array(0)],
  ])('are not %s', (_, bytes) => {
    expect(imeiOfDigits(bytes)).toBeUndefined()
  })

  it('are not made of what is no IMEI', () => {
    for (const text of ['', '260531793113837', '2605317931138x']) expect(() => imeiDigits(text)).toThrow(RangeError)
  })
})

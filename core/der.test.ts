import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fromHex, hex } from './bytes.ts'
import {
  bitString,
  constructed,
  ecdsaSignature,
  enumerated,
  integer,
  oid,
  printableString,
  readDer,
  readDerValues,
  sequence,
  setOf,
  smallInteger,
  TAG,
  time,
  tlv,
  unsigned,
  utf8String,
} from './der.ts'

describe('writing', () => {
  test.each([
    ['00', '020100'],
    ['7f', '02017f'],
    ['80', '02020080'],
    ['000001', '020101'],
    ['00ff', '020200ff'],
  ])('an INTEGER of magnitude %s is %s', (magnitude, der) => {
    expect(hex(unsigned(fromHex(magnitude)))).toBe(der)
  })

  test.each([
    ['1.2.840.10045.4.3.2', '06082a8648ce3d040302'],
    ['2.5.29.17', '0603551d11'],
    ['2.999.3', '0603883703'],
  ])('the OBJECT IDENTIFIER %s is %s', (dotted, der) => {
    expect(hex(oid(dotted))).toBe(der)
  })

  test('lengths are in their shortest form', () => {
    const header = (length: number) => hex(tlv(TAG.octetString, Buffer.alloc(length)).subarray(0, 5))
    expect([header(127).slice(0, 4), header(128).slice(0, 6), header(255).slice(0, 6), header(256).slice(0, 8), header(65536)]).toEqual([
      '047f',
      '048180',
      '0481ff',
      '04820100',
      '0483010000',
    ])
  })

  test('a time is UTCTime through 2049 and GeneralizedTime from 2050, in whole seconds', () => {
    expect(Buffer.from(time(new Date('2049-12-31T23:59:59.999Z'))).toString('latin1')).toBe('\x17\r491231235959Z')
    expect(Buffer.from(time(new Date('2050-01-01T00:00:00.500Z'))).toString('latin1')).toBe('\x18\x0f20500101000000Z')
  })

  test.each([
    [0, '020100'],
    [255, '020200ff'],
    [0x10000, '0203010000'],
    [2 ** 48 - 1, '020700ffffffffffff'],
  ])('the INTEGER %d is %s', (value, der) => {
    expect(hex(integer(value))).toBe(der)
  })

  test('an ENUMERATED and a PrintableString; what a PrintableString has not is refused', () => {
    expect(hex(enumerated(9))).toBe('0a0109')
    expect(hex(printableString('89 A'))).toBe('130438392041')
    for (const text of ['a@b', 'a*', 'a_b', 'ü']) expect(() => printableString(text)).toThrow(RangeError)
  })

  test('a SET OF is sorted', () => {
    expect(hex(setOf(smallInteger(9), smallInteger(1)))).toBe('3106020101020109')
  })

  test('raw r||s becomes an ECDSA-Sig-Value; an odd length is refused', () => {
    expect(hex(ecdsaSignature(fromHex('00800001')))).toBe('3007020200800201' + '01')
    expect(() => ecdsaSignature(new Uint8Array(63))).toThrow(RangeError)
  })
})

describe('reading', () => {
  test('gives back what was written', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 8 }), (contents) => {
        const values = readDerValues(readDer(sequence(...contents.map((content) => tlv(TAG.octetString, content)))).content)
        expect(values.map(({ content }) => hex(content))).toEqual(contents.map(hex))
      }),
    )
  })

  test.each([
    ['nothing', ''],
    ['a tag alone', '30'],
    ['cut short', '30050201'],
    ['bytes after it', '30000000'],
    ['an indefinite length', '30800000'],
    ['a length in a long form that is not needed', '308101ff'],
    ['a length with a leading zero', '30820001ff'],
    ['a length of five bytes', '30850000000001ff'],
    ['a tag of more than one byte', '3f810100'],
  ])('refuses %s', (_what, bytes) => {
    expect(() => readDer(fromHex(bytes))).toThrow(RangeError)
  })

  test('never does anything but answer or throw a RangeError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          expect(hex(readDer(bytes).raw)).toBe(hex(bytes))
        } catch (error) {
          if (!(error instanceof RangeError)) throw error
        }
      }),
    )
  })

  test('keeps the parts of nested values', () => {
    const inner = sequence(utf8String('é'), bitString(Uint8Array.of(0x80), 7))
    const [value] = readDerValues(readDer(constructed(3, inner)).content)
    expect(value?.tag).toBe(TAG.sequence)
    expect(hex(value?.raw ?? new Uint8Array())).toBe(hex(inner))
  })
})

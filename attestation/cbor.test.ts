import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concat, equalBytes, fromHex, hex } from '../core/bytes.ts'
import { byteString, CborError, decodeCbor, encodeCbor, Tagged } from './cbor.ts'

// A decoder of UTF-8 takes a byte order mark off, so text that begins with one is not read.
const text = fc.string({ unit: 'grapheme', maxLength: 40 }).filter((all) => !all.startsWith('\ufeff'))
const integer = fc.oneof(fc.maxSafeInteger(), fc.integer({ min: -300, max: 300 }))
const values = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    integer,
    text,
    fc.uint8Array({ maxLength: 40 }),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.array(fc.tuple(fc.oneof(integer, text), tie('value')), { maxLength: 4 }).map((entries) => new Map(entries)),
    tie('value').map((value) => new Tagged(18, value)),
    tie('value').map((value) => new Tagged(61, value)),
  ),
})).value

const encodable = values.filter((value) => {
  try {
    return encodeCbor(value).length > 0
  } catch {
    return false
  }
})

describe('CBOR', () => {
  it('reads back what it writes', () => {
    fc.assert(
      fc.property(encodable, (value) => {
        const bytes = encodeCbor(value)
        expect(hex(encodeCbor(decodeCbor(bytes)))).toBe(hex(bytes))
      }),
      { numRuns: 500 },
    )
  })

  it('has one encoding for one value: whatever it reads of changed bytes, it would write so', () => {
    const edits = fc.array(fc.record({ at: fc.nat(), put: fc.nat(255) }), { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(encodable, edits, (value, changes) => {
        const bytes = Buffer.from(encodeCbor(value))
        for (const { at, put } of changes) bytes[at % bytes.length] = put
        expect(isRewrittenOrRefused(bytes)).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })

  it('survives any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        expect(isRewrittenOrRefused(bytes)).toBe(true)
      }),
      { numRuns: 5000 },
    )
  })

  function isRewrittenOrRefused(bytes: Uint8Array): boolean {
    let value: unknown
    try {
      value = decodeCbor(bytes)
    } catch (error) {
      return error instanceof CborError
    }
    return equalBytes(encodeCbor(value), bytes)
  }

  // RFC 8949 appendix A, those of the allowed kinds.
  it.each<[string, unknown]>([
    ['00', 0],
    ['17', 23],
    ['1818', 24],
    ['1903e8', 1000],
    ['1a000f4240', 1_000_000],
    ['1b000000e8d4a51000', 1_000_000_000_000],
    ['1bffffffffffffffff', 18_446_744_073_709_551_615n],
    ['3bffffffffffffffff', -18_446_744_073_709_551_616n],
    ['20', -1],
    ['3903e7', -1000],
    ['f4', false],
    ['f5', true],
    ['f6', null],
    ['4401020304', Uint8Array.of(1, 2, 3, 4)],
    ['6449455446', 'IETF'],
    ['63e6b0b4', '水'],
    ['83010203', [1, 2, 3]],
    [
      'a201020304',
      new Map([
        [1, 2],
        [3, 4],
      ]),
    ],
    ['a0', new Map()],
  ])('reads and writes %s of RFC 8949 appendix A', (encoded, value) => {
    expect(decodeCbor(fromHex(encoded))).toEqual(value)
    expect(hex(encodeCbor(value))).toBe(encoded)
  })

  it('writes a byte string by itself as it does within a value', () => {
    for (const length of [0, 1, 23, 24, 255, 256, 4000]) {
      const bytes = new Uint8Array(length).fill(7)
      expect(hex(byteString(bytes))).toBe(hex(encodeCbor(bytes)))
    }
    expect(hex(byteString(new Uint8Array(0xffff)).subarray(0, 3))).toBe('59ffff')
    expect(() => byteString(new Uint8Array(0x10000))).toThrow(CborError)
  })

  it('orders keys bytewise (RFC 8949 4.2.1)', () => {
    const map = new Map<number | string, number>([
      ['aa', 1],
      ['z', 2],
      [-1, 3],
      [100, 4],
      [10, 5],
    ])
    expect(hex(encodeCbor(map))).toBe('a50a05186404200361' + '7a02' + '62616101')
  })

  it('takes 16 in each other and not 17', () => {
    for (const opener of ['81', 'd2', 'a100', 'd83d']) {
      expect(() => decodeCbor(fromHex(`${opener.repeat(16)}00`))).not.toThrow()
      expect(() => decodeCbor(fromHex(`${opener.repeat(17)}00`))).toThrow('deeper than 16')
    }
  })

  it.each([
    ['arrays', '81', 'deeper than 16'],
    ['arrays of two', '82', 'deeper than 16'],
    ['maps', 'a100', 'deeper than 16'],
    ['maps as keys', 'a1', 'neither integer nor text'],
    ['tags', 'd2', 'deeper than 16'],
    ['indefinite arrays', '9f', 'indefinite'],
    ['indefinite maps', 'bf00', 'indefinite'],
    ['indefinite strings', '5f', 'indefinite'],
  ])('refuses 100,000 %s in each other, and as many as fit, before it decodes any', (_, opener, reason) => {
    expect(() => decodeCbor(fromHex(`${opener.repeat(100_000)}00`))).toThrow('more than 4096 bytes')
    expect(() => decodeCbor(fromHex(`${opener.repeat(4000 / (opener.length / 2))}00`))).toThrow(reason)
  })

  it.each([
    ['nothing', ''],
    ['two values', '0000'],
    ['a byte behind the end', '8101ff'],
    ['a head that is cut off', '19ff'],
    ['a string that is cut off', '430102'],
    ['an array that is cut off', '8301'],
    ['a map without the last value', 'a10102' + 'a101'],
    ['a map that is cut off', 'a2010203'],
    ['a tag of nothing', 'd2'],
    ['an array of 2^64 - 1', '9bffffffffffffffff00'],
    ['an array of 2^32 - 1', '9affffffff00'],
    ['a map of 2^64 - 1', 'bbffffffffffffffff00'],
    ['a string of 2^64 - 1', '5bffffffffffffffff00'],
    ['a text of 2^32 - 1', '7affffffff61'],
    ['an integer that is too long', '1817'],
    ['an integer in four bytes for two', '1a0000ffff'],
    ['an integer in eight bytes for four', '1b00000000ffffffff'],
    ['a negative integer that is too long', '3800'],
    ['a length that is too long', '580100'],
    ['a count that is too long', '980100'],
    ['a tag that is too long', 'd81200'],
    ['keys out of order', 'a203040102'],
    ['longer key first', 'a2' + '190100' + '00' + '01' + '00'],
    ['a key twice', 'a201020103'],
    ['a text key twice', 'a2616101616102'],
    ['a byte string as key', 'a14100' + '00'],
    ['a byte string as key twice', 'a2410000410001'],
    ['an array as key', 'a18000'],
    ['null as key', 'a1f600'],
    ['a tag as key', 'a1d20000'],
    ['an indefinite array', '9f01ff'],
    ['an indefinite map', 'bf0102ff'],
    ['an indefinite byte string', '5f4101ff'],
    ['an indefinite text', '7f6161ff'],
    ['a break', 'ff'],
    ['a break in an array', '81ff'],
    ['a reserved length', '1c'],
    ['a reserved length of a string', '5d'],
    ['undefined', 'f7'],
    ['a half float', 'f93c00'],
    ['a float', 'fa47c35000'],
    ['a double', 'fb3ff199999999999a'],
    ['not a number', 'f97e00'],
    ['minus zero', 'f98000'],
    ['a simple value', 'e0'],
    ['a simple value of two bytes', 'f8ff'],
    ['false in two bytes', 'f814'],
    ['a tag of time', 'c11a514b67b0'],
    ['a tag of a large integer', 'c249010000000000000000'],
    ['the self-describing tag', 'd9d9f700'],
    ['another COSE tag', 'd18340a040'],
    ['UTF-8 that is cut off', '61c3'],
    ['overlong UTF-8', '62c080'],
    ['a surrogate in UTF-8', '63eda080'],
    ['UTF-8 beyond Unicode', '64f4908080'],
    ['a byte order mark', '64efbbbf61'],
  ])('refuses %s', (_, encoded) => {
    expect(() => decodeCbor(fromHex(encoded))).toThrow(CborError)
  })

  it('refuses more than 4096 bytes', () => {
    expect(decodeCbor(concat(fromHex('590ffd'), new Uint8Array(4093)))).toHaveLength(4093)
    expect(() => decodeCbor(concat(fromHex('590ffe'), new Uint8Array(4094)))).toThrow(CborError)
    expect(() => encodeCbor(new Uint8Array(4094))).toThrow(CborError)
  })

  it.each<[string, unknown]>([
    ['a fraction', 0.5],
    ['not a number', Number.NaN],
    ['undefined', undefined],
    ['undefined in an object', { a: undefined }],
    ['a function', () => 0],
    ['a date', new Date(0)],
    ['another tag', new Tagged(1, 0)],
    ['an array as key', new Map([[[1], 1]])],
    ['an integer beyond 64 bits', 2n ** 64n],
  ])('does not write %s', (_, value) => {
    expect(() => encodeCbor(value)).toThrow(CborError)
  })

  it('does not write what contains itself', () => {
    const loop: unknown[] = []
    loop.push(loop)
    expect(() => encodeCbor(loop)).toThrow(CborError)
  })
})

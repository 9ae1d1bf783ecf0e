import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { frame, unframe, utf8 } from './bytes.ts'
import { decodeRow, encodeRow, type Row } from './row.ts'

const text = fc.string({ unit: 'binary', maxLength: 20 })
const column = fc.oneof(text, fc.double({ noNaN: true }), fc.boolean(), fc.uint8Array({ maxLength: 40 }))
const row: fc.Arbitrary<Row> = fc.record({
  table: text,
  schema: fc.nat(),
  id: text,
  version: fc.nat(),
  columns: fc.dictionary(
    text.filter((name) => name !== '__proto__'),
    column,
    { noNullPrototype: true },
  ),
})
/** With bytes as lists of numbers, and -0 as the 0 that its text is. */
const plain = ({ columns, ...rest }: Row): unknown => ({
  ...rest,
  columns: Object.fromEntries(Object.entries(columns).map(([name, value]) => [name, value instanceof Uint8Array ? [...value] : value === 0 ? 0 : value])),
})

describe('a row as it is sealed', () => {
  it('is read as it was written, wherever it lies', () => {
    fc.assert(
      fc.property(row, fc.nat(20), (given, offset) => {
        const bytes = encodeRow(given)
        const message = new Uint8Array(offset + bytes.length + 3)
        message.set(bytes, offset)
        expect(plain(decodeRow(message.subarray(offset, offset + bytes.length)))).toEqual(plain(given))
      }),
    )
  })

  it('is the frame of its fields, byte for byte', () => {
    const bytes = encodeRow({ table: 't', schema: 2, id: 'ä', version: 3, columns: { b: true, a: new Uint8Array([1, 2]), gone: undefined } })
    expect(Buffer.from(bytes).toString('latin1')).toBe(
      ['\0\0\0\x0fgridseal-row-v1', '\0\0\0\x01t', '\0\0\0\x012', '\0\0\0\x02\xc3\xa4', '\0\0\0\x013'].join('') +
        ['\0\0\0\x01a', '\0\0\0\x01x', '\0\0\0\x02\x01\x02', '\0\0\0\x01b', '\0\0\0\x01b', '\0\0\0\x011'].join(''),
    )
  })

  const whole = unframe(encodeRow({ table: 't', schema: 1, id: 'i', version: 1, columns: { a: 'x' } }))
  it.each<readonly [string, Uint8Array]>([
    ['nothing', new Uint8Array()],
    ['half a length', new Uint8Array([0, 0, 0])],
    ['a field past the end', new Uint8Array([0, 0, 0, 2, 1])],
    ['a length of 4 GiB', new Uint8Array([255, 255, 255, 255, 1])],
    ['another version', frame([utf8('gridseal-row-v2'), ...whole.slice(1)])],
    ['too few fields', frame(whole.slice(0, 4))],
    ['a column without its value', frame(whole.slice(0, -1))],
    ['a field too many', frame([...whole, utf8('more')])],
    ['another column type', frame([...whole.slice(0, -2), utf8('y'), utf8('x')])],
  ])('refuses %s', (_claim, bytes) => {
    expect(() => decodeRow(bytes)).toThrow(RangeError)
  })
})

describe('frames', () => {
  it('give back what was framed, text as UTF-8', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string({ unit: 'binary' }), fc.uint8Array())), (fields) => {
        const bytes = fields.map((field) => [...(typeof field === 'string' ? utf8(field) : field)])
        expect(unframe(frame(fields)).map((field) => [...field])).toEqual(bytes)
      }),
    )
  })
})

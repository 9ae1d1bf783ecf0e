import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as node from '../../core/bytes.ts'
import * as browser from './bytes.ts'

const bytes = fc.uint8Array({ maxLength: 100 })
const plain = (value: unknown): unknown => (value instanceof Uint8Array ? [...value] : value)

describe('bytes in a browser', () => {
  it('have every function that the verifier takes', () => {
    expect(Object.keys(node)).toEqual(expect.arrayContaining(Object.keys(browser)))
  })

  it.each<[string, (input: Uint8Array) => unknown, (input: Uint8Array) => unknown]>([
    ['fromUtf8', browser.fromUtf8, node.fromUtf8],
    ['fromLatin1', browser.fromLatin1, node.fromLatin1],
    ['hex', browser.hex, node.hex],
    ['base64', browser.base64, node.base64],
    ['base64url', browser.base64url, node.base64url],
    ['sha256', browser.sha256, node.sha256],
    ['fromHex of hex', (input) => browser.fromHex(node.hex(input)), (input) => node.fromHex(node.hex(input))],
  ])('%s is that of Node', (_name, own, other) => {
    fc.assert(
      fc.property(bytes, (input) => {
        expect(plain(own(input))).toEqual(plain(other(input)))
      }),
    )
  })

  it('texts are read as in Node', () => {
    const characters = fc.constantFrom('0', 'a', 'F', '/', '+', '-', '_', '=', ' ', '\n', '\u00e9', '\u012b')
    const texts = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: characters }), bytes.map(node.base64), bytes.map(node.base64url))
    fc.assert(
      fc.property(texts, (input) => {
        expect(plain(browser.utf8(input))).toEqual(plain(node.utf8(input)))
        expect(plain(browser.fromStrictBase64(input))).toEqual(plain(node.fromStrictBase64(input)))
      }),
      { numRuns: 500 },
    )
  })

  it('a byte order mark, long texts, several parts and frames are those of Node, too', () => {
    expect(browser.fromUtf8(Uint8Array.of(0xef, 0xbb, 0xbf, 65))).toBe(node.fromUtf8(Uint8Array.of(0xef, 0xbb, 0xbf, 65)))
    const long = Uint8Array.from({ length: 100_000 }, (_, at) => at)
    expect(browser.base64(long)).toBe(node.base64(long))
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 4 }), bytes, (parts, other) => {
        expect(plain(browser.concat(...parts))).toEqual(plain(node.concat(...parts)))
        expect(plain(browser.sha256(...parts))).toEqual(plain(node.sha256(...parts)))
        expect(plain(browser.frame([...parts, 'é']))).toEqual(plain(node.frame([...parts, 'é'])))
        const [first = other] = parts
        expect(browser.equalBytes(first, other)).toBe(node.equalBytes(first, other))
        expect(browser.equalBytes(first, Uint8Array.from(first))).toBe(true)
      }),
    )
  })

  it('strict base64 has one text for one value', () => {
    for (const text of ['AA==', 'AAA=', 'AAAA', '']) expect(node.fromStrictBase64(text)).toBeDefined()
    for (const text of ['AB==', 'AAB=', 'AA=', 'AA', 'A', 'A===', '====', '\u0141AAA', 'AA==AA==', 'AAAA=', '-_-_', ' AAAA', 'AAA\n', 'AAAAA', 'AA=A'])
      expect([node.fromStrictBase64(text), browser.fromStrictBase64(text)]).toEqual([undefined, undefined])
  })
})

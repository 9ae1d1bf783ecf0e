import { describe, expect, it } from 'vitest'
import { luhnDigit, nextIccid } from '../core/iccid.ts'
import { IssuedIccids } from './issued-iccids.ts'

const iccid = (body: string): string => body + luhnDigit(body)

describe('ICCIDs that count as issued', () => {
  const issued = new IssuedIccids([
    ['8986001200000000500', '8986001200000000509'],
    ['898600120000000100', '898600120000000100'],
    ['8986001200000000505', '8986001200000000520'],
    ['8986001200000000100', '8986001200000000199'],
  ])

  it.each([
    ['8986001200000000099', false],
    ['8986001200000000100', true],
    ['8986001200000000199', true],
    ['8986001200000000200', false],
    ['8986001200000000499', false],
    ['8986001200000000500', true],
    ['8986001200000000515', true],
    ['8986001200000000521', false],
    ['898600120000000100', true],
    ['898600120000000101', false],
  ])('%s: %s', (body, expected) => {
    expect(issued.has(iccid(body))).toBe(expected)
  })

  it('are none without ranges', () => {
    expect(new IssuedIccids([]).has(iccid('8986001200000000100'))).toBe(false)
  })

  it('are those that a search through all of them finds', () => {
    const ranges = Array.from({ length: 40 }, (_, at): [string, string] => {
      const first = BigInt('8986001200000000000') + BigInt((at * 7919) % 1000)
      return [String(first), String(first + BigInt(at % 9))]
    })
    const some = new IssuedIccids(ranges)
    for (let at = 0, one = iccid('8986001200000000000'); at < 1_020; at += 1, one = nextIccid(one) ?? '') {
      const body = one.slice(0, -1)
      expect(some.has(one)).toBe(ranges.some(([first, last]) => first <= body && body <= last))
    }
  })
})

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { MAX_FAULTS } from './fault-list.ts'
import { luhnDigit, nextIccid } from '../core/iccid.ts'
import { MAX_INP_CHARACTERS } from './inp.ts'
import { readInpOrder } from './inp-order.ts'
import { MAX_CARDS } from './order-content.ts'

const ROWS = readFileSync(new URL('../examples/grid-usim-10-rows.inp', import.meta.url), 'utf8')
const HEADER = readFileSync(new URL('../examples/grid-usim-1000.inp', import.meta.url), 'utf8')
const lineOf = (text: string, part: string): number => text.slice(0, text.indexOf(part)).split('\n').length

const faultsOf = (text: string): readonly string[] => readInpOrder(text).faults.faults.map(({ line, column, message }) => `${line}:${column} ${message}`)

describe('a faulty INP order', () => {
  it('is told every fault with line and column, not the first only', () => {
    const rows = ROWS.split('\n')
    const first = rows.findIndex((line) => line.startsWith('8986'))
    rows[first + 1] = '89860099000000020011 460009900002001' // the check digit is of another body
    rows[first + 3] = `${rows[first + 2]}` // the same card again
    rows[first + 4] = '   89860099000000020078' // no IMSI
    rows[first + 5] = `${rows[first + 5]} 0123456789ABCDEF0123456789ABCDEF` // a key in clear
    rows[first + 6] = `${rows[first + 6]}9` // 16 digits
    rows.splice(4, 0, 'QUANTITTY: 7', 'TRANSPORT_ALG: DES', 'nonsense')
    const told = faultsOf(rows.join('\n'))
    const at = (offset: number): number => first + 1 + 3 + offset
    expect(told).toEqual([
      '5:1 this field is not known',
      '7:1 this is no field (NAME: value), no row (it would begin with a digit) and no comment (*)',
      expect.stringMatching(new RegExp(`^${lineOf(rows.join('\n'), 'TRANSPORT_ALG:   AES')}:1 this field was given before`)),
      '6:16 keys are delivered under AES and nothing else',
      `${at(4)}:4 a row has two values, an ICCID and an IMSI; this has one`,
      `${at(5)}:38 a row has two values, an ICCID and an IMSI; keys are made here and are not taken`,
      expect.stringMatching(new RegExp(`^${at(1)}:1 the check digit is 1, by Luhn it must be \\d$`)),
      `${at(3)}:1 this ICCID stands in the order before (line ${at(2)})`,
      `${at(3)}:22 this IMSI stands in the order before (line ${at(2)})`,
      `${at(6)}:22 an IMSI has 15 digits, this has 16`,
    ])
    expect(told.join()).not.toContain('0123456789ABCDEF')
  })

  it.each([
    ['QUANTITY:        00010', 'QUANTITY:        00011', /^\d+:18 the quantity is 11, the rows are 10$/],
    ['QUANTITY:        00010', 'QUANTITY:        ten', /:18 this must be a number/],
    ['QUANTITY:        00010\n', '', /^1:1 the header lacks QUANTITY/],
    ['QUANTITY:        00010', 'QUANTITY:        0', /:18 an order has 1 to 100000 cards/],
    ['PROFILE:         grid-usim-1\n', '', /^1:1 the header lacks PROFILE/],
    ['TRANSPORT_KEY:   001', 'TRANSPORT_KEY:', /:\d+ the header lacks TRANSPORT_KEY/],
    ['IMSI:            460009900002000', 'IMSI:            460009900002001', /the first row has another IMSI/],
    ['BATCH:           PO-2026-0010', 'BATCH:           a b;c', /:18 a batch is named by/],
    ['VAR_OUT:         /ICCID/IMSI/', 'VAR_OUT:         /ICCID/IM SI/', /:25 this variable is not/],
    ['GRID_IOT_TEST', 'GRID\u0000TEST', /only printable ASCII/],
    ['GRID_IOT_TEST', '电网', /:18 only printable ASCII/],
  ])('%j turned to %j', (from, to, told) => {
    const faults = faultsOf(ROWS.replace(from, to))
    expect(
      faults.some((fault) => told.test(fault)),
      faults.join('\n'),
    ).toBe(true)
  })

  it.each([
    ['QUANTITY:        01000', `QUANTITY:        ${MAX_CARDS + 1}`, /an order has 1 to/],
    ['QUANTITY:        01000', 'QUANTITY:        999999999', /an order has 1 to/],
    ['IMSI:            460009900000100', 'IMSI:            460009999999100', /1000 IMSIs do not fit/],
    [/Ser_nb: .*/, `Ser_nb: 8999999999999999999${luhnDigit('8999999999999999999')}`, /1000 ICCIDs do not fit/],
    [/Ser_nb: .*/, 'Ser_nb: 11111111110000000000', /begins with 89/],
    [/Ser_nb: .*\n/, '', /lacks Ser_nb/],
    [/VAR_OUT: .*/, 'FORMAT_OUT: /ICCID+89860099000000009999/', /starts ICCID elsewhere/],
  ] as const)('a header only: %s turned to %j', (from, to, told) => {
    const faults = faultsOf(HEADER.replace(from, to))
    expect(
      faults.some((fault) => told.test(fault)),
      faults.join('\n'),
    ).toBe(true)
  })

  it('empty or foreign text is told what is lacking', () => {
    expect(faultsOf('')).toHaveLength(5)
    expect(faultsOf('{"profile":"x"}').length).toBeGreaterThan(4)
    expect(faultsOf('8986 4600')[0]).toMatch(/^1:1 a row stands before/)
  })

  it('of hostile size costs no more than its size', () => {
    const began = performance.now()
    expect(readInpOrder('x'.repeat(MAX_INP_CHARACTERS + 1)).faults.total).toBeGreaterThan(0)
    expect(readInpOrder('x'.repeat(MAX_INP_CHARACTERS)).faults.faults[0]?.message).toMatch(/more than 1024 characters/)
    const many = readInpOrder('a\n'.repeat(1_000_000))
    expect(many.faults.faults).toHaveLength(MAX_FAULTS)
    expect(many.faults.total).toBeGreaterThan(100_000)
    expect(many.faults.problem()?.detail).toContain('the first 1000')
    expect(readInpOrder('A:b\n'.repeat(100_000)).faults.total).toBeGreaterThan(100_000)
    expect(readInpOrder(`FORMAT_OUT: ${'/'.repeat(1_000)}\nVAR_OUT: ${'a:'.repeat(500)}`).faults.total).toBeGreaterThan(0)
    expect(performance.now() - began).toBeLessThan(8_000)
  })

  it('with more rows than an order has is refused before they are compared', () => {
    let iccid = '89860099000000001000'
    const rows: string[] = []
    for (let at = 0; at <= MAX_CARDS; at++, iccid = nextIccid(iccid) ?? '') rows.push(`${iccid} ${460009900000000 + at}`)
    const { content, faults } = readInpOrder(
      ROWS.replace(/(8986.*\n)+$/, `${rows.join('\n')}\n`).replace('QUANTITY:        00010', `QUANTITY:        ${rows.length}`),
    )
    expect(content.cards).toHaveLength(0)
    expect(faults.faults.map(({ message }) => message).join()).toContain('an order has 1 to 100000 cards')
  })
})

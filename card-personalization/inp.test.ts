import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { luhnDigit } from '../core/iccid.ts'
import { encodeInp, parseInp } from './inp.ts'
import { composeInp, composeOut } from './inp-compose.ts'
import { parseOutputFormat } from './inp-format.ts'
import { readInpOrder } from './inp-order.ts'
import type { OrderedCard } from './order-content.ts'

const example = (name: string): string => readFileSync(new URL(`../examples/${name}`, import.meta.url), 'utf8')

/** Written after the input file in KAREVARA's console README (karevara/karevara_lib), with its tabs and its aliases; start values are Luhn-valid here. */
const TRADE = [
  '******************************************\r',
  '* \tINP PROCESS DESCRIPTION\t*\r',
  '******************************************\r',
  'JOB_ID:          D30119CE755CD46140958CC80BB2FFDD\r',
  'TIME_ID:         Tue_Dec_18_16:40:07_2012\r',
  '* \tHEADER DESCRIPTION\t*\r',
  'CUSTOMER:        EXAMPLE\r',
  'Batch_Size:      00003\r',
  'PROFILE:         grid-usim-1\r',
  'Batch No:        0012345\r',
  'TRANSPORT_KEY_NUM:   002\r',
  'TRANSPORT_ENCRYPTION:   aes\r',
  '* \tINPUT VARIABLES DESCRIPTION\t*\r',
  'Var_In_List:\r',
  'START_IMSI:     460000000000007\r',
  'Ser_nb:         8988211000000467285F\r',
  '* \tOUTPUT VARIABLES DESCRIPTION\t*\r',
  'VAR_OUT: \t/ICCID/IMSI/Ki/\r',
  'FORMAT_OUT: \t/ICCID+8988211000000467285/IMSI+460000000000007/Ki:32x^/\r',
  '*',
].join('\n')

const cards = fc
  .uniqueArray(fc.bigInt(0n, 10n ** 14n), { minLength: 1, maxLength: 40 })
  .map((numbers) =>
    numbers.map((n, at): OrderedCard => ({ iccid: withDigit(`8986${n.toString().padStart(15, '0')}`), imsi: String(460_000_000_000_000 + at) })),
  )
const withDigit = (body: string): string => body + luhnDigit(body)

describe('an INP order', () => {
  it('with a header only counts up, each card with its own check digit', () => {
    const { content, faults } = readInpOrder(example('grid-usim-1000.inp'))
    expect(faults.faults).toEqual([])
    expect(content).toMatchObject({ profile: 'grid-usim-1', transportKey: { number: 1 }, purchaseOrder: 'PO-2026-1000' })
    expect(content.cards).toHaveLength(1000)
    expect(new Set(content.cards.map(({ iccid }) => iccid)).size).toBe(1000)
    expect(content.cards.every(({ iccid }) => luhnDigit(iccid.slice(0, -1)) === iccid.at(-1))).toBe(true)
    expect(content.cards.at(-1)?.imsi).toBe('460009900001099')
  })

  it('with rows has the cards of its rows', () => {
    const { content, faults } = readInpOrder(example('grid-usim-10-rows.inp'))
    expect(faults.faults).toEqual([])
    expect(content.cards).toHaveLength(10)
    expect(content.cards[9]?.imsi).toBe('460009900002021')
  })

  it('is read in the dialects of the trade: aliases, blanks in names, CRLF, tabs, filler', () => {
    const { content, faults } = readInpOrder(TRADE)
    expect(faults.faults).toEqual([])
    expect(content).toMatchObject({ transportKey: { number: 2 }, purchaseOrder: '0012345' })
    expect(content.cards.map(({ iccid }) => iccid)).toEqual(['8988211000000467285', '8988211000000467293', '8988211000000467301'])
  })

  it('may name its columns in the other order', () => {
    const text = composeInp({
      customer: 'C',
      quantity: 1,
      profile: 'grid-usim-1',
      transportKeyNumber: 1,
      start: { iccid: '8988211000000467285', imsi: '460000000000007' },
      rows: [],
    })
      .replace('/ICCID/IMSI/', '/IMSI/ICCID/')
      .concat('460000000000007 8988211000000467285\n')
    const { content, faults } = readInpOrder(text)
    expect(faults.faults).toEqual([])
    expect(content.cards).toEqual([{ iccid: '8988211000000467285', imsi: '460000000000007' }])
  })

  it('composed and read is the order again', () => {
    fc.assert(
      fc.property(cards, fc.integer({ min: 1, max: 999 }), fc.boolean(), (rows, transportKeyNumber, withRows) => {
        const start = rows[0] as OrderedCard
        const text = composeInp({
          customer: 'C',
          quantity: rows.length,
          profile: 'grid-usim-1',
          batch: 'PO/1',
          transportKeyNumber,
          start,
          ...(withRows ? { rows } : {}),
        })
        const { content, faults } = readInpOrder(text)
        expect(faults.faults).toEqual([])
        expect(content.transportKey).toEqual({ number: transportKeyNumber })
        if (withRows) expect(content.cards).toEqual(rows)
        else expect(content.cards[0]).toEqual(start)
      }),
    )
  })
})

describe('the INP codec', () => {
  it('loses nothing of any text', () => {
    const line = fc.oneof(fc.string(), fc.constantFrom('*', '* DATA SECTION *', 'IMSI: 1', '8986 4600', 'x\r', ' \t', 'QUANTITY:'))
    fc.assert(
      fc.property(fc.array(line), fc.constantFrom('\n', '\r\n'), (lines, end) => {
        expect(encodeInp(parseInp(lines.join(end)).file)).toBe(lines.join(end))
      }),
    )
  })

  it('answers with the whole header of the order, byte for byte, and the rows', () => {
    const out = composeOut(parseInp(TRADE).file, { jobId: 'J1', timeId: 'T1', rows: [['8988211000000467285', '460000000000007', '00']] })
    expect(out).toContain(TRADE)
    const { file, faults } = parseInp(out)
    expect(faults.faults).toEqual([])
    expect(file.lines.filter((each) => each.kind === 'row').map((row) => row.values.map(({ text }) => text))).toEqual([
      ['8988211000000467285', '460000000000007', '00'],
    ])
    expect(file.lines.filter((each) => each.kind === 'field' && each.name === 'jobId').map((each) => each.section)).toEqual(['out-process', 'inp-process'])
  })
})

describe('an output format', () => {
  it('names its variables and where their values come from', () => {
    expect(parseOutputFormat('/ICCID+8986/IMSI/Ki:32x^/PIN:4d/ADM=0000/')).toEqual([
      { name: 'ICCID', value: { kind: 'increment', start: '8986' }, encrypted: false, at: 1 },
      { name: 'IMSI', value: { kind: 'named' }, encrypted: false, at: 12 },
      { name: 'KI', value: { kind: 'random', length: 32, digits: 'x' }, encrypted: true, at: 17 },
      { name: 'PIN', value: { kind: 'random', length: 4, digits: 'd' }, encrypted: false, at: 25 },
      { name: 'ADM', value: { kind: 'fixed', value: '0000' }, encrypted: false, at: 32 },
    ])
    expect(parseOutputFormat('ICCID/IMSI')).toHaveLength(2)
  })
  it.each([
    ['/Ki:32y/', 1],
    ['/ICCID//IMSI/', 7],
    ['/ICCID/1MSI/', 7],
    ['/IMSI+x/', 1],
  ])('%s is none, and the place is told', (text, at) => expect(parseOutputFormat(text)).toMatchObject({ at }))
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../core/bytes.ts'
import { newOperationId } from '../../../core/ids.ts'
import type { FoundEntry } from '../reader.ts'
import { draftOf } from '../testing/drafts.ts'
import { encodeEntry, parseEntry } from '../entry.ts'
import { csvEntry, csvHeader, csvLine } from './csv.ts'

/** A reader by the grammar of RFC 4180 2, strict: fields in quotes or without any, CR LF after each record. */
function parseCsv(text: string): string[][] {
  const records: string[][] = []
  let record: string[] = []
  for (let at = 0; at < text.length; ) {
    const quoted = /^"((?:[^"]|"")*)"/.exec(text.slice(at))
    const field = quoted?.[0] ?? /^[^",\r\n]*/.exec(text.slice(at))?.[0] ?? ''
    record.push(quoted === null ? field : (quoted[1] ?? '').replaceAll('""', '"'))
    at += field.length
    if (text[at] === ',') at += 1
    else if (text.startsWith('\r\n', at)) {
      records.push(record)
      record = []
      at += 2
    } else throw new Error(`no field, comma or line end at ${String(at)}`)
    if (text[at - 1] === ',' && at === text.length) throw new Error('the last record has no end')
  }
  return records
}

function found(index: number, name: string): FoundEntry {
  const { bytes } = encodeEntry(
    { ...draftOf('event', newOperationId()), caller: { kind: 'module', name, id: 'm1' }, facts: { public: { note: 'a "b", c\n=1' } } },
    { time: new Date(0), writer: { slot: 1, epoch: 2, seq: 3 }, effect: 'durable', salt: () => new Uint8Array(16) },
  )
  return { index, bytes, entry: parseEntry(bytes) }
}

describe('CSV', () => {
  it('gives back what was written, less the mark before a formula', () => {
    const field = fc.oneof(fc.string({ unit: 'binary', maxLength: 20 }), fc.constantFrom('=1+1', '+a', '-a', '@a', '\ta', "'a", '＝a', 'a,"b"', '\r\n', ''))
    fc.assert(
      fc.property(fc.array(fc.array(field, { minLength: 2, maxLength: 5 }), { minLength: 1, maxLength: 5 }), (records) => {
        const read = parseCsv(records.map(csvLine).join(''))
        expect(read.map((record) => record.map((one) => (one.startsWith("'") ? one.slice(1) : one)))).toEqual(records)
      }),
    )
  })

  it('leaves no field that a spreadsheet takes for a formula', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 20 }), (value) => {
        const [[field = ''] = []] = parseCsv(csvLine([value, 0]))
        expect('=+-@\t\r\n＝＋－＠'.includes(field[0] ?? 'x')).toBe(false)
      }),
    )
  })

  it('has one record for each entry, of as many fields as the header, with its place in the log', () => {
    const [header = [], first = [], second = []] = parseCsv(csvHeader() + csvEntry(found(7, '=cmd|x')) + csvEntry(found(8, 'billing')))
    expect(first).toHaveLength(header.length)
    const read = Object.fromEntries(header.map((name, at) => [name, first[at]]))
    expect(read).toMatchObject({ index: '7', writer_slot: '1', writer_epoch: '2', writer_seq: '3', caller_name: "'=cmd|x" })
    expect(JSON.parse(read['facts'] ?? '')).toEqual({ note: 'a "b", c\n=1' })
    expect(second[header.indexOf('caller_name')]).toBe('billing')
  })

  it('has one line a record: nothing of an entry breaks it', () => {
    expect(csvEntry(found(0, 'a')).split('\n')).toHaveLength(2)
    expect(utf8(csvHeader()).every((byte) => byte < 128)).toBe(true)
  })
})

import { hex } from '../../../core/bytes.ts'
import { leafHash } from '../merkle.ts'
import type { FoundEntry } from '../reader.ts'

/** Entries as CSV (RFC 4180): a header, CR LF after each line, a field in quotes where it needs them. Pure. */

type Field = string | number | undefined

/** Lists and objects stand as JSON. `leaf`: RFC 6962 leaf hash, hex: what ties the line to the log. */
const COLUMNS: readonly (readonly [name: string, value: (found: FoundEntry) => Field])[] = [
  ['index', ({ index }) => index],
  ['operation_id', ({ entry }) => entry.id],
  ['parent', ({ entry }) => entry.parent],
  ['writer_slot', ({ entry }) => entry.writer.slot],
  ['writer_epoch', ({ entry }) => entry.writer.epoch],
  ['writer_seq', ({ entry }) => entry.writer.seq],
  ['time', ({ entry }) => entry.time],
  ['kind', ({ entry }) => entry.kind],
  ['effect', ({ entry }) => entry.effect],
  ['operation', ({ entry }) => entry.operation],
  ['caller_kind', ({ entry }) => entry.caller.kind],
  ['caller_name', ({ entry }) => entry.caller.name],
  ['caller_id', ({ entry }) => entry.caller.id],
  ['caller_certificate', ({ entry }) => entry.caller.certificate],
  ['caller_address', ({ entry }) => entry.caller.address],
  ['code', ({ entry }) => entry.code],
  ['decision', ({ entry }) => json(entry.decision)],
  ['uses', ({ entry }) => json(entry.uses)],
  ['facts', ({ entry }) => json(entry.facts)],
  ['personal', ({ entry }) => json(entry.personal)],
  ['rows', ({ entry }) => json(entry.rows)],
  ['leaf', ({ bytes }) => hex(leafHash(bytes))],
]

export const csvHeader = (): string => csvLine(COLUMNS.map(([name]) => name))

export const csvEntry = (found: FoundEntry): string => csvLine(COLUMNS.map(([, value]) => value(found)))

export const csvLine = (fields: readonly Field[]): string => `${fields.map(csvField).join(',')}\r\n`

/** What a spreadsheet takes for a formula (in the wide forms of East Asia too), and the mark itself, so that taking one mark away always gives the value back. */
const FORMULA = /^['=+\-@\t\r\n＝＋－＠]/u

function csvField(value: Field): string {
  if (value === undefined) return ''
  if (typeof value === 'number') return String(value)
  const safe = FORMULA.test(value) ? `'${value}` : value
  return /[",\r\n\t']/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

const json = (value: unknown): string | undefined => (value === undefined ? undefined : JSON.stringify(value))

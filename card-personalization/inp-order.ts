import { REGION } from '../core/card-facts.ts'
import type { FaultList } from './fault-list.ts'
import { iccidFault, trimFiller } from '../core/iccid.ts'
import { imsiFault } from './imsi.ts'
import { type InpFieldName, type InpFile, type InpLine, type InpValue, parseInp } from './inp.ts'
import { parseOutputFormat } from './inp-format.ts'
import { checkCards, expandSeries, MAX_CARDS, type OrderContent, type OrderedCard, quantityFault } from './order-content.ts'

type Field = InpLine & { readonly kind: 'field' }
type RowLine = InpLine & { readonly kind: 'row' }
/** Which value of a row is what. */
interface Columns {
  readonly iccid: number
  readonly imsi: number
}

const NUMBER = /^[0-9]{1,9}$/
/** What a vendor may name an order by. */
export const PURCHASE_ORDER = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$/

/**
 * Reads an order from INP text: a header with QUANTITY, start ICCID (Ser_nb) and start IMSI; or a header and one row a card.
 * With rows the start values, where given, must be the first row's. Every fault is reported with line and column.
 */
export function readInpOrder(text: string): { readonly content: OrderContent; readonly faults: FaultList } {
  const { file, faults } = parseInp(text)
  const reader = new HeaderReader(file, faults)
  const profile = reader.needed('profile', 'PROFILE: the profile of the cards')
  const transportKey = reader.number('transportKey', 'TRANSPORT_KEY: the number of the transport key')
  const batch = reader.find('batch')
  if (batch && !PURCHASE_ORDER.test(batch.value.text)) faults.add({ message: 'a batch is named by up to 64 letters, digits and . _ / -', ...at(batch) })
  const region = reader.find('region')
  if (region && !REGION.test(region.value.text))
    faults.add({ message: 'a region is six digits, the first not 0: province, city, county (GB/T 2260)', ...at(region) })
  const algorithm = reader.find('transportAlgorithm')
  if (algorithm && algorithm.value.text.toUpperCase() !== 'AES') faults.add({ message: 'keys are delivered under AES and nothing else', ...at(algorithm) })
  const quantity = reader.number('quantity', 'QUANTITY: the number of cards')
  const wrong = quantity && quantityFault(quantity.number)
  if (wrong) faults.add({ message: wrong, ...at(quantity.field) })

  const rows = file.lines.filter((line): line is RowLine => line.kind === 'row')
  const { cards, card } = rows.length > 0 ? readRows(rows, reader, quantity?.number, faults) : readSeries(reader, wrong ? undefined : quantity?.number, faults)
  const places = { profile: profile ? at(profile) : { line: 1 }, transportKey: transportKey ? at(transportKey.field) : { line: 1 }, card }
  const content = {
    profile: profile?.value.text ?? '',
    transportKey: { number: transportKey?.number ?? 0 },
    purchaseOrder: batch?.value.text,
    region: region?.value.text,
    cards,
    places,
  }
  return { content, faults }
}

type Read = { readonly cards: readonly OrderedCard[]; readonly card: OrderContent['places']['card'] }

function readSeries(reader: HeaderReader, quantity: number | undefined, faults: FaultList): Read {
  const iccid = reader.needed('iccid', 'Ser_nb: the first ICCID (a file without rows counts up from it)')
  const imsi = reader.needed('imsi', 'IMSI: the first IMSI (a file without rows counts up from it)')
  reader.format()
  const card: OrderContent['places']['card'] = (_position, field) => {
    const place = field === 'iccid' ? iccid : imsi
    return place ? at(place) : {}
  }
  if (iccid === undefined || imsi === undefined) return { cards: [], card }
  const start = { iccid: trimFiller(iccid.value.text), imsi: imsi.value.text }
  checkCards([start], card, faults)
  if (quantity === undefined || iccidFault(start.iccid) !== undefined || imsiFault(start.imsi) !== undefined) return { cards: [], card }
  return { cards: expandSeries(start, quantity, faults, { iccid: at(iccid), imsi: at(imsi) }), card }
}

function readRows(rows: readonly RowLine[], reader: HeaderReader, quantity: number | undefined, faults: FaultList): Read {
  const columns = reader.format()
  const card: OrderContent['places']['card'] = (position, field) => {
    const row = rows[position]
    return row ? at(row, row.values[columns[field]]) : {}
  }
  if (quantity !== undefined && rows.length !== quantity) {
    const place = reader.find('quantity')
    faults.add({ message: `the quantity is ${quantity}, the rows are ${rows.length}`, ...(place ? at(place) : {}) })
  }
  const first = rows[0]
  if (rows.length > MAX_CARDS && first) {
    faults.add({ message: `an order has 1 to ${MAX_CARDS} cards, these rows are ${rows.length}`, ...at(first) })
    return { cards: [], card }
  }
  const cards = rows.map((row) => ({ iccid: trimFiller(row.values[columns.iccid]?.text ?? ''), imsi: row.values[columns.imsi]?.text ?? '' }))
  for (const row of rows) {
    const [second, third] = [row.values[1], row.values[2]]
    if (second === undefined) faults.add({ message: 'a row has two values, an ICCID and an IMSI; this has one', ...at(row) })
    if (third !== undefined) faults.add({ message: 'a row has two values, an ICCID and an IMSI; keys are made here and are not taken', ...at(row, third) })
  }
  for (const [name, value] of [
    ['iccid', cards[0]?.iccid],
    ['imsi', cards[0]?.imsi],
  ] as const) {
    const field = reader.find(name)
    if (field && field.value.text !== '' && trimFiller(field.value.text) !== value)
      faults.add({ message: `the first row has another ${name.toUpperCase()} than this`, ...at(field) })
  }
  const whole = rows.map((row, position) => ({ row, position })).filter(({ row }) => row.values.length >= 2)
  checkCards(
    whole.map(({ position }) => cards[position] ?? { iccid: '', imsi: '' }),
    (position, field) => card(whole[position]?.position ?? 0, field),
    faults,
  )
  return { cards, card }
}

/** The header's fields. Only those of the order itself: an answered file's own process description is another section. */
class HeaderReader {
  readonly #fields = new Map<InpFieldName, Field>()
  readonly #faults: FaultList

  constructor(file: InpFile, faults: FaultList) {
    this.#faults = faults
    for (const line of file.lines) if (line.kind === 'field' && line.name !== undefined && !this.#fields.has(line.name)) this.#fields.set(line.name, line)
  }

  find(name: InpFieldName): Field | undefined {
    return this.#fields.get(name)
  }

  needed(name: InpFieldName, message: string): Field | undefined {
    const field = this.#fields.get(name)
    if (field !== undefined && field.value.text !== '') return field
    this.#faults.add({ message: `the header lacks ${message}`, ...(field ? at(field) : { line: 1, column: 1 }) })
    return undefined
  }

  number(name: InpFieldName, message: string): { readonly field: Field; readonly number: number } | undefined {
    const field = this.needed(name, message)
    if (field === undefined) return undefined
    if (NUMBER.test(field.value.text)) return { field, number: Number(field.value.text) }
    this.#faults.add({ message: 'this must be a number of up to 9 digits', ...at(field) })
    return undefined
  }

  /** The columns of the rows, by VAR_OUT; and a FORMAT_OUT that says otherwise than the start values is a fault. */
  format(): Columns {
    let columns: Columns = { iccid: 0, imsi: 1 }
    for (const name of ['outputVariables', 'outputFormat'] as const) {
      const field = this.#fields.get(name)
      if (field === undefined || field.value.text === '') continue
      const variables = parseOutputFormat(field.value.text)
      if ('message' in variables) {
        this.#faults.add({ message: variables.message, line: field.line, column: field.value.column + variables.at })
        continue
      }
      for (const { name: variable, value, at: offset } of variables) {
        const start = variable === 'ICCID' ? this.#fields.get('iccid') : variable === 'IMSI' ? this.#fields.get('imsi') : undefined
        if (value.kind === 'increment' && start && start.value.text !== '' && trimFiller(start.value.text) !== trimFiller(value.start)) {
          this.#faults.add({ message: `this starts ${variable} elsewhere than the input variables do`, line: field.line, column: field.value.column + offset })
        }
      }
      const inputs = variables.map((variable) => variable.name).filter((variable) => variable === 'ICCID' || variable === 'IMSI')
      if (name === 'outputVariables' && inputs[0] === 'IMSI' && inputs[1] === 'ICCID') columns = { iccid: 1, imsi: 0 }
    }
    return columns
  }
}

const at = (line: InpLine, value?: InpValue): { readonly line: number; readonly column: number } => ({
  line: line.line,
  column: (value ?? (line.kind === 'field' ? line.value : line.kind === 'row' ? line.values[0] : undefined))?.column ?? 1,
})

import { FaultList } from './fault-list.ts'
import { MAX_CARDS } from './order-content.ts'

/**
 * The card trade's text header format (`.inp` ordered, `.out` answered): sections under titles in `*`, fields `NAME: value`, then rows of values.
 * This file knows the syntax; `inp-order.ts` what an order means by it.
 */

export const MAX_INP_CHARACTERS = 16 * 1024 * 1024
/** One line for each card of the largest order, and a generous header. */
const MAX_LINES = MAX_CARDS + 10_000
const MAX_LINE_CHARACTERS = 1_024
const MAX_FIELDS = 200

/** The fields that are known, each under the names that the trade writes it with (upper case, blanks as `_`). */
const ALIASES = {
  customer: ['CUSTOMER'],
  quantity: ['QUANTITY', 'SIZE', 'BATCH_SIZE'],
  type: ['TYPE'],
  profile: ['PROFILE', 'PROFILETYPE', 'PROFILE_TYPE'],
  batch: ['BATCH', 'BATCH_NO'],
  region: ['REGION'],
  transportKey: ['TRANSPORT_KEY', 'TRANSPORT_KEY_NUM'],
  transportAlgorithm: ['TRANSPORT_ALG', 'TRANSPORT_ALGORITHM', 'TRANSPORT_ENCRYPTION', 'TRANSPORT_ENCRYPTION_ALG'],
  address1: ['ADDRESS1'],
  address2: ['ADDRESS2'],
  address3: ['ADDRESS3'],
  address4: ['ADDRESS4'],
  address5: ['ADDRESS5'],
  address6: ['ADDRESS6'],
  address7: ['ADDRESS7'],
  address8: ['ADDRESS8'],
  address9: ['ADDRESS9'],
  graph: ['GRAPH_REF', 'GRAPH'],
  inputVariables: ['VAR_IN_LIST', 'VAR_IN'],
  msisdn: ['MSISDN'],
  imsi: ['IMSI', 'SIMSI', 'START_IMSI', 'STARTIMSI'],
  iccid: ['ICCID', 'SER_NB', 'START_ICCID', 'STARTICCID'],
  outputVariables: ['VAR_OUT'],
  outputFormat: ['FORMAT_OUT'],
  jobId: ['JOB_ID'],
  timeId: ['TIME_ID'],
} as const satisfies Record<string, readonly string[]>

export type InpFieldName = keyof typeof ALIASES
const NAMES: ReadonlyMap<string, InpFieldName> = new Map(
  Object.entries(ALIASES).flatMap(([name, aliases]) => aliases.map((alias) => [alias, name as InpFieldName] as const)),
)

const SECTIONS = {
  'OUT PROCESS DESCRIPTION': 'out-process',
  'INP PROCESS DESCRIPTION': 'inp-process',
  'HEADER DESCRIPTION': 'header',
  'INPUT VARIABLES DESCRIPTION': 'input',
  'INPUT VARIABLES': 'input',
  'OUTPUT VARIABLES DESCRIPTION': 'output',
  'OUTPUT VARIABLES': 'output',
  'DATA SECTION': 'data',
} as const
export type InpSection = (typeof SECTIONS)[keyof typeof SECTIONS] | 'none'

/** One value of a line, with the column (from 1) at which it begins. */
export interface InpValue {
  readonly text: string
  readonly column: number
}

interface Line {
  /** The line as written, without its end. */
  readonly text: string
  /** `\n`, `\r\n`, or nothing behind the last. */
  readonly end: string
  /** From 1. */
  readonly line: number
  readonly section: InpSection
}
export type InpLine =
  /** A title, a comment or a blank line. */
  | (Line & { readonly kind: 'note' })
  /** `name` is undefined where the field is not one that is known. */
  | (Line & { readonly kind: 'field'; readonly name: InpFieldName | undefined; readonly value: InpValue })
  | (Line & { readonly kind: 'row'; readonly values: readonly InpValue[] })

export interface InpFile {
  readonly lines: readonly InpLine[]
}

/** The text again, byte for byte, of any file that {@link parseInp} read. */
export const encodeInp = (file: InpFile): string => file.lines.map(({ text, end }) => text + end).join('')

/** Reads any text: what is not of the format is reported in `faults` and kept as a note, so that nothing of the text is lost. */
export function parseInp(text: string): { readonly file: InpFile; readonly faults: FaultList } {
  const faults = new FaultList()
  if (text.length > MAX_INP_CHARACTERS) {
    faults.add({ message: `the file has more than ${MAX_INP_CHARACTERS} characters`, line: 1, column: 1 })
    return { file: { lines: [{ kind: 'note', text, end: '', line: 1, section: 'none' }] }, faults }
  }
  const lines: InpLine[] = []
  const seen = new Set<string>()
  let section: InpSection = 'none'
  let fields = 0
  for (let start = 0, number = 1; start < text.length; number++) {
    if (number > MAX_LINES) {
      faults.add({ message: `the file has more than ${MAX_LINES} lines; those behind are not read`, line: number, column: 1 })
      lines.push({ kind: 'note', text: text.slice(start), end: '', line: number, section })
      break
    }
    const newline = text.indexOf('\n', start)
    const stop = newline < 0 ? text.length : newline
    const bare = newline > start && text[newline - 1] === '\r' ? newline - 1 : stop
    const line: Line = { text: text.slice(start, bare), end: text.slice(bare, newline < 0 ? text.length : newline + 1), line: number, section }
    start = newline < 0 ? text.length : newline + 1

    const parsed = parseLine(line, faults)
    section = parsed.section
    lines.push(parsed)
    if (parsed.kind !== 'field') continue
    fields++
    if (fields === MAX_FIELDS + 1) faults.add({ message: `the header has more than ${MAX_FIELDS} fields`, line: number, column: 1 })
    if (parsed.name === undefined || fields > MAX_FIELDS) continue
    const place = `${section} ${parsed.name}`
    if (seen.has(place)) faults.add({ message: `this field was given before: ${ALIASES[parsed.name].join(', ')} are one`, line: number, column: 1 })
    seen.add(place)
  }
  return { file: { lines }, faults }
}

function parseLine(line: Line, faults: FaultList): InpLine {
  const fault = (message: string, column: number): InpLine => {
    faults.add({ message, line: line.line, column })
    return { ...line, kind: 'note' }
  }
  if (line.text.length > MAX_LINE_CHARACTERS) return fault(`the line has more than ${MAX_LINE_CHARACTERS} characters`, MAX_LINE_CHARACTERS + 1)
  const control = foreignCharacter(line.text)
  if (control >= 0) return fault('only printable ASCII characters, blanks and tabs are read', control + 1)

  const first = skipBlanks(line.text, 0)
  if (first === line.text.length) return { ...line, kind: 'note' }
  if (line.text[first] === '*') return { ...line, kind: 'note', section: titleOf(line.text) ?? line.section }
  if (isDigit(line.text, first)) {
    if (line.section === 'data' || line.section === 'output') return { ...line, kind: 'row', values: splitValues(line.text) }
    return fault('a row stands before the section of output variables or of data', first + 1)
  }
  const colon = line.text.indexOf(':')
  if (colon < 0) return fault('this is no field (NAME: value), no row (it would begin with a digit) and no comment (*)', first + 1)
  const name = NAMES.get(line.text.slice(first, colon).trim().toUpperCase().replaceAll(' ', '_').replaceAll('\t', '_'))
  if (name === undefined) faults.add({ message: 'this field is not known', line: line.line, column: first + 1 })
  const start = skipBlanks(line.text, colon + 1)
  return { ...line, kind: 'field', name, value: { text: line.text.slice(start).trimEnd(), column: start + 1 } }
}

function titleOf(text: string): InpSection | undefined {
  const words = text
    .replaceAll('*', ' ')
    .split(/[ \t]/)
    .filter((word) => word !== '')
  const title = words.join(' ').toUpperCase()
  return Object.hasOwn(SECTIONS, title) ? SECTIONS[title as keyof typeof SECTIONS] : undefined
}

function splitValues(text: string): InpValue[] {
  const values: InpValue[] = []
  for (let at = skipBlanks(text, 0); at < text.length; ) {
    let end = at
    while (end < text.length && !isBlank(text, end)) end++
    values.push({ text: text.slice(at, end), column: at + 1 })
    at = skipBlanks(text, end)
  }
  return values
}

const isBlank = (text: string, at: number): boolean => text[at] === ' ' || text[at] === '\t'
const isDigit = (text: string, at: number): boolean => text.charCodeAt(at) >= 48 && text.charCodeAt(at) <= 57

function skipBlanks(text: string, from: number): number {
  let at = from
  while (at < text.length && isBlank(text, at)) at++
  return at
}

function foreignCharacter(text: string): number {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if ((code < 32 && code !== 9) || code > 126) return at
  }
  return -1
}

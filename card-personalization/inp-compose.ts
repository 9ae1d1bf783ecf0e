import { encodeInp, type InpFile } from './inp.ts'
import type { OrderedCard } from './order-content.ts'

const STARS = '*'.repeat(42)
const title = (text: string): string[] => [STARS, `*\t${text}\t*`, STARS, '*']
const field = (name: string, value: string): string => `${`${name}:`.padEnd(17)}${value}`.trimEnd()

export interface InpDraft {
  readonly customer: string
  readonly quantity: number
  readonly profile: string
  readonly batch?: string
  /** Where the cards belong, six digits. */
  readonly region?: string
  readonly transportKeyNumber: number
  /** The first card; the others count up from it. */
  readonly start: OrderedCard
  /** All cards, where they do not count up. */
  readonly rows?: readonly OrderedCard[]
}

/** An order as INP text. Values are single lines without blanks at the ends. */
export function composeInp(draft: InpDraft): string {
  const lines = [
    ...title('HEADER DESCRIPTION'),
    field('CUSTOMER', draft.customer),
    field('QUANTITY', String(draft.quantity).padStart(5, '0')),
    field('PROFILE', draft.profile),
    ...(draft.batch === undefined ? [] : [field('BATCH', draft.batch)]),
    ...(draft.region === undefined ? [] : [field('REGION', draft.region)]),
    '*',
    field('TRANSPORT_KEY', String(draft.transportKeyNumber).padStart(3, '0')),
    field('TRANSPORT_ALG', 'AES'),
    ...title('INPUT VARIABLES DESCRIPTION'),
    'Var_In_List:',
    field('IMSI', draft.start.imsi),
    field('Ser_nb', draft.start.iccid),
    '*',
    ...title('OUTPUT VARIABLES DESCRIPTION'),
    field('VAR_OUT', '/ICCID/IMSI/'),
    '*',
    ...(draft.rows === undefined ? [] : [...title('DATA SECTION'), ...draft.rows.map(({ iccid, imsi }) => `${iccid} ${imsi}`)]),
  ]
  return `${lines.join('\n')}\n`
}

/** The answer to an order in the trade's form: a process description of its own, the whole header of the order as it came, and the rows. */
export function composeOut(order: InpFile, answer: { readonly jobId: string; readonly timeId: string; readonly rows: readonly (readonly string[])[] }): string {
  const header = encodeInp({ lines: order.lines.filter((line) => line.kind !== 'row' && line.section !== 'data') })
  const newline = header === '' || header.endsWith('\n') ? '' : '\n'
  const process = [...title('OUT PROCESS DESCRIPTION'), field('JOB_ID', answer.jobId), field('TIME_ID', answer.timeId), '*', '']
  const data = [...title('DATA SECTION'), ...answer.rows.map((row) => row.join(' ')), '']
  return process.join('\n') + header + newline + data.join('\n')
}

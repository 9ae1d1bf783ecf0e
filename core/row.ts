import { frame, sha256 } from './bytes.ts'

/** What a column may hold in a sealed row. A column that is NULL is left out. */
export type Column = string | number | boolean | Uint8Array

/** A database row as it is sealed: who can write the database can make the service refuse, not lie. */
export interface Row {
  readonly table: string
  /** The version of the column list. It grows with every migration that changes the list. */
  readonly schema: number
  readonly id: string
  /** Grows by one with every change of the row. */
  readonly version: number
  /** Every column that decides anything. `undefined` is NULL. */
  readonly columns: Readonly<Record<string, Column | undefined>>
}

/** A row with its MAC: AES-CMAC by the row-MAC key over {@link encodeRow}, 16 bytes. */
export interface SealedRow {
  readonly row: Row
  readonly mac: Uint8Array
}

/** A row after a change, as the audit entry names it, so that the log and the database can be compared. */
export interface RowDigest {
  readonly table: string
  readonly id: string
  readonly version: number
  /** SHA-256 of {@link encodeRow}, base64url; {@link DELETED} where there is no row any more. */
  readonly digest: string
}

/** Makes and checks row MACs. main.ts hands in the token's. */
export interface RowSealer {
  macRows(rows: readonly Row[]): Promise<Uint8Array[]>
  /** Throws the problem `integrity-failed`, naming table and id, for the first row whose MAC is not the token's. */
  assertRows(rows: readonly SealedRow[]): Promise<void>
}

const TAGS = { string: 's', number: 'n', boolean: 'b', bytes: 'x' } as const

/** The bytes that are MACed: framed table, schema, id, version, then name, type and value of each column in the order of its name. */
export function encodeRow(row: Row): Uint8Array {
  const known = encoded.get(row)
  if (known !== undefined) return known
  const bytes = encodeFields(row)
  encoded.set(row, bytes)
  return bytes
}

/** A row is MACed, digested and checked: encoded once. INVARIANT: a row does not change. */
const encoded = new WeakMap<Row, Uint8Array>()

function encodeFields(row: Row): Uint8Array {
  const fields: (Uint8Array | string)[] = [FORMAT, row.table, String(row.schema), row.id, String(row.version)]
  for (const name of Object.keys(row.columns).sort()) {
    const value = row.columns[name]
    if (value === undefined) continue
    if (value instanceof Uint8Array) fields.push(name, TAGS.bytes, value)
    else if (typeof value === 'string') fields.push(name, TAGS.string, value)
    else if (typeof value === 'number') fields.push(name, TAGS.number, String(value))
    else fields.push(name, TAGS.boolean, value ? '1' : '0')
  }
  return frame(fields)
}

const FORMAT = 'gridseal-row-v1'
/** Fields before the columns. */
const HEAD = 5

/**
 * The inverse of {@link encodeRow}. Throws a RangeError on bytes that it did not write. Columns of bytes are parts of `bytes`: who keeps one keeps all.
 * Text is read where it lies, since a lane does this for every key that it loads.
 */
export function decodeRow(bytes: Uint8Array): Row {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const fields = fieldsOf(view)
  const count = fields.length / 2
  if (count < HEAD || (count - HEAD) % 3 !== 0) throw new RangeError('not a row of version 1')
  const text = (field: number): string => view.toString('utf8', fields[2 * field], fields[2 * field + 1])
  if (text(0) !== FORMAT) throw new RangeError('not a row of version 1')
  const columns: Record<string, Column> = {}
  for (let field = HEAD; field < count; field += 3) {
    const tag = text(field + 1)
    const value = field + 2
    if (tag === TAGS.bytes) columns[text(field)] = view.subarray(fields[2 * value], fields[2 * value + 1])
    else if (tag === TAGS.string) columns[text(field)] = text(value)
    else if (tag === TAGS.number) columns[text(field)] = Number(text(value))
    else if (tag === TAGS.boolean) columns[text(field)] = text(value) === '1'
    else throw new RangeError('not a column type of version 1')
  }
  return { table: text(1), schema: Number(text(2)), id: text(3), version: Number(text(4)), columns }
}

/** Where each field of a frame begins and ends, by turns. */
function fieldsOf(framed: Buffer): number[] {
  const ends: number[] = []
  for (let at = 0; at < framed.length; ) {
    const start = at + 4
    at = start + framed.readUInt32BE(at)
    if (at > framed.length) throw new RangeError('a field runs past the end')
    ends.push(start, at)
  }
  return ends
}

/** In place of the digest of a row that is deleted. */
export const DELETED = 'deleted'

/** How an entry names a row that its transaction deleted: as the version after the last one. */
export const tombstoneOf = ({ table, id, version }: Pick<Row, 'table' | 'id' | 'version'>): RowDigest => ({ table, id, version: version + 1, digest: DELETED })

export const digestRow = (row: Row): RowDigest => ({
  table: row.table,
  id: row.id,
  version: row.version,
  digest: Buffer.from(sha256(encodeRow(row))).toString('base64url'),
})

import { Problem } from '../../core/problem.ts'
import type { Row, RowSealer } from '../../core/row.ts'
import { sealRow } from '../../core/sealed-records.ts'
import { pgSealedTable } from '../../core/sealed-table.pg.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../../core/tx.ts'
import { type CrlRecord, crlRow, type FoundCrl } from './crl.ts'
import type { CrlStore } from './crl-store.ts'
import type { AuthorityName } from './profile.ts'

interface Columns {
  readonly authority: AuthorityName
  readonly version: number
  readonly mac: Uint8Array
  readonly planned_number: number
  readonly planned_tbs_sha256: Uint8Array
  readonly number: number | null
  readonly this_update: Date | null
  readonly next_update: Date | null
  readonly count: number | null
  readonly recent: number | null
  readonly digest: Uint8Array | null
}

const COLUMNS = 'authority, version, mac, planned_number, planned_tbs_sha256, number, this_update, next_update, count, recent, digest'
const FIND = `select ${COLUMNS} from crls where authority = $1`
const DER = 'select der from crls where authority = $1 and version = $2 and der is not null'
const HIGHEST = 'select coalesce(max(planned_number), 0) as number from crls'
const RESERVE = `insert into crls as c (authority, version, mac, planned_number, planned_tbs_sha256) values ($1, $2, $3, $4, $5)
  on conflict (authority) do update set version = $2, mac = $3, planned_number = $4, planned_tbs_sha256 = $5 where c.version = $2 - 1 returning version`
const REPLACE = `update crls set version = $2, mac = $3, number = $4, this_update = $5, next_update = $6, count = $7, recent = $8, digest = $9, der = $10
  where authority = $1 and version = $2 - 1 returning version`

/** The highest number that any authority's CRL has, issued or planned; 0 where there is none. */
export const highestCrlNumber = async (sql: Sql): Promise<number> => (await sql.query<{ number: number }>(HIGHEST))[0]?.number ?? 0

/** {@link CrlStore} in the table `crls`. */
export class PgCrlStore implements CrlStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor(sql: Sql, sealer: RowSealer) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async find(authority: AuthorityName): Promise<FoundCrl | undefined> {
    const [row] = await this.#sql.query<Columns>(FIND, [authority])
    return row === undefined ? undefined : found(row)
  }

  async readDer(authority: AuthorityName, version: number): Promise<Uint8Array | undefined> {
    const [row] = await this.#sql.query<{ der: Uint8Array }>(DER, [authority, version])
    return row?.der
  }

  async reserveCrl(tx: Tx, record: CrlRecord): Promise<Row> {
    const row = crlRow(record)
    const mac = await sealRow(this.#sealer, row)
    await write(tx, RESERVE, [record.authority, record.version, mac, record.plannedNumber, record.plannedTbsSha256])
    return row
  }

  async replaceCrl(tx: Tx, record: CrlRecord, der: Uint8Array): Promise<Row> {
    const row = crlRow(record)
    const mac = await sealRow(this.#sealer, row)
    const { authority, version, issued } = record
    await write(tx, REPLACE, [
      ...[authority, version, mac, issued?.number, issued?.thisUpdate, issued?.nextUpdate, issued?.count, issued?.recent, issued?.digest],
      der,
    ])
    return row
  }
}

async function write(tx: Tx, statement: string, values: readonly unknown[]): Promise<void> {
  const rows = await sqlOf(tx).query(statement, values)
  if (rows.length !== 1) throw new Problem('conflict', 'Another CRL of this authority was begun meanwhile.')
}

function found(columns: Columns): FoundCrl {
  const { number, this_update: thisUpdate, next_update: nextUpdate, count, recent, digest } = columns
  const isIssued = number !== null && thisUpdate !== null && nextUpdate !== null && count !== null && recent !== null && digest !== null
  const record: CrlRecord = {
    authority: columns.authority,
    version: columns.version,
    plannedNumber: columns.planned_number,
    plannedTbsSha256: columns.planned_tbs_sha256,
    ...(isIssued ? { issued: { number, thisUpdate, nextUpdate, count, recent, digest } } : {}),
  }
  return { record, sealed: { row: crlRow(record), mac: columns.mac } }
}

export const crlTable = (sql: Sql): SealedTable =>
  pgSealedTable<Columns>(sql, { name: 'crls', key: [['authority', 'text']], columns: COLUMNS, toRow: (row) => found(row).sealed.row })

import { operationId } from '../../../core/ids.ts'
import type { RowSealer } from '../../../core/row.ts'
import { openRecords } from '../../../core/sealed-records.ts'
import { pgSealedTable } from '../../../core/sealed-table.pg.ts'
import type { SealedTable } from '../../../core/sealed-table.ts'
import type { Sql } from '../../../core/tx.ts'
import { type MinimumIndex, type PruneRecord, pruneRow } from './prune-record.ts'

interface Columns {
  readonly before: string
  readonly operation_id: string
  readonly root: Uint8Array
  readonly heads: Uint8Array
  readonly checkpoint: string
  readonly youngest_at: Date
  readonly pruned_at: Date
  readonly authorisation: string
  readonly mac: Uint8Array
}

const COLUMNS = 'before, operation_id, root, heads, checkpoint, youngest_at, pruned_at, authorisation, mac'
const ALL = `SELECT ${COLUMNS} FROM audit_prunes ORDER BY before DESC`
const NEWEST = `${ALL} LIMIT 1`
const INSERT = `INSERT INTO audit_prunes (${COLUMNS}, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)`

const toRecord = (row: Columns): PruneRecord => ({
  before: Number(row.before),
  operationId: operationId(row.operation_id),
  root: row.root,
  heads: row.heads,
  checkpoint: row.checkpoint,
  youngestAt: row.youngest_at,
  prunedAt: row.pruned_at,
  authorisation: operationId(row.authorisation),
})

/** Records of prunes. Trusted for nothing: each is sealed. */
export class PgPruneStore {
  readonly #sql: Sql
  readonly #sealer: Pick<RowSealer, 'assertRows'>

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: Pick<RowSealer, 'assertRows'> }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  /** The highest first. Throws `integrity-failed` for one that is not the token's. */
  all(): Promise<PruneRecord[]> {
    return this.#open(ALL)
  }

  /** The one that counts. Throws `integrity-failed`. */
  async newest(): Promise<PruneRecord | undefined> {
    return (await this.#open(NEWEST))[0]
  }

  async #open(query: string): Promise<PruneRecord[]> {
    return openRecords(this.#sealer, await this.#sql.query<Columns>(query), toRecord, pruneRow)
  }
}

/** In the owner's transaction. */
export async function insertPrune(sql: Sql, p: PruneRecord, mac: Uint8Array): Promise<void> {
  await sql.query(INSERT, [p.before, p.operationId, p.root, p.heads, p.checkpoint, p.youngestAt, p.prunedAt, p.authorisation, mac])
}

/** The highest first, for who looks at the MACs himself. */
export const storedPrunes = async (sql: Sql): Promise<{ readonly record: PruneRecord; readonly mac: Uint8Array }[]> =>
  (await sql.query<Columns>(ALL)).map((row) => ({ record: toRecord(row), mac: row.mac }))

/** What the database says, of which no MAC is checked. */
export const unverifiedMinimumIndex =
  (sql: Sql): MinimumIndex =>
  async () =>
    Number((await sql.query<{ before: string | null }>('SELECT max(before) AS before FROM audit_prunes'))[0]?.before ?? 0)

export const pruneTable = (sql: Sql): SealedTable =>
  pgSealedTable<Columns>(sql, {
    name: 'audit_prunes',
    key: [['before', 'bigint']],
    columns: COLUMNS,
    toRow: (row) => pruneRow(toRecord(row)),
  })

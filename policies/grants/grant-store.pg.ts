import type { Row, RowSealer } from '../../core/row.ts'
import { assertWritten, openRecords, sealRow } from '../../core/sealed-records.ts'
import { pgSealedTable } from '../../core/sealed-table.pg.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../../core/tx.ts'
import { type Grant, grantRow } from './grant.ts'
import type { GrantStore } from './grant-store.ts'

interface GrantColumns {
  id: string
  reason: string
  callers: string[]
  operations: string[]
  zones: string[]
  networks: string[]
  from_at: Date
  until_at: Date
  issued_by: string
  issued_at: Date
  revoked_by: string | null
  revoked_at: Date | null
  revoked_for: string | null
  version: number
  mac: Uint8Array
}

const COLUMNS = 'id, reason, callers, operations, zones, networks, from_at, until_at, issued_by, issued_at, revoked_by, revoked_at, revoked_for, version, mac'
const SELECT = `SELECT ${COLUMNS} FROM grants`

export class PgGrantStore implements GrantStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async find(id: string): Promise<Grant | undefined> {
    return (await this.#read(`${SELECT} WHERE id = $1`, [id]))[0]
  }

  list({ before, live, limit }: { readonly before?: string; readonly live: boolean; readonly limit: number }): Promise<Grant[]> {
    return this.#read(
      `${SELECT} WHERE ($1::uuid IS NULL OR id < $1) AND (NOT $2::boolean OR (until_at > clock_timestamp() AND revoked_at IS NULL)) ORDER BY id DESC LIMIT $3`,
      [before ?? null, live, limit],
    )
  }

  live(): Promise<Grant[]> {
    return this.#read(
      `${SELECT} WHERE revoked_at IS NULL AND until_at > clock_timestamp() - interval '1 minute' AND from_at < clock_timestamp() + interval '5 minutes' ORDER BY id`,
      [],
    )
  }

  countingAt(at: Date): Promise<Grant[]> {
    return this.#read(`${SELECT} WHERE from_at <= $1 AND until_at > $1 AND (revoked_at IS NULL OR revoked_at > $1) ORDER BY id`, [at])
  }

  async insert(tx: Tx, g: Grant): Promise<Row> {
    const row = grantRow(g)
    await sqlOf(tx).query(
      `INSERT INTO grants (id, reason, callers, operations, zones, networks, from_at, until_at, issued_by, issued_at, version, mac)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
      [
        ...[g.id, g.reason, g.callers, g.operations, g.zones, g.networks, g.from, g.until, g.issuedBy, g.issuedAt],
        ...[g.version, await sealRow(this.#sealer, row)],
      ],
    )
    return row
  }

  async revoke(tx: Tx, g: Grant): Promise<Row> {
    const row = grantRow(g)
    const written = await sqlOf(tx).query(
      `UPDATE grants SET revoked_by = $2, revoked_at = $3, revoked_for = $4, version = $5, mac = $6 WHERE id = $1 AND version = $5 - 1 AND revoked_at IS NULL RETURNING 1`,
      [g.id, g.revoked?.by ?? null, g.revoked?.at ?? null, g.revoked?.reason ?? null, g.version, await sealRow(this.#sealer, row)],
    )
    assertWritten(written, 'grant')
    return row
  }

  async #read(text: string, values: readonly unknown[]): Promise<Grant[]> {
    return openRecords(this.#sealer, await this.#sql.query<GrantColumns>(text, values), toGrant, grantRow)
  }
}

const toGrant = (row: GrantColumns): Grant => ({
  ...{ id: row.id, reason: row.reason, callers: row.callers, operations: row.operations, zones: row.zones, networks: row.networks },
  ...{ from: row.from_at, until: row.until_at, issuedBy: row.issued_by, issuedAt: row.issued_at, version: row.version },
  ...(row.revoked_by === null || row.revoked_at === null ? {} : { revoked: { by: row.revoked_by, at: row.revoked_at, reason: row.revoked_for ?? '' } }),
})

export const grantTable = (sql: Sql): SealedTable =>
  pgSealedTable<GrantColumns>(sql, { name: 'grants', key: [['id', 'uuid']], columns: COLUMNS, toRow: (row) => grantRow(toGrant(row)) })

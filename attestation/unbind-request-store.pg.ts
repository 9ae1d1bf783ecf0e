import type { RowSealer } from '../core/row.ts'
import { pgSealedTable } from '../core/sealed-table.pg.ts'
import type { SealedTable } from '../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../core/tx.ts'
import { assertWritten, openRecords, sealRow } from '../core/sealed-records.ts'
import { type UnbindRequest, unbindRequestRow } from './unbind-request.ts'
import type { UnbindRequestStore } from './unbind-request-store.ts'

interface RequestColumns {
  id: string
  binding_id: string
  reason: string
  salt: Uint8Array
  requested_by: string
  requested_at: Date
  approved_by: string | null
  approved_at: Date | null
  version: number
  mac: Uint8Array
}

const COLUMNS = 'id, binding_id, reason, salt, requested_by, requested_at, approved_by, approved_at, version, mac'

export class PgUnbindRequestStore implements UnbindRequestStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async find(id: string): Promise<UnbindRequest | undefined> {
    const rows = await this.#sql.query<RequestColumns>(`SELECT ${COLUMNS} FROM unbind_requests WHERE id = $1`, [id])
    return (await openRecords(this.#sealer, rows, toRequest, unbindRequestRow))[0]
  }

  async insert(tx: Tx, r: UnbindRequest): Promise<void> {
    await sqlOf(tx).query(
      'INSERT INTO unbind_requests (id, binding_id, reason, salt, requested_by, requested_at, version, mac) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)',
      [...[r.id, r.bindingId, r.reason, r.salt, r.requestedBy, r.requestedAt, r.version, await sealRow(this.#sealer, unbindRequestRow(r))]],
    )
  }

  async update(tx: Tx, r: UnbindRequest): Promise<void> {
    const written = await sqlOf(tx).query(
      'UPDATE unbind_requests SET approved_by = $2, approved_at = $3, version = $4, mac = $5 WHERE id = $1 AND version = $4 - 1 RETURNING 1',
      [r.id, r.approvedBy ?? null, r.approvedAt ?? null, r.version, await sealRow(this.#sealer, unbindRequestRow(r))],
    )
    assertWritten(written, 'request')
  }
}

const toRequest = (row: RequestColumns): UnbindRequest => ({
  id: row.id,
  bindingId: row.binding_id,
  reason: row.reason,
  salt: row.salt,
  requestedBy: row.requested_by,
  requestedAt: row.requested_at,
  ...(row.approved_by === null ? {} : { approvedBy: row.approved_by }),
  ...(row.approved_at === null ? {} : { approvedAt: row.approved_at }),
  version: row.version,
})

export const unbindRequestTable = (sql: Sql): SealedTable =>
  pgSealedTable<RequestColumns>(sql, { name: 'unbind_requests', key: [['id', 'text']], columns: COLUMNS, toRow: (row) => unbindRequestRow(toRequest(row)) })

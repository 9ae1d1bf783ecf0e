import { Problem } from '../core/problem.ts'
import type { RowSealer } from '../core/row.ts'
import { pgSealedTable } from '../core/sealed-table.pg.ts'
import type { SealedTable } from '../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../core/tx.ts'
import { assertWritten, openRecords, sealRow } from '../core/sealed-records.ts'
import { type Vendor, vendorRow } from './vendor.ts'
import type { VendorStore } from './vendor-store.ts'

interface VendorColumns {
  id: string
  name: string
  caller_name: string
  certificate: Uint8Array
  fingerprint: Uint8Array
  first_confirmer: string | null
  second_confirmer: string | null
  registered_by: string
  registered_at: string
  version: number
  mac: Uint8Array
}

const COLUMNS = 'id, name, caller_name, certificate, fingerprint, first_confirmer, second_confirmer, registered_by, registered_at, version, mac'

export class PgVendorStore implements VendorStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async find(id: string): Promise<Vendor | undefined> {
    return (await this.#open(await this.#sql.query<VendorColumns>(`SELECT ${COLUMNS} FROM vendors WHERE id = $1`, [id])))[0]
  }

  async findByCaller(callerName: string): Promise<Vendor | undefined> {
    return (await this.#open(await this.#sql.query<VendorColumns>(`SELECT ${COLUMNS} FROM vendors WHERE caller_name = $1`, [callerName])))[0]
  }

  async list({ after, limit }: { readonly after?: string | undefined; readonly limit: number }): Promise<Vendor[]> {
    return this.#open(
      await this.#sql.query<VendorColumns>(`SELECT ${COLUMNS} FROM vendors WHERE $1::text IS NULL OR id > $1 ORDER BY id LIMIT $2`, [after ?? null, limit]),
    )
  }

  async insert(tx: Tx, vendor: Vendor): Promise<void> {
    const inserted = await sqlOf(tx).query(
      `INSERT INTO vendors (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (caller_name) DO NOTHING RETURNING id`,
      [
        ...[vendor.id, vendor.name, vendor.callerName, vendor.certificate, vendor.fingerprint, vendor.confirmers[0] ?? null, vendor.confirmers[1] ?? null],
        ...[vendor.registeredBy, vendor.registeredAt, vendor.version, await sealRow(this.#sealer, vendorRow(vendor))],
      ],
    )
    if (inserted.length === 0) throw new Problem('conflict', `The caller ${vendor.callerName} is a vendor already.`)
  }

  async update(tx: Tx, vendor: Vendor): Promise<void> {
    const mac = await sealRow(this.#sealer, vendorRow(vendor))
    assertWritten(
      await sqlOf(tx).query(
        'UPDATE vendors SET first_confirmer = $2, second_confirmer = $3, version = $4, mac = $5 WHERE id = $1 AND version = $4 - 1 RETURNING id',
        [vendor.id, vendor.confirmers[0] ?? null, vendor.confirmers[1] ?? null, vendor.version, mac],
      ),
      'vendor',
    )
  }

  #open(rows: readonly VendorColumns[]): Promise<Vendor[]> {
    return openRecords(this.#sealer, rows, toVendor, vendorRow)
  }
}

const toVendor = (row: VendorColumns): Vendor => ({
  id: row.id,
  name: row.name,
  callerName: row.caller_name,
  certificate: row.certificate,
  fingerprint: row.fingerprint,
  confirmers: [row.first_confirmer, row.second_confirmer].filter((urn) => urn !== null),
  registeredBy: row.registered_by,
  registeredAt: row.registered_at,
  version: row.version,
})

export const vendorTable = (sql: Sql): SealedTable =>
  pgSealedTable<VendorColumns>(sql, { name: 'vendors', key: [['id', 'text']], columns: COLUMNS, toRow: (row) => vendorRow(toVendor(row)) })

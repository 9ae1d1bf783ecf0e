import { Problem } from '../core/problem.ts'
import { digestRow, type RowDigest, type RowSealer } from '../core/row.ts'
import { pgSealedTable } from '../core/sealed-table.pg.ts'
import type { SealedTable } from '../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../core/tx.ts'
import { type Delivery, type DeliveryStore, deliveryRow } from './delivery-store.ts'
import { assertWritten, openRecords, sealRow } from '../core/sealed-records.ts'

interface DeliveryColumns {
  order_id: string
  header: string
  body_sha256: Uint8Array
  sealed_at: string
  fetches: number
  version: number
  mac: Uint8Array
}

const COLUMNS = 'order_id, header, body_sha256, sealed_at, fetches, version, mac'
const SELECT = `SELECT ${COLUMNS} FROM deliveries WHERE order_id = $1`

export class PgDeliveryStore implements DeliveryStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  find(orderId: string): Promise<Delivery | undefined> {
    return this.#read(this.#sql, SELECT, orderId)
  }

  async insert(tx: Tx, delivery: Delivery): Promise<RowDigest> {
    const row = deliveryRow(delivery)
    const inserted = await sqlOf(tx).query(
      `INSERT INTO deliveries (order_id, header, body_sha256, sealed_at, fetches, version, mac) VALUES ($1, $2, $3, $4, $5, $6, $7)
       ON CONFLICT (order_id) DO NOTHING RETURNING order_id`,
      [delivery.orderId, delivery.header, delivery.bodySha256, delivery.sealedAt, delivery.fetches, delivery.version, await sealRow(this.#sealer, row)],
    )
    if (inserted.length === 0) throw new Problem('conflict', 'The order has a delivery already: it is not sealed again.')
    return digestRow(row)
  }

  async countFetch(tx: Tx, orderId: string): Promise<RowDigest> {
    const sql = sqlOf(tx)
    const found = await this.#read(sql, `${SELECT} FOR UPDATE`, orderId)
    if (found === undefined) throw new Problem('conflict', 'The order has no delivery.')
    const counted = { ...found, fetches: found.fetches + 1, version: found.version + 1 }
    const row = deliveryRow(counted)
    const values = [orderId, counted.fetches, counted.version, await sealRow(this.#sealer, row)]
    assertWritten(
      await sql.query('UPDATE deliveries SET fetches = $2, version = $3, mac = $4 WHERE order_id = $1 AND version = $3 - 1 RETURNING order_id', values),
      'delivery',
    )
    return digestRow(row)
  }

  async #read(sql: Sql, text: string, orderId: string): Promise<Delivery | undefined> {
    return (await openRecords(this.#sealer, await sql.query<DeliveryColumns>(text, [orderId]), toDelivery, deliveryRow))[0]
  }
}

const toDelivery = (row: DeliveryColumns): Delivery => ({
  orderId: row.order_id,
  header: row.header,
  bodySha256: row.body_sha256,
  sealedAt: row.sealed_at,
  fetches: row.fetches,
  version: row.version,
})

export const deliveryTable = (sql: Sql): SealedTable =>
  pgSealedTable<DeliveryColumns>(sql, { name: 'deliveries', key: [['order_id', 'text']], columns: COLUMNS, toRow: (row) => deliveryRow(toDelivery(row)) })

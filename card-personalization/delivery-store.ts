import type { Row, RowDigest } from '../core/row.ts'
import type { Tx } from '../core/tx.ts'

/** A sealed delivery. The lines of the cards are not kept: they come out of the cards' rows the same each time, which `bodySha256` proves. */
export interface Delivery {
  readonly orderId: string
  /** Line 1 of the file, without its end. */
  readonly header: string
  readonly bodySha256: Uint8Array
  /** RFC 3339. */
  readonly sealedAt: string
  /** How many times the vendor has fetched it. */
  readonly fetches: number
  readonly version: number
}

/** The deliveries. Trusted for nothing: each row is sealed, and one that was edited is refused with `integrity-failed`. */
export interface DeliveryStore {
  find(orderId: string): Promise<Delivery | undefined>
  /** Throws `conflict` when the order has one. */
  insert(tx: Tx, delivery: Delivery): Promise<RowDigest>
  /** Counts one fetch more. It takes the row as it stands now: two fetches at once both count. */
  countFetch(tx: Tx, orderId: string): Promise<RowDigest>
}

/** What of a delivery is sealed. */
export const deliveryRow = (d: Delivery): Row => ({
  table: 'deliveries',
  schema: 1,
  id: d.orderId,
  version: d.version,
  columns: { header: d.header, body_sha256: d.bodySha256, sealed_at: d.sealedAt, fetches: d.fetches },
})

import { regionPrefix } from '../core/card-facts.ts'
import type { KeyId } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import { digestRow, type RowDigest, type RowSealer } from '../core/row.ts'
import { pgSealedTable } from '../core/sealed-table.pg.ts'
import type { SealedTable } from '../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../core/tx.ts'
import { type ChunkState, chunkRow, type Order, type OrderChunk, orderRow } from './order.ts'
import type { OrderedCard } from './order-content.ts'
import type { OrderState } from './order-state.ts'
import type { OrderHalt, OrderStore, Taken } from './order-store.ts'
import { assertWritten, openRecords, sealRow } from '../core/sealed-records.ts'

export interface OrderColumns {
  id: string
  vendor_id: string
  profile: string
  transport_key_id: KeyId
  purchase_order: string | null
  content_digest: Uint8Array
  quantity: number
  region: string | null
  state: OrderState
  submitted_by: string
  submitted_at: string
  decided_by: string | null
  decided_at: string | null
  version: number
  mac: Uint8Array
}

interface ChunkColumns {
  order_id: string
  number: number
  first_position: number
  quantity: number
  digest: Uint8Array
  state: ChunkState
  version: number
  mac: Uint8Array
}

export const ORDER_COLUMNS =
  'id, vendor_id, profile, transport_key_id, purchase_order, content_digest, quantity, region, state, submitted_by, submitted_at, decided_by, decided_at, version, mac'
const CHUNK_COLUMNS = 'order_id, number, first_position, quantity, digest, state, version, mac'
/** ICCIDs in one statement. */
const SLICE = 10_000
const DEADLOCK = '40P01'

export class PgOrderStore implements OrderStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async find(id: string): Promise<Order | undefined> {
    return (await this.#open(await this.#sql.query<OrderColumns>(`SELECT ${ORDER_COLUMNS} FROM orders WHERE id = $1`, [id])))[0]
  }

  async findByPurchaseOrder(vendorId: string, purchaseOrder: string): Promise<Order | undefined> {
    const rows = await this.#sql.query<OrderColumns>(`SELECT ${ORDER_COLUMNS} FROM orders WHERE vendor_id = $1 AND purchase_order = $2`, [
      vendorId,
      purchaseOrder,
    ])
    return (await this.#open(rows))[0]
  }

  async list({ vendorId, region, after, limit }: Parameters<OrderStore['list']>[0]): Promise<Order[]> {
    const rows = await this.#sql.query<OrderColumns>(
      `SELECT ${ORDER_COLUMNS} FROM orders WHERE ($1::text IS NULL OR vendor_id = $1) AND ($2::text IS NULL OR id > $2) AND ($4::text IS NULL OR starts_with(region, $4))
       ORDER BY id LIMIT $3`,
      [vendorId ?? null, after ?? null, limit, region === undefined ? null : regionPrefix(region)],
    )
    return this.#open(rows)
  }

  findTaken(cards: readonly OrderedCard[]): Promise<Taken> {
    return findTaken(this.#sql, cards, '')
  }

  async insert(tx: Tx, order: Order, chunks: readonly OrderChunk[], cards: readonly OrderedCard[]): Promise<Taken> {
    const sql = sqlOf(tx)
    const inserted = await sql.query(
      `INSERT INTO orders (${ORDER_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
       ON CONFLICT (vendor_id, purchase_order) DO NOTHING RETURNING id`,
      [
        ...[order.id, order.vendorId, order.profile, order.transportKeyId, order.purchaseOrder ?? null, order.contentDigest, order.quantity],
        ...[order.region ?? null, order.state, order.submittedBy, order.submittedAt, order.decidedBy ?? null, order.decidedAt ?? null, order.version],
        await sealRow(this.#sealer, orderRow(order)),
      ],
    )
    if (inserted.length === 0) throw new Problem('conflict', 'An order of this purchase order was sent at the same time. Send it again to see which.')
    const macs = await this.#sealer.macRows(chunks.map(chunkRow))
    await sql.query(
      `INSERT INTO order_chunks (order_id, number, first_position, quantity, digest, state, version, mac)
       SELECT $1, c.number, c.first_position, c.quantity, c.digest, 'open', 1, c.mac
       FROM unnest($2::int[], $3::int[], $4::int[], $5::bytea[], $6::bytea[]) AS c (number, first_position, quantity, digest, mac)`,
      [order.id, chunks.map((c) => c.number), chunks.map((c) => c.firstPosition), chunks.map((c) => c.quantity), chunks.map((c) => c.digest), macs],
    )
    const taken = await takeIccids(sql, order.id, cards)
    return taken === cards.length ? { iccids: new Set(), imsis: new Set() } : findTaken(sql, cards, order.id)
  }

  async update(tx: Tx, order: Order): Promise<RowDigest> {
    const row = orderRow(order)
    const values = [order.id, order.state, order.decidedBy ?? null, order.decidedAt ?? null, order.version, await sealRow(this.#sealer, row)]
    const written = await sqlOf(tx).query(
      'UPDATE orders SET state = $2, decided_by = $3, decided_at = $4, version = $5, mac = $6 WHERE id = $1 AND version = $5 - 1 RETURNING id',
      values,
    )
    assertWritten(written, 'order')
    return digestRow(row)
  }

  async findChunk(orderId: string, number: number): Promise<OrderChunk | undefined> {
    const rows = await this.#sql.query<ChunkColumns>(`SELECT ${CHUNK_COLUMNS} FROM order_chunks WHERE order_id = $1 AND number = $2`, [orderId, number])
    return (await openRecords(this.#sealer, rows, toChunk, chunkRow))[0]
  }

  async openChunks(orderId: string, limit: number): Promise<number[]> {
    const rows = await this.#sql.query<{ number: number }>(
      `SELECT number FROM order_chunks WHERE order_id = $1 AND state <> 'filled' ORDER BY number LIMIT $2`,
      [orderId, limit],
    )
    return rows.map((row) => row.number)
  }

  cardsOf(chunk: OrderChunk): Promise<OrderedCard[]> {
    return this.#sql.query<OrderedCard>('SELECT iccid, imsi FROM iccids WHERE order_id = $1 AND position >= $2 AND position < $3 ORDER BY position', [
      ...[chunk.orderId, chunk.firstPosition, chunk.firstPosition + chunk.quantity],
    ])
  }

  async updateChunk(tx: Tx, chunk: OrderChunk): Promise<RowDigest> {
    const row = chunkRow(chunk)
    const written = await sqlOf(tx).query(
      'UPDATE order_chunks SET state = $3, version = $4, mac = $5 WHERE order_id = $1 AND number = $2 AND version = $4 - 1 RETURNING number',
      [chunk.orderId, chunk.number, chunk.state, chunk.version, await sealRow(this.#sealer, row)],
    )
    assertWritten(written, 'chunk')
    return digestRow(row)
  }

  async countFilled(orderIds: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const rows = await this.#sql.query<{ order_id: string; filled: number }>(
      `SELECT order_id, sum(quantity)::int AS filled FROM order_chunks WHERE order_id = ANY($1) AND state = 'filled' GROUP BY order_id`,
      [orderIds],
    )
    return new Map(rows.map((row) => [row.order_id, row.filled]))
  }

  async nextToFill(): Promise<string | undefined> {
    const [row] = await this.#sql.query<{ id: string }>(
      `SELECT id FROM orders o WHERE state IN ('approved', 'generating') AND NOT EXISTS (SELECT FROM order_halts h WHERE h.order_id = o.id) ORDER BY id LIMIT 1`,
    )
    return row?.id
  }

  async findHalt(orderId: string): Promise<OrderHalt | undefined> {
    const [row] = await this.#sql.query<{ code: string; detail: string; halted_at: string }>(
      'SELECT code, detail, halted_at FROM order_halts WHERE order_id = $1',
      [orderId],
    )
    return row && { code: row.code, detail: row.detail, haltedAt: row.halted_at }
  }

  async halt(tx: Tx, orderId: string, halt: OrderHalt): Promise<void> {
    await sqlOf(tx).query('INSERT INTO order_halts (order_id, code, detail, halted_at) VALUES ($1, $2, $3, $4) ON CONFLICT (order_id) DO NOTHING', [
      ...[orderId, halt.code, halt.detail, halt.haltedAt],
    ])
  }

  async resume(tx: Tx, orderId: string): Promise<void> {
    assertWritten(await sqlOf(tx).query('DELETE FROM order_halts WHERE order_id = $1 RETURNING order_id', [orderId]), 'halt')
  }

  #open(rows: readonly OrderColumns[]): Promise<Order[]> {
    return openRecords(this.#sealer, rows, toOrder, orderRow)
  }
}

/** How many were taken. In the order of the ICCIDs, so that two orders that overlap wait for each other in one direction. */
async function takeIccids(sql: Sql, orderId: string, cards: readonly OrderedCard[]): Promise<number> {
  const sorted = cards.map((card, position) => ({ ...card, position })).sort((a, b) => (a.iccid < b.iccid ? -1 : 1))
  let taken = 0
  try {
    for (let at = 0; at < sorted.length; at += SLICE) {
      const slice = sorted.slice(at, at + SLICE)
      const rows = await sql.query(
        `INSERT INTO iccids (iccid, imsi, order_id, position)
         SELECT c.iccid, c.imsi, $1, c.position FROM unnest($2::text[], $3::text[], $4::int[]) WITH ORDINALITY AS c (iccid, imsi, position, n) ORDER BY c.n
         ON CONFLICT DO NOTHING RETURNING position`,
        [orderId, slice.map((c) => c.iccid), slice.map((c) => c.imsi), slice.map((c) => c.position)],
      )
      taken += rows.length
    }
  } catch (error) {
    if ((error as { readonly code?: unknown }).code !== DEADLOCK) throw error
    throw new Problem('conflict', 'Another order that overlaps this one was taken at the same time. Send it again.', { cause: error })
  }
  return taken
}

async function findTaken(sql: Sql, cards: readonly OrderedCard[], except: string): Promise<Taken> {
  const taken = { iccids: new Set<string>(), imsis: new Set<string>() }
  for (let at = 0; at < cards.length; at += SLICE) {
    const slice = cards.slice(at, at + SLICE)
    const [iccids, imsis] = [slice.map((card) => card.iccid), slice.map((card) => card.imsi)]
    for (const row of await sql.query<{ iccid: string }>('SELECT iccid FROM iccids WHERE iccid = ANY($1) AND order_id <> $2', [iccids, except]))
      taken.iccids.add(row.iccid)
    for (const row of await sql.query<{ imsi: string }>('SELECT imsi FROM iccids WHERE imsi = ANY($1) AND order_id <> $2', [imsis, except]))
      taken.imsis.add(row.imsi)
  }
  return taken
}

export const toOrder = (row: OrderColumns): Order => ({
  id: row.id,
  vendorId: row.vendor_id,
  profile: row.profile,
  transportKeyId: row.transport_key_id,
  purchaseOrder: row.purchase_order ?? undefined,
  contentDigest: row.content_digest,
  quantity: row.quantity,
  region: row.region ?? undefined,
  state: row.state,
  submittedBy: row.submitted_by,
  submittedAt: row.submitted_at,
  decidedBy: row.decided_by ?? undefined,
  decidedAt: row.decided_at ?? undefined,
  version: row.version,
})

const toChunk = (row: ChunkColumns): OrderChunk => ({
  orderId: row.order_id,
  number: row.number,
  firstPosition: row.first_position,
  quantity: row.quantity,
  digest: row.digest,
  state: row.state,
  version: row.version,
})

export const orderTables = (sql: Sql): readonly SealedTable[] => [
  pgSealedTable<OrderColumns>(sql, { name: 'orders', key: [['id', 'text']], columns: ORDER_COLUMNS, toRow: (row) => orderRow(toOrder(row)) }),
  pgSealedTable<ChunkColumns>(sql, {
    name: 'order_chunks',
    key: [
      ['order_id', 'text'],
      ['number', 'int'],
    ],
    columns: CHUNK_COLUMNS,
    keyOf: ({ id }) => id.split('/'),
    toRow: (row) => chunkRow(toChunk(row)),
  }),
]

import { batched } from '../core/batch.ts'
import type { KeyId } from '../core/ids.ts'
import { anyOf } from '../core/kept-plan.pg.ts'
import { Problem } from '../core/problem.ts'
import type { RowSealer } from '../core/row.ts'
import { pgSealedTable } from '../core/sealed-table.pg.ts'
import type { SealedTable } from '../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../core/tx.ts'
import { type Card, cardRow } from './card.ts'
import type { CardPage, CardStore, FoundCard } from './card-store.ts'
import { type Order, orderRow } from './order.ts'
import { ORDER_COLUMNS, type OrderColumns, toOrder } from './order-store.pg.ts'
import { openRecords } from '../core/sealed-records.ts'

interface CardColumns {
  id: KeyId
  order_id: string
  position: number
  iccid: string
  imsi: string
  profile: string
  master_id: KeyId
  state: 'keyed'
  keys: Uint8Array
  delivery_mac: Uint8Array
  wrapped: Uint8Array
  public_key: Uint8Array | null
  version: number
  mac: Uint8Array
}

const COLUMNS = 'id, order_id, position, iccid, imsi, profile, master_id, state, keys, delivery_mac, wrapped, public_key, version, mac'

/** Each card beside its order, whose columns are named `of_...`. */
const SELECT_WITH_ORDER = `SELECT ${COLUMNS.replace(/\w+/g, 'c.$&')}, ${ORDER_COLUMNS.replace(/\w+/g, 'o.$& AS of_$&')} FROM cards c JOIN orders o ON o.id = c.order_id`
type CardWithOrder = CardColumns & { readonly [Name in keyof OrderColumns as `of_${Name}`]: OrderColumns[Name] }

export class PgCardStore implements CardStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer
  readonly findByIccid: CardStore['findByIccid']
  readonly findById: CardStore['findById']

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
    this.findByIccid = batched(async (iccids: string[]) => {
      const rows = await sql.query<CardWithOrder>(`${SELECT_WITH_ORDER} WHERE c.iccid = ${anyOf('text')}`, [iccids])
      return new Map(foundAll(rows).map((one) => [one.card.iccid, one]))
    })
    this.findById = batched(async (ids: string[]) => {
      const rows = await sql.query<CardWithOrder>(`${SELECT_WITH_ORDER} WHERE c.id = ${anyOf('text')}`, [ids])
      return new Map(foundAll(rows).map((one) => [one.card.id, one]))
    })
  }

  async insert(tx: Tx, cards: readonly Card[], macs: readonly Uint8Array[]): Promise<void> {
    const inserted = await sqlOf(tx).query(
      `INSERT INTO cards (id, order_id, position, iccid, imsi, profile, master_id, state, keys, delivery_mac, wrapped, public_key, version, mac)
       SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[], $10::bytea[], $11::bytea[],
         $12::bytea[], $13::int[], $14::bytea[])
       ON CONFLICT DO NOTHING RETURNING 1`,
      [
        ...[cards.map((c) => c.id), cards.map((c) => c.orderId), cards.map((c) => c.position), cards.map((c) => c.iccid), cards.map((c) => c.imsi)],
        ...[cards.map((c) => c.profile), cards.map((c) => c.masterId), cards.map((c) => c.state), cards.map((c) => c.keys), cards.map((c) => c.deliveryMac)],
        ...[cards.map((c) => c.wrapped), cards.map((c) => c.publicKey ?? null), cards.map((c) => c.version), macs],
      ],
    )
    if (inserted.length !== cards.length) throw new Problem('conflict', 'A card of this chunk has keys already: they are not made again.')
  }

  async list(orderId: string, page: CardPage): Promise<Card[]> {
    return openRecords(this.#sealer, await this.#read(orderId, page), toCard, cardRow)
  }

  async listUnchecked(orderId: string, page: CardPage): Promise<Card[]> {
    return (await this.#read(orderId, page)).map(toCard)
  }

  #read(orderId: string, { from, limit }: CardPage): Promise<CardColumns[]> {
    return this.#sql.query<CardColumns>(
      `SELECT ${COLUMNS}
       FROM cards WHERE order_id = $1 AND position >= $2 AND position < $3 ORDER BY position`,
      [orderId, from, from + limit],
    )
  }
}

const toCard = (row: CardColumns): Card => ({
  id: row.id,
  orderId: row.order_id,
  position: row.position,
  iccid: row.iccid,
  imsi: row.imsi,
  profile: row.profile,
  masterId: row.master_id,
  state: row.state,
  keys: row.keys,
  deliveryMac: row.delivery_mac,
  wrapped: row.wrapped,
  publicKey: row.public_key ?? undefined,
  version: row.version,
})

/** What one statement read: cards of one order share it, which is made and encoded once. */
function foundAll(rows: readonly CardWithOrder[]): FoundCard[] {
  const orders = new Map<string, Pick<FoundCard, 'order' | 'sealedOrder'>>()
  return rows.map((row) => {
    const card = toCard(row)
    const shared = orders.get(row.order_id) ?? orderOf(row)
    orders.set(row.order_id, shared)
    return { card, sealed: { row: cardRow(card), mac: row.mac }, ...shared }
  })
}

function orderOf(row: CardWithOrder): Pick<FoundCard, 'order' | 'sealedOrder'> {
  const order: Order = toOrder({
    ...{ id: row.of_id, vendor_id: row.of_vendor_id, profile: row.of_profile, transport_key_id: row.of_transport_key_id },
    ...{ purchase_order: row.of_purchase_order, content_digest: row.of_content_digest, quantity: row.of_quantity, region: row.of_region },
    ...{ state: row.of_state, submitted_by: row.of_submitted_by, submitted_at: row.of_submitted_at, decided_by: row.of_decided_by },
    ...{ decided_at: row.of_decided_at, version: row.of_version, mac: row.of_mac },
  })
  return { order, sealedOrder: { row: orderRow(order), mac: row.of_mac } }
}

export const cardTable = (sql: Sql): SealedTable =>
  pgSealedTable<CardColumns>(sql, { name: 'cards', key: [['id', 'text']], columns: COLUMNS, holdsKeys: true, toRow: (row) => cardRow(toCard(row)) })

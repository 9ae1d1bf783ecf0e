import { equalBytes } from '../core/bytes.ts'
import type { Row } from '../core/row.ts'
import type { DependentRows } from '../core/sealed-table.ts'
import type { Sql } from '../core/tx.ts'
import { digestCards, type OrderedCard } from './order-content.ts'

interface Listed extends OrderedCard {
  readonly order_id: string
  readonly position: number
}

/** By a join: no list of positions is compared with each row. */
const OF_CHUNKS = `SELECT i.order_id, i.position, i.iccid, i.imsi FROM unnest($1::text[], $2::int[], $3::int[]) AS c (order_id, first, quantity)
  JOIN iccids i ON i.order_id = c.order_id AND i.position >= c.first AND i.position < c.first + c.quantity ORDER BY i.order_id, i.position`
const STRAYS = `SELECT i.iccid, i.order_id FROM iccids i
  LEFT JOIN order_chunks c ON c.order_id = i.order_id AND i.position >= c.first_position AND i.position < c.first_position + c.quantity
  WHERE c.order_id IS NULL LIMIT 100`

/** The ICCIDs and IMSIs that were ever ordered, in the table `iccids`: each chunk's row holds the digest over its own. */
export const orderedIccids = (sql: Sql): DependentRows => ({
  table: 'order_chunks',
  check: async (rows) => {
    const chunks = rows.map(chunkIn)
    const listed = await sql.query<Listed>(OF_CHUNKS, [
      chunks.map(({ orderId }) => orderId),
      chunks.map(({ first }) => first),
      chunks.map(({ quantity }) => quantity),
    ])
    const byOrder = new Map<string, Listed[]>()
    for (const row of listed) {
      const known = byOrder.get(row.order_id)
      if (known === undefined) byOrder.set(row.order_id, [row])
      else known.push(row)
    }
    return chunks.flatMap(({ id, orderId, first, quantity, digest }) => {
      const cards = (byOrder.get(orderId) ?? []).filter(({ position }) => position >= first && position < first + quantity)
      if (cards.length === quantity && equalBytes(digestCards(cards), digest)) return []
      const detail = cards.length === quantity ? 'an ICCID or IMSI was changed' : `${cards.length} of ${quantity} ICCIDs are there`
      return [{ id, detail: `of iccids, positions ${first} to ${first + quantity - 1}: ${detail}` }]
    })
  },
  strays: async () =>
    (await sql.query<{ iccid: string; order_id: string }>(STRAYS)).map(({ order_id: orderId }) => ({
      id: orderId,
      detail: 'a row of iccids belongs to no chunk of its order: it keeps an ICCID from being ordered',
    })),
})

const chunkIn = ({ id, columns }: Row): { id: string; orderId: string; first: number; quantity: number; digest: Uint8Array } => ({
  ...{ id, orderId: id.slice(0, id.lastIndexOf('/')) },
  ...{ first: Number(columns['first_position']), quantity: Number(columns['quantity']), digest: columns['digest'] as Uint8Array },
})

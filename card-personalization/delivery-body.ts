import { equalBytes, utf8 } from '../core/bytes.ts'
import { Problem } from '../core/problem.ts'
import type { Card } from './card.ts'
import type { CardStore } from './card-store.ts'
import { encodeDeliveryLine } from './delivery.ts'
import { decodeCardKeys } from './delivery-row.ts'
import type { Order } from './order.ts'
import { CHUNK_CARDS, digestCards, digestOrder } from './order-content.ts'

interface BodyPart {
  readonly cards: readonly Card[]
  readonly bytes: Uint8Array
}

/** The certificates of these cards, DER, by card id. Throws `integrity-failed` where one is missing. */
export type CertificatesOf = (cardIds: readonly string[]) => Promise<ReadonlyMap<string, Uint8Array>>

/**
 * What follows line 1 of an order's delivery, a chunk of cards at a time, out of the cards' rows: the same bytes each time. That they are the ordered
 * cards, all of them and in their order, is checked: throws `integrity-failed` at the chunk that is not, or at the end. `list` says whether each row's MAC is
 * checked too, as it must be where nothing else is compared.
 */
export async function* readDeliveryBody(list: CardStore['list'], order: Order, certificatesOf: CertificatesOf): AsyncGenerator<BodyPart> {
  const chunks: Uint8Array[] = []
  for (let from = 0; from < order.quantity; from += CHUNK_CARDS) {
    const page = await list(order.id, { from, limit: CHUNK_CARDS })
    if (page.length !== Math.min(CHUNK_CARDS, order.quantity - from)) throw broken(order)
    chunks.push(digestCards(page))
    const certificates = await certificatesOf(page.filter(({ publicKey }) => publicKey !== undefined).map(({ id }) => id))
    const lines = page.map((card) =>
      encodeDeliveryLine({ ...card, keys: decodeCardKeys(card.keys), mac: card.deliveryMac, certificate: certificates.get(card.id) }),
    )
    yield { cards: page, bytes: utf8(lines.join('')) }
  }
  if (!equalBytes(digestOrder({ ...order, chunks }), order.contentDigest)) throw broken(order)
}

const broken = (order: Order): Problem => new Problem('integrity-failed', `The cards of order ${order.id} are not those that were ordered.`)

import type { SealedRow } from '../core/row.ts'
import type { Tx } from '../core/tx.ts'
import type { Card } from './card.ts'
import type { Order } from './order.ts'

/** The cards whose keys stand. Trusted for nothing: each row is sealed, and one that was edited is refused with `integrity-failed`. */
export interface CardStore {
  /** All of a chunk in one statement; `macs` are the rows' seals. Throws `conflict` when one of the cards has keys already. */
  insert(tx: Tx, cards: readonly Card[], macs: readonly Uint8Array[]): Promise<void>
  /** Cards of an order in their order, from the position `from`, at most `limit`. */
  list(orderId: string, page: CardPage): Promise<Card[]>
  /** MACs are not checked here: the lane that uses the Ki does, or who relies on the rows. Reads of one turn of the event loop share one statement. */
  findByIccid(iccid: string): Promise<FoundCard | undefined>
  /** The same by the card's id. */
  findById(id: string): Promise<FoundCard | undefined>
  /** The same without looking at the MACs: for who compares all of it with a digest that is sealed. */
  listUnchecked(orderId: string, page: CardPage): Promise<Card[]>
}

export interface FoundCard {
  readonly card: Card
  readonly sealed: SealedRow
  readonly order: Order
  readonly sealedOrder: SealedRow
}

export interface CardPage {
  readonly from: number
  readonly limit: number
}

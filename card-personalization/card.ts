import type { KeyId } from '../core/ids.ts'
import type { Row } from '../core/row.ts'

/** A card whose keys stand. The row is its Ki's row too: the card's id is the id of that key. */
export interface Card {
  readonly id: KeyId
  readonly orderId: string
  /** From 0, in the order of the order. */
  readonly position: number
  readonly iccid: string
  readonly imsi: string
  readonly profile: string
  /** The master that its derived keys come from. */
  readonly masterId: KeyId
  readonly state: 'keyed'
  /** The delivered keys by {@link encodeCardKeys}. */
  readonly keys: Uint8Array
  /** AES-CMAC by the vendor's row-MAC key over the delivery row. */
  readonly deliveryMac: Uint8Array
  /** Ki by AES-KWP under the storage KEK. */
  readonly wrapped: Uint8Array
  /** SPKI DER of the card's signing key, where its profile has one. */
  readonly publicKey: Uint8Array | undefined
  readonly version: number
}

/** What of a card is sealed: everything. `algorithm` and `wrapped` make it a `StoredKey`. */
export const cardRow = (card: Card): Row => ({
  table: 'cards',
  schema: 2,
  id: card.id,
  version: card.version,
  columns: {
    order_id: card.orderId,
    position: card.position,
    iccid: card.iccid,
    imsi: card.imsi,
    profile: card.profile,
    master_id: card.masterId,
    state: card.state,
    keys: card.keys,
    delivery_mac: card.deliveryMac,
    algorithm: 'aes-128',
    wrapped: card.wrapped,
    public_key: card.publicKey,
  },
})

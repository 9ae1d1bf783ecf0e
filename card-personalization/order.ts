import type { CardFacts, CardState } from '../core/card-facts.ts'
import type { KeyId } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import type { Row } from '../core/row.ts'
import { canMove, type OrderState } from './order-state.ts'

/** An order of cards. */
export interface Order {
  readonly id: string
  readonly vendorId: string
  readonly profile: string
  readonly transportKeyId: KeyId
  /** The vendor's own number of it; unique for the vendor where it has one. */
  readonly purchaseOrder: string | undefined
  /** SHA-256 over what is ordered: see `digestOrder`. */
  readonly contentDigest: Uint8Array
  readonly quantity: number
  /** Where its cards belong: see core/card-facts.ts. */
  readonly region: string | undefined
  readonly state: OrderState
  readonly submittedBy: string
  /** RFC 3339. */
  readonly submittedAt: string
  /** URN of who approved or cancelled it. */
  readonly decidedBy: string | undefined
  readonly decidedAt: string | undefined
  readonly version: number
}

/** open: no keys. keyed: keys, and certificates are still to come. filled: all that the profile asks for. */
export type ChunkState = 'open' | 'keyed' | 'filled'

/** At most 500 cards that are filled together. */
export interface OrderChunk {
  readonly orderId: string
  /** From 0. */
  readonly number: number
  readonly firstPosition: number
  readonly quantity: number
  /** SHA-256 over its ICCIDs and IMSIs: see `digestCards`. */
  readonly digest: Uint8Array
  readonly state: ChunkState
  readonly version: number
}

/** What of an order is sealed. One without a region has the form that all had before there were regions. */
export const orderRow = (o: Order): Row => ({
  table: 'orders',
  schema: o.region === undefined ? 1 : 2,
  id: o.id,
  version: o.version,
  columns: {
    vendor_id: o.vendorId,
    profile: o.profile,
    transport_key_id: o.transportKeyId,
    purchase_order: o.purchaseOrder,
    content_digest: o.contentDigest,
    quantity: o.quantity,
    region: o.region,
    state: o.state,
    submitted_by: o.submittedBy,
    submitted_at: o.submittedAt,
    decided_by: o.decidedBy,
    decided_at: o.decidedAt,
  },
})

export const chunkRow = (c: OrderChunk): Row => ({
  table: 'order_chunks',
  schema: 1,
  id: `${c.orderId}/${c.number}`,
  version: c.version,
  columns: { first_position: c.firstPosition, quantity: c.quantity, digest: c.digest, state: c.state },
})

/** The chunk in its next state. */
export const moveChunk = (chunk: OrderChunk, state: ChunkState): OrderChunk => ({ ...chunk, state, version: chunk.version + 1 })

/** The order in its next state. */
export const moveOrder = (order: Order, state: OrderState, by: Partial<Pick<Order, 'decidedBy' | 'decidedAt'>> = {}): Order => ({
  ...order,
  ...by,
  state,
  version: order.version + 1,
})

/** Why the order cannot go into `state` now; undefined where it can. */
export const moveFault = (order: Order, state: OrderState): Problem | undefined =>
  canMove(order.state, state) ? undefined : new Problem('conflict', `The order is ${order.state}; from there it does not become ${state}.`)

/** What policies see of the cards of an order: the state that all of them have reached. */
export const orderedCards = ({ region, state }: Pick<Order, 'region' | 'state'>): CardFacts => ({ ...regionOf(region), cardState: REACHED[state] })

/** What policies see of a card of the order whose keys stand. */
export const keyedCard = ({ region, state }: Pick<Order, 'region' | 'state'>): CardFacts => ({
  ...regionOf(region),
  cardState: state === 'delivered' ? 'delivered' : 'keyed',
})

const REACHED: Readonly<Record<OrderState, CardState>> = {
  validated: 'reserved',
  approved: 'reserved',
  generating: 'reserved',
  ready: 'keyed',
  delivered: 'delivered',
  cancelled: 'cancelled',
}
const regionOf = (region: string | undefined): Pick<CardFacts, 'region'> => (region === undefined ? {} : { region })

export const NO_ORDER = 'There is no order of that id here.'

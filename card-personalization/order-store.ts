import type { RowDigest } from '../core/row.ts'
import type { Tx } from '../core/tx.ts'
import type { Order, OrderChunk } from './order.ts'
import type { OrderedCard } from './order-content.ts'

/** Why the fill job left an order alone. */
export interface OrderHalt {
  readonly code: string
  readonly detail: string
  /** RFC 3339. */
  readonly haltedAt: string
}

/**
 * Orders, their chunks and the ICCIDs they took. Orders and chunks are trusted for nothing: each row is sealed, and one that was edited is refused with
 * `integrity-failed`; ICCIDs and IMSIs are sealed by their chunk's digest, which the reader compares. Reads see what is committed.
 */
export interface OrderStore {
  find(id: string): Promise<Order | undefined>
  findByPurchaseOrder(vendorId: string, purchaseOrder: string): Promise<Order | undefined>
  /** In the order of their ids (of their making), after the order `after`. `region`: those of it and of all regions in it. */
  list(page: {
    readonly vendorId?: string | undefined
    readonly region?: string | undefined
    readonly after?: string | undefined
    readonly limit: number
  }): Promise<Order[]>
  /** Which of these cards have an ICCID or an IMSI that was ordered before. */
  findTaken(cards: readonly OrderedCard[]): Promise<Taken>
  /**
   * The order, its chunks, and its ICCIDs and IMSIs, taken for ever. Answers what was taken by others since: then the transaction must not commit.
   * Throws `conflict` when the vendor has an order of that purchase order.
   */
  insert(tx: Tx, order: Order, chunks: readonly OrderChunk[], cards: readonly OrderedCard[]): Promise<Taken>
  /** Replaces version - 1. Throws `conflict` when that is not what stands. */
  update(tx: Tx, order: Order): Promise<RowDigest>

  findChunk(orderId: string, number: number): Promise<OrderChunk | undefined>
  /** Numbers of chunks that are not filled (open or keyed), the first ones. */
  openChunks(orderId: string, limit: number): Promise<number[]>
  /** The ordered cards of a chunk, in their order. The caller compares their digest with the chunk's. */
  cardsOf(chunk: OrderChunk): Promise<OrderedCard[]>
  /** Replaces version - 1. Throws `conflict` when that is not what stands. */
  updateChunk(tx: Tx, chunk: OrderChunk): Promise<RowDigest>
  /** How many cards of each order stand filled. */
  countFilled(orderIds: readonly string[]): Promise<ReadonlyMap<string, number>>

  /** The oldest order that is approved or generating and not halted: its id. */
  nextToFill(): Promise<string | undefined>
  findHalt(orderId: string): Promise<OrderHalt | undefined>
  halt(tx: Tx, orderId: string, halt: OrderHalt): Promise<void>
  resume(tx: Tx, orderId: string): Promise<void>
}

export interface Taken {
  readonly iccids: ReadonlySet<string>
  readonly imsis: ReadonlySet<string>
}

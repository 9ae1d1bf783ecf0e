/** Every state of an order, and the moves out of it: one table. What is not here is refused. */
export const ORDER_MOVES = {
  /** Checked, its ICCIDs reserved; waits for an officer. */
  'validated': ['approved', 'cancelled'],
  /** An officer approved; waits for the fill job. */
  'approved': ['generating'],
  /** Chunks are being filled. */
  'generating': ['ready'],
  /** The delivery is sealed; nobody has fetched it. */
  'ready': ['delivered'],
  /** The vendor has fetched it once at least. */
  'delivered': [],
  /** Never filled. Its ICCIDs stay taken. */
  'cancelled': [],
} as const satisfies Record<string, readonly string[]>

export type OrderState = keyof typeof ORDER_MOVES
export const ORDER_STATES = Object.keys(ORDER_MOVES) as readonly OrderState[]

export const canMove = (from: OrderState, to: OrderState): boolean => (ORDER_MOVES[from] as readonly string[]).includes(to)

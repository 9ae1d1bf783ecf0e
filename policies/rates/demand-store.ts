/** What a node asks of a rate. */
export interface Demand {
  readonly key: string
  /** Requests in a time that is the same for all nodes. */
  readonly amount: number
}

/**
 * What each node asks of which rate, so that nodes can share them. Not trusted, and not sealed: who edits it can take from a node what is another's, and no more than
 * each node's own bucket allows is ever granted.
 */
export interface DemandStore {
  /** Says what this node asks for, and answers what all others did in the last seconds, of the same keys. */
  exchange(node: string, demands: readonly Demand[]): Promise<readonly Demand[]>
  /** Forgets a node that ends. */
  leave(node: string): Promise<void>
}

import type { Row } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { Activation } from './activation.ts'

/** What a node needs to know to renew its lease. */
export interface Standing {
  /** Number and version of the latest activation; undefined before the first. */
  readonly latest: { readonly number: number; readonly version: number } | undefined
  /** The database's clock. */
  readonly now: Date
}

/** How often a rule decided. */
export interface RuleHits {
  readonly revision: string
  readonly rule: string
  readonly hits: number
  readonly firstAt: Date
  readonly lastAt: Date
}

/** A node, what it runs and when it last renewed its lease. */
export interface PolicyNode {
  readonly node: string
  readonly number: number
  readonly renewedAt: Date
}

/**
 * The activations. Trusted for nothing: rows are sealed, and texts checked against their digests; an edited one is refused with `integrity-failed`.
 * Reads see what is committed.
 */
export interface ActivationStore {
  /** Says at the same time that the node is there and what it runs. */
  renew(node: string, number: number): Promise<Standing>
  find(number: number): Promise<Activation | undefined>
  latest(): Promise<Activation | undefined>
  /** The last one of a revision: its text is that of all of them. */
  findRevision(revision: string): Promise<Activation | undefined>
  /** The newest first, texts and all. */
  list(page: { readonly before?: number; readonly limit: number }): Promise<Activation[]>
  /** Throws `conflict` where the number is taken. */
  insert(tx: Tx, activation: Activation): Promise<Row>
  /** Of a trial: state and who ended it. Throws `conflict` where version - 1 is not what stands. */
  end(tx: Tx, activation: Activation): Promise<Row>
  nodes(): Promise<PolicyNode[]>
  /** Forgets a node that ends. */
  leave(node: string): Promise<void>
  addHits(hits: readonly RuleHits[]): Promise<void>
  hits(revision: string): Promise<RuleHits[]>
}

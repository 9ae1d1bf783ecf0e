import type { Tx } from '../core/tx.ts'
import type { Binding, BindingConflict, Pair } from './binding.ts'

/** One of the three names that a binding is found by. */
export type BindingName = { readonly iccid: string } | { readonly imei: string } | { readonly udid: string }

/**
 * Bindings, those that ended too, and what contradicted them. Trusted for nothing: each row is sealed, and one that was edited is refused with `integrity-failed`.
 * Reads see what is committed. The exclusion constraints of the table hold against every writer.
 */
export interface BindingStore {
  find(id: string): Promise<Binding | undefined>
  /** The one that stood at that time. */
  findAt(name: BindingName, at: Date): Promise<Binding | undefined>
  /** All there ever were, the oldest first; at most 1,000. */
  history(name: BindingName): Promise<Binding[]>
  /** Those that stand and have the card, the IMEI or the UDID: three at most. */
  touching(pair: Pair): Promise<Binding[]>
  /** The same for many, in their order, by one statement. */
  touchingEach(pairs: readonly Pair[]): Promise<Binding[][]>
  /** Throws `conflict` when one stands for its card or its device. */
  insert(tx: Tx, binding: Binding): Promise<void>
  /** Replaces version - 1. Throws `conflict` when that is not what stands. */
  update(tx: Tx, binding: Binding): Promise<void>
  insertConflict(tx: Tx, conflict: BindingConflict): Promise<void>
}

import type { Tx } from '../../core/tx.ts'
import type { Rotation } from './rotation.ts'

/** Rotations of root keys. Trusted for nothing: each row is sealed, and one that was edited is refused with `integrity-failed`. Reads see what is committed. */
export interface RotationStore {
  find(id: string): Promise<Rotation | undefined>
  /** The one that is neither retired nor cancelled: there is one at most. */
  findOpen(): Promise<Rotation | undefined>
  /** The newest first, before the rotation `before`. */
  list(page: { readonly before?: string; readonly limit: number }): Promise<Rotation[]>
  /** Throws `conflict` while another one is open. */
  insert(tx: Tx, rotation: Rotation): Promise<void>
  /** Replaces version - 1. Throws `conflict` when that is not what stands. */
  update(tx: Tx, rotation: Rotation): Promise<void>
}

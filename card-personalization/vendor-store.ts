import type { Tx } from '../core/tx.ts'
import type { Vendor } from './vendor.ts'

/** The vendors. Trusted for nothing: each row is sealed, and one that was edited is refused with `integrity-failed`. Reads see what is committed. */
export interface VendorStore {
  find(id: string): Promise<Vendor | undefined>
  findByCaller(callerName: string): Promise<Vendor | undefined>
  /** In the order of their ids (of their making), after the vendor `after`. */
  list(page: { readonly after?: string | undefined; readonly limit: number }): Promise<Vendor[]>
  /** Throws `conflict` when the caller is a vendor already. */
  insert(tx: Tx, vendor: Vendor): Promise<void>
  /** Replaces version - 1. Throws `conflict` when that is not what stands. */
  update(tx: Tx, vendor: Vendor): Promise<void>
}

import type { Row } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { Grant } from './grant.ts'

/** Grants. Trusted for nothing: each row is sealed, and one that was edited is refused with `integrity-failed`. None is deleted. Reads see what is committed. */
export interface GrantStore {
  find(id: string): Promise<Grant | undefined>
  /** The newest first, before `before` (an id). `live`: only those that count now or later, by the database's clock. */
  list(page: { readonly before?: string; readonly live: boolean; readonly limit: number }): Promise<Grant[]>
  /** All that count now or within the next minutes, by the database's clock and some seconds more, so that clocks may differ. */
  live(): Promise<Grant[]>
  /** All that count, or counted, at that moment. */
  countingAt(at: Date): Promise<Grant[]>
  insert(tx: Tx, grant: Grant): Promise<Row>
  /** Revokes it. Throws `conflict` where version - 1 is not what stands. */
  revoke(tx: Tx, grant: Grant): Promise<Row>
}

import type { Row } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { QuotaClaim } from '../firewall/decide.ts'
import type { QuotaUse } from './quota.ts'

/**
 * What quotas have used up. Rows are sealed: an edited one is refused with `integrity-failed`. Transactions of all nodes take from a quota one after another, so that
 * what is given out never exceeds it.
 */
export interface QuotaStore {
  /** Undefined before its first use. */
  find(key: string, period: string): Promise<QuotaUse | undefined>
  /** Takes `amount`, or where there is less the rest, if that is at least `least`. Answers how much, and the row; throws `quota-exceeded`. */
  take(tx: Tx, claim: QuotaClaim, least?: number): Promise<{ readonly taken: number; readonly row: Row }>
}

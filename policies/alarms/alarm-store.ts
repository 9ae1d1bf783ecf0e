import type { Row } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { Alarm } from './alarm.ts'

/** Alarms of the whole site. Rows are sealed: an edited one is refused with `integrity-failed`. Of two nodes that raise one kind at once, one does. */
export interface AlarmStore {
  find(id: string): Promise<Alarm | undefined>
  /** Those that are not cleared. */
  open(): Promise<Alarm[]>
  /** The newest first, from before the id. */
  list(page: { readonly open: boolean; readonly before?: string | undefined; readonly limit: number }): Promise<Alarm[]>
  /** Throws `conflict` where one of the kind is open. */
  insert(tx: Tx, alarm: Alarm): Promise<Row>
  /** Writes the next version: acknowledged or cleared. Throws `conflict` when somebody else changed it. */
  update(tx: Tx, alarm: Alarm): Promise<Row>
}

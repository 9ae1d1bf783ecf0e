import type { Row, SealedRow } from './row.ts'
import type { Tx } from './tx.ts'

/** A row of a sealed table, and where it stands. */
export interface Placed extends SealedRow {
  /** The primary key, as {@link SealedTable.page} takes it. */
  readonly key: string
}

/**
 * A table whose rows bear MACs, as who goes over all of them sees it: rotations of keys, checks of the whole database. Not trusted: who reads a page has its MACs
 * checked. Each feature tells its tables; together they are every table with a column `mac`, but the groups of the log, whose MACs are another key's.
 */
export interface SealedTable {
  readonly name: string
  /** Whether its rows hold keys under the storage KEK, in the column `wrapped` (and of what algorithm in `algorithm`). Some have none yet, or none any more. */
  readonly holdsKeys: boolean
  /** About how many rows there are: exact while they are few. */
  count(): Promise<number>
  /** Rows in the order of their primary keys, after `after`. */
  page(after: string | undefined, limit: number): Promise<Placed[]>
  /** Those of these rows that there are, in no order. Throws where an id is not of the form that the table's ids have. */
  find(rows: readonly Pick<Row, 'id' | 'version'>[]): Promise<Placed[]>
  /**
   * Another MAC over the same row. A row that was changed or deleted meanwhile, or is being changed, is left as it is: this waits for nobody. Answers how many
   * were written.
   */
  reseal(tx: Tx, rows: readonly { readonly placed: Placed; readonly mac: Uint8Array }[]): Promise<number>
  /** The next version of each row, with another `wrapped`. As {@link reseal}, but answers the keys of those that were written. Throws where the table holds no keys. */
  rewrap(tx: Tx, rows: readonly { readonly placed: Placed; readonly wrapped: Uint8Array; readonly mac: Uint8Array }[]): Promise<ReadonlySet<string>>
}

/**
 * Rows without MACs of their own, over which a row that has one was made: the ICCIDs of a chunk. Who goes over all rows of a database looks whether they are still
 * those.
 */
export interface DependentRows {
  /** The table of the sealed rows. */
  readonly table: string
  /** What of these sealed rows does not hold: a sentence for each that is wrong. */
  check(rows: readonly Row[]): Promise<{ readonly id: string; readonly detail: string }[]>
  /** Rows that belong to no sealed row: a sentence for each, at most 100. */
  strays(): Promise<{ readonly id: string; readonly detail: string }[]>
}

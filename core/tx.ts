/** Runs statements with positional parameters ($1 ...). A `Uint8Array` parameter is a bytea. Statements are prepared once by their text: keep texts constant. */
export interface Sql {
  query<Result extends object = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<Result[]>
}

const handles = new WeakMap<Tx, Sql>()

/** A database transaction, opaque to everything but the stores. It commits when the function it was given to has returned. */
export class Tx {
  /** Only for who opens transactions (`policies/audit/`) and for tests. */
  constructor(sql: Sql) {
    handles.set(this, sql)
  }
}

/** The statements of a transaction. INVARIANT: only `*.pg.ts` files call it. Throws once the transaction is over. */
export function sqlOf(tx: Tx): Sql {
  const sql = handles.get(tx)
  if (sql === undefined) throw new Error('the transaction is over')
  return sql
}

/** Ends a transaction's use: every later statement through it throws. */
export const closeTx = (tx: Tx): void => void handles.delete(tx)

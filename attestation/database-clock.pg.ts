import { batched } from '../core/batch.ts'
import { Problem } from '../core/problem.ts'
import type { Sql } from '../core/tx.ts'

/** The database's clock, which dates what is durable: nodes agree on it. Those who ask at once share one statement. */
export function databaseClock(sql: Sql): () => Promise<Date> {
  const read = batched(async (asked: 'now'[]) => {
    const [row] = await sql.query<{ now: Date }>('SELECT clock_timestamp() AS now')
    return new Map(row === undefined ? [] : asked.map((key) => [key, row.now]))
  })
  return async () => {
    const now = await read('now')
    if (now === undefined) throw new Problem('database-unavailable', 'The database did not say what time it is.')
    return now
  }
}

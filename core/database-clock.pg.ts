import { batched } from './batch.ts'
import { Problem } from './problem.ts'
import type { Sql } from './tx.ts'

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

/** How long one reading of the database's clock serves, in milliseconds. */
const GOOD_FOR_MS = 1000

/** As `databaseNow`, by one reading a second and this process's steady clock: off by no more than that statement took. For what may be off by so much. */
export function nearlyNow(databaseNow: () => Promise<Date>): () => Promise<Date> {
  let reading: { readonly date: Promise<Date>; readonly taken: number } | undefined
  return async () => {
    const asked = performance.now()
    if (reading === undefined || asked - reading.taken > GOOD_FOR_MS) {
      const next = { date: databaseNow(), taken: asked }
      next.date.catch(() => {
        if (reading === next) reading = undefined
      })
      reading = next
    }
    const { date, taken } = reading
    return new Date((await date).getTime() + Math.trunc(performance.now() - taken))
  }
}

import type { IccidRange } from '../core/iccid.ts'
import type { Sql } from '../core/tx.ts'

const RUNS = `SELECT digits, body::text AS last, next::text FROM (
    SELECT digits, body, lead(body) OVER (PARTITION BY digits ORDER BY body) AS next
    FROM (SELECT length(iccid) - 1 AS digits, left(iccid, -1)::numeric AS body FROM iccids) AS bodies
  ) AS pairs WHERE next IS NULL OR next > body + 1 ORDER BY digits, body`

/**
 * Behind each run of ICCIDs in a row that were ever ordered, so many more: what may have been ordered next. None reaches an ICCID that was ordered, nor the end of the
 * digits. It reads all ICCIDs.
 */
export async function behindEachRun(sql: Sql, margin: number): Promise<IccidRange[]> {
  const runs = await sql.query<{ digits: number; last: string; next: string | null }>(RUNS)
  return runs.flatMap(({ digits, last, next }): IccidRange[] => {
    const first = BigInt(last) + 1n
    const ends = [BigInt(last) + BigInt(margin), 10n ** BigInt(digits) - 1n, ...(next === null ? [] : [BigInt(next) - 1n])]
    const end = ends.reduce((least, one) => (one < least ? one : least))
    return end < first ? [] : [[String(first), String(end)]]
  })
}

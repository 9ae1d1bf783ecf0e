import type { Sql } from '../../core/tx.ts'
import type { DatabaseTime } from '../clock-watch.ts'

/** What alarms ask the database about the log. */

/** The most operations that are named. */
const MOST_NAMED = 5

const OPEN = `
  SELECT count(*) OVER () AS count, operation_id, opened_at FROM open_intents
  WHERE opened_at < clock_timestamp() - $1::float8 * interval '1 second' ORDER BY opened_at LIMIT ${MOST_NAMED}`

/** Operations whose outcome is missing for longer than so many seconds. */
export async function openIntents(sql: Sql, seconds: number): Promise<string | undefined> {
  const rows = await sql.query<{ count: string; operation_id: string; opened_at: Date }>(OPEN, [seconds])
  const [oldest] = rows
  if (oldest === undefined) return undefined
  const ids = rows.map((row) => row.operation_id).join(', ')
  return `${oldest.count} open, the oldest since ${oldest.opened_at.toISOString()}: ${ids}${Number(oldest.count) > rows.length ? ', ...' : ''}`
}

/** The oldest group that is not in the tree; and the head, where the last checkpoint is over less. */
const WAITING = `
  SELECT min(waiting.since) AS since FROM (
    SELECT g.created_at AS since FROM audit_writers w LEFT JOIN audit_sequenced s USING (writer, epoch)
    CROSS JOIN LATERAL (
      SELECT created_at FROM audit_groups g WHERE g.writer = w.writer AND g.epoch = w.epoch AND g.first_seq >= coalesce(s.next_seq, 0) ORDER BY g.first_seq LIMIT 1
    ) g
    WHERE NOT coalesce(s.drained, false)
    UNION ALL
    SELECT coalesce(c.published_at, '-infinity') FROM audit_head h
    LEFT JOIN LATERAL (SELECT size, published_at FROM audit_checkpoints ORDER BY size DESC LIMIT 1) c ON true
    WHERE h.size > coalesce(c.size, 0)
  ) waiting`

/** Entries that no checkpoint covers for longer than so many seconds. */
export async function lateCheckpoint(sql: Sql, seconds: number): Promise<string | undefined> {
  const [row] = await sql.query<{ since: string | null }>(
    `SELECT to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since FROM (${WAITING}) w WHERE since < clock_timestamp() - $1::float8 * interval '1 second'`,
    [seconds],
  )
  return row === undefined ? undefined : `entries wait since ${row.since ?? 'the beginning'}`
}

/** The database's clock, and when the last checkpoint was published by it. The snapshot is older than the clock, so that one is never before the other by itself. */
export async function databaseTime(sql: Sql): Promise<DatabaseTime> {
  const [row] = await sql.query<{ now: Date; last: Date | null }>(
    'SELECT clock_timestamp() AS now, (SELECT published_at FROM audit_checkpoints ORDER BY size DESC LIMIT 1) AS last',
  )
  if (row === undefined) throw new Error('the database did not say what time it is')
  return { now: row.now, lastCheckpoint: row.last ?? undefined }
}

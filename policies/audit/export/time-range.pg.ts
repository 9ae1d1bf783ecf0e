import type { Sql } from '../../../core/tx.ts'

/** Times of entries, by their writers' clocks: from `since` on, before `until`. */
export interface TimeRange {
  readonly since?: Date | undefined
  readonly until?: Date | undefined
}

/**
 * Where the entries of a time lie, below `size`: the first of them and what follows the last; the same twice where there is none. By the index table, so as
 * trustworthy as a search is: other entries lie between, and each is to be looked at.
 */
export async function placesOfTime(sql: Sql, { since, until }: TimeRange, size: number): Promise<{ readonly from: number; readonly to: number }> {
  const [row] = await sql.query<{ from: string | null; to: string | null }>(
    `SELECT min(index) AS from, max(index) + 1 AS to FROM audit_entries
     WHERE index < $1 AND time >= coalesce($2::timestamptz, '-infinity') AND time < coalesce($3::timestamptz, 'infinity')`,
    [size, since ?? null, until ?? null],
  )
  return { from: Number(row?.from ?? 0), to: Number(row?.to ?? 0) }
}

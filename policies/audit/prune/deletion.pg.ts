import { setTimeout as sleep } from 'node:timers/promises'
import type { Sql } from '../../../core/tx.ts'
import { SEGMENT_ENTRIES, segmentOf } from '../search/bits.ts'
import { FIELD_NAMES, fieldOf } from '../search/field.ts'
import type { SealedSegment } from '../search/segment.ts'
import { readSegment, type ReadEntries } from '../search/segment-reader.ts'

/** What leaves the database with a prune: on a connection of the owner, in steps that are each done whole, and all of them again without harm. */

/** A writer's epoch, and its next sequence at the index before which is pruned. */
export interface PrunedEpoch {
  readonly writer: number
  readonly epoch: number
  readonly seq: number
}

/** Rows of one statement; of groups fewer: each may have a bundle of 8 MiB. */
const PAGE_ROWS = 10_000
const PAGE_GROUPS = 1000
/** A table that is dropped waits so long for those that use it, and they for it; then it is tried again. */
const LOCK_TIMEOUT_MS = 1000
const LOCK_TRIES = 60
const LOCK_NOT_AVAILABLE = '55P03'

/** Says to the triggers of the log that deleting is meant, for as long as the connection lasts. */
export const allowPruning = (sql: Sql): Promise<unknown> => sql.query(`SELECT set_config('gridseal.pruning', 'on', false)`)

const PARTITIONS = `SELECT c.oid::regclass::text AS name, pg_get_expr(c.relpartbound, c.oid) AS bound
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'audit_entries'::regclass`
const FIRST = 'SELECT min(index) AS index FROM audit_entries WHERE index < $1'
const DELETE_ENTRIES = 'DELETE FROM audit_entries WHERE index >= $1 AND index < $2'

/** Whole partitions are dropped, the rest goes by pages. `between`: called after each. */
export async function deleteEntries(sql: Sql, before: number, between: () => void = () => undefined): Promise<void> {
  for (const { name, bound } of await sql.query<{ name: string; bound: string }>(PARTITIONS)) {
    const end = Number(/ TO \('(\d+)'\)$/.exec(bound)?.[1] ?? Number.POSITIVE_INFINITY)
    if (end > before) continue
    await dropTable(sql, name)
    between()
  }
  const [first] = await sql.query<{ index: string | null }>(FIRST, [before])
  for (let at = Number(first?.index ?? before); at < before; at += PAGE_ROWS) {
    await sql.query(DELETE_ENTRIES, [at, Math.min(at + PAGE_ROWS, before)])
    between()
  }
}

/** A table waits for its readers, and whoever comes then for it: so it waits but shortly. */
async function dropTable(sql: Sql, name: string): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await sql.query(`DO $$ BEGIN SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}; DROP TABLE ${name}; END $$`)
      return
    } catch (error) {
      if ((error as { readonly code?: unknown }).code !== LOCK_NOT_AVAILABLE || tries === LOCK_TRIES) throw error
      await sleep(LOCK_TIMEOUT_MS)
    }
  }
}

/** Where the groups of an epoch begin that stay. */
const KEPT_FROM = `
  SELECT CASE WHEN coalesce(s.drained, false) AND NOT EXISTS (SELECT FROM audit_groups l WHERE l.writer = $1 AND l.epoch = $2 AND l.first_seq > k.first_seq)
    THEN $3::bigint ELSE k.first_seq END AS first
  FROM (SELECT first_seq FROM audit_groups WHERE writer = $1 AND epoch = $2 AND first_seq < $3 AND first_seq + count <= $3 ORDER BY first_seq DESC LIMIT 1) k
  LEFT JOIN audit_sequenced s ON s.writer = $1 AND s.epoch = $2`
const DELETE_GROUPS = `DELETE FROM audit_groups WHERE writer = $1 AND epoch = $2 AND first_seq IN
  (SELECT first_seq FROM audit_groups WHERE writer = $1 AND epoch = $2 AND first_seq < $3 ORDER BY first_seq LIMIT ${PAGE_GROUPS}) RETURNING 1`

/**
 * Groups of which every entry is pruned, but the last of each epoch that goes on: by its MAC the chain of the next one is known. A group that has entries on both sides
 * stays whole.
 */
export async function deleteGroups(sql: Sql, epochs: readonly PrunedEpoch[]): Promise<void> {
  for (const { writer, epoch, seq } of epochs) {
    const [kept] = await sql.query<{ first: string }>(KEPT_FROM, [writer, epoch, seq])
    if (kept === undefined) continue
    while ((await sql.query(DELETE_GROUPS, [writer, epoch, kept.first])).length === PAGE_GROUPS);
  }
}

/** Of the index of searches the segments that have no other entries. */
export async function deleteSegments(sql: Sql, before: number): Promise<void> {
  const first = segmentOf(before)
  await sql.query('DELETE FROM audit_segments WHERE segment < $1', [first])
  for (const name of FIELD_NAMES) await sql.query('DELETE FROM audit_terms WHERE field = $1 AND segment < $2', [fieldOf(name).number, first])
}

/**
 * Puts into the index, where it has one, the segment that has entries on both sides, without those before. In the owner's transaction. The generation grows: who is
 * at making a segment of what was there before does not get it in.
 */
export async function cutSegment(sql: Sql, before: number, read: ReadEntries): Promise<void> {
  const segment = segmentOf(before)
  const [indexed] = await sql.query<{ segments: string }>('UPDATE audit_indexed SET generation = generation + 1 WHERE id = 1 RETURNING segments')
  if (before % SEGMENT_ENTRIES === 0 || Number(indexed?.segments ?? 0) <= segment) return
  const cut: SealedSegment = (await readSegment(segment, read, before)).seal()
  const { terms, firstMs, lastMs, times } = cut
  await sql.query('UPDATE audit_segments SET first_ms = $2, last_ms = $3, times = $4 WHERE segment = $1', [segment, firstMs, lastMs, times])
  await sql.query('DELETE FROM audit_terms WHERE segment = $1', [segment])
  await sql.query(
    `INSERT INTO audit_terms (field, value, segment, count, bits)
     SELECT field, value, $1, count, bits FROM unnest($2::smallint[], $3::text[], $4::int[], $5::bytea[]) AS t (field, value, count, bits)`,
    [segment, terms.map(({ field }) => field), terms.map(({ value }) => value), terms.map(({ count }) => count), terms.map(({ bits }) => bits)],
  )
}

/** When the youngest group with an entry before an index was committed. */
export async function youngestBefore(sql: Sql, epochs: readonly PrunedEpoch[]): Promise<Date> {
  const [row] = await sql.query<{ at: Date | null }>(
    `SELECT date_trunc('milliseconds', max(g.created_at)) + interval '1 millisecond' AS at FROM unnest($1::int[], $2::int[], $3::bigint[]) AS p (writer, epoch, seq)
     CROSS JOIN LATERAL (SELECT created_at FROM audit_groups b WHERE b.writer = p.writer AND b.epoch = p.epoch AND b.first_seq < p.seq ORDER BY b.first_seq DESC LIMIT 1) g`,
    [epochs.map(({ writer }) => writer), epochs.map(({ epoch }) => epoch), epochs.map(({ seq }) => seq)],
  )
  if (row?.at === null || row === undefined) throw new Error('the groups of the entries that are to be pruned are not there')
  return row.at
}

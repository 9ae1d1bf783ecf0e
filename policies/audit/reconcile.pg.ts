import type { OperationId } from '../../core/ids.ts'
import type { Sql } from '../../core/tx.ts'
import { type Entry, EntryError, parseEntry } from './entry.ts'
import { decodeBundle } from './group.ts'
import type { OpenIntentStore } from './reconcile.ts'
import { WRITER_LOCK } from './session.pg.ts'

/** An epoch is over when the slot has a newer one, or when nobody holds the slot's lock (two-key advisory locks have objsubid 2). */
const ABANDONED = `
  SELECT o.operation_id, o.seq, g.first_seq, g.bundle FROM open_intents o
  LEFT JOIN LATERAL (
    SELECT first_seq, bundle FROM audit_groups g WHERE g.writer = o.writer AND g.epoch = o.epoch AND g.first_seq <= o.seq ORDER BY first_seq DESC LIMIT 1
  ) g ON true
  WHERE o.opened_at <= clock_timestamp() - $1::float8 * interval '1 millisecond'
  AND (
    o.operation_id = ANY ($3::uuid[])
    OR EXISTS (SELECT FROM audit_writers w WHERE w.writer = o.writer AND w.epoch > o.epoch)
    OR NOT EXISTS (
      SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted AND l.classid::bigint = ${WRITER_LOCK} AND l.objid::bigint = o.writer
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
  )
  ORDER BY o.opened_at LIMIT $2`

export class PgOpenIntentStore implements OpenIntentStore {
  readonly #sql: Sql

  constructor(sql: Sql) {
    this.#sql = sql
  }

  async abandoned({ graceMs, limit, givenUp }: Parameters<OpenIntentStore['abandoned']>[0]): ReturnType<OpenIntentStore['abandoned']> {
    const rows = await this.#sql.query<{ operation_id: string; seq: string; first_seq: string | null; bundle: Buffer | null }>(ABANDONED, [
      graceMs,
      limit,
      givenUp,
    ])
    return rows.map(({ operation_id: operationId, seq, first_seq: first, bundle }) => ({
      operationId,
      intent: bundle === null ? undefined : intentIn(bundle, Number(seq) - Number(first), operationId),
    }))
  }

  async open(ids: readonly OperationId[]): Promise<OperationId[]> {
    const rows = await this.#sql.query<{ id: OperationId }>('SELECT operation_id AS id FROM open_intents WHERE operation_id = ANY ($1::uuid[])', [ids])
    return rows.map(({ id }) => id)
  }
}

function intentIn(bundle: Buffer, at: number, operationId: string): Entry | undefined {
  try {
    const bytes = decodeBundle(bundle)[at]
    const entry = bytes && parseEntry(bytes)
    return entry?.kind === 'intent' && entry.id === operationId ? entry : undefined
  } catch (error) {
    if (error instanceof EntryError || error instanceof RangeError) return undefined
    throw error
  }
}

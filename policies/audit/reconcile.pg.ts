import type { OperationId } from '../../core/ids.ts'
import type { Sql } from '../../core/tx.ts'
import { type Entry, EntryError, parseEntry } from './entry.ts'
import { decodeBundle } from './group.ts'
import { intactGroups } from './intact-groups.ts'
import type { OpenIntentStore } from './reconcile.ts'
import { WRITER_LOCK } from './session.pg.ts'
import { CHAIN_BEFORE, GROUP_COLUMNS, groupOf, type GroupRow } from './stored-group.pg.ts'
import type { CheckGroups } from './take-over.ts'

/** An epoch is over when the slot has a newer one, or when nobody holds the slot's lock (two-key advisory locks have objsubid 2). */
const ABANDONED = `
  SELECT o.operation_id, o.seq, ${GROUP_COLUMNS}, ${CHAIN_BEFORE} AS before FROM open_intents o
  LEFT JOIN LATERAL (
    SELECT * FROM audit_groups g WHERE g.writer = o.writer AND g.epoch = o.epoch AND g.first_seq <= o.seq ORDER BY first_seq DESC LIMIT 1
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

/** A row of open_intents with the group of its intent, or nulls where there is none. */
interface Columns extends GroupRow {
  readonly operation_id: string
  readonly seq: string
  readonly before: Buffer | null
}

/**
 * Rows of `open_intents` are believed in nothing but that something may be open: what an intent says is of its group, which the token MACed. So who writes to the
 * tables cannot have an operation closed that never began, or closed as another one.
 */
export class PgOpenIntentStore implements OpenIntentStore {
  readonly #sql: Sql
  readonly #checkGroups: CheckGroups

  constructor(sql: Sql, { checkGroups }: { readonly checkGroups: CheckGroups }) {
    this.#sql = sql
    this.#checkGroups = checkGroups
  }

  async abandoned({ graceMs, limit, givenUp }: Parameters<OpenIntentStore['abandoned']>[0]): ReturnType<OpenIntentStore['abandoned']> {
    const rows = await this.#sql.query<Columns | (Pick<Columns, 'operation_id' | 'seq'> & { readonly bundle: null })>(ABANDONED, [graceMs, limit, givenUp])
    const groups = rows.flatMap((row) => (row.bundle === null ? [] : [{ ...groupOf(row), before: row.before, of: row.operation_id }]))
    const intact = new Map((await intactGroups(groups, this.#checkGroups)).map((group) => [group.of, group]))
    return rows.map(({ operation_id: operationId, seq }) => {
      const group = intact.get(operationId)
      return { operationId, intent: group && intentIn(group.bundle, Number(seq) - group.firstSeq, operationId) }
    })
  }

  async open(ids: readonly OperationId[]): Promise<OperationId[]> {
    const rows = await this.#sql.query<{ id: OperationId }>('SELECT operation_id AS id FROM open_intents WHERE operation_id = ANY ($1::uuid[])', [ids])
    return rows.map(({ id }) => id)
  }
}

function intentIn(bundle: Uint8Array, at: number, operationId: string): Entry | undefined {
  try {
    const bytes = decodeBundle(bundle)[at]
    const entry = bytes && parseEntry(bytes)
    return entry?.kind === 'intent' && entry.id === operationId ? entry : undefined
  } catch (error) {
    if (error instanceof EntryError || error instanceof RangeError) return undefined
    throw error
  }
}

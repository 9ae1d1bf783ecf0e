import type { Sql } from '../core/tx.ts'
import { PARTITION_ROWS } from './migrations/0001-audit-log.ts'

/** Empty partitions of `audit_entries` that lie beyond the log's end, at least. */
const AHEAD = 5
/** So few are an alarm: the default partition takes what has no other, and is slow to prune. */
const FEW = 2
/** How long sequencing may wait for a table to be made. */
const LOCK_TIMEOUT_MS = 5000

interface PartitionSettings {
  /** Default {@link PARTITION_ROWS}. For tests. */
  readonly rows?: number
  readonly ahead?: number
}

const SIZE = 'SELECT size FROM audit_head WHERE id = 1'
const NAMES = `SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'audit_entries'::regclass`
/** Of a range that the default partition has entries of, none can be made. */
const IN_DEFAULT = 'SELECT FROM audit_entries_default WHERE index >= $1 AND index < $2 LIMIT 1'

export const partitionName = (index: number, rows = PARTITION_ROWS): string => `audit_entries_${Math.floor(index / rows)}`

/**
 * Makes the partitions that are missing, so that some empty ones lie beyond the log's end. As the owner of the tables, at each start; a service that runs meanwhile waits
 * for a moment. Where it would wait for long, the next start makes them.
 */
export async function makePartitions(sql: Sql, { rows = PARTITION_ROWS, ahead = AHEAD }: PartitionSettings = {}): Promise<void> {
  const [head] = await sql.query<{ size: string }>(SIZE)
  const there = new Set((await sql.query<{ name: string }>(NAMES)).map(({ name }) => name))
  const first = Math.floor(Number(head?.size ?? 0) / rows)
  for (let at = first; at <= first + ahead; at += 1) {
    const [from, to, name] = [at * rows, (at + 1) * rows, partitionName(at * rows, rows)]
    if (there.has(name) || (await sql.query(IN_DEFAULT, [from, to])).length > 0) continue
    try {
      await sql.query(`DO $$ BEGIN
        SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS};
        CREATE TABLE ${name} PARTITION OF audit_entries FOR VALUES FROM (${from}) TO (${to});
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ${name} FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only();
      END $$`)
    } catch (error) {
      if ((error as { readonly code?: unknown }).code !== LOCK_NOT_AVAILABLE) throw error
      return
    }
  }
}

const LOCK_NOT_AVAILABLE = '55P03'

/** What is wrong with the room ahead of the log, as an alarm says it. Any login may ask. */
export const partitionsRunOut =
  (sql: Sql, rows = PARTITION_ROWS) =>
  async (): Promise<string | undefined> => {
    const [head] = await sql.query<{ size: string }>(SIZE)
    const size = Number(head?.size ?? 0)
    const there = new Set((await sql.query<{ name: string }>(NAMES)).map(({ name }) => name))
    const missing = Array.from({ length: FEW + 1 }, (_, at) => partitionName(size + at * rows, rows)).filter((name) => !there.has(name))
    return missing.length === 0 ? undefined : `the log has ${size} entries, and there is no ${missing.join(', ')}`
  }

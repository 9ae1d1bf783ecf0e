import type { RowDigest } from '../../core/row.ts'
import type { Sql } from '../../core/tx.ts'
import type { EpochSequence } from './log-source.ts'
import { placeOf, type RowHead, SEQUENCES } from './row-heads.ts'

interface Columns {
  readonly relation: string
  readonly subject: string
  readonly place: string
  readonly row_version: string
  readonly digest: string
  readonly index: string
  readonly time_ms: string
}

const PAGE_ROWS = 5_000
const COLUMNS = 'relation, subject, place, row_version, digest, index, time_ms'
const PAGE = `SELECT ${COLUMNS} FROM audit_row_heads WHERE before = $1 AND (relation, subject, place) > ($2::text, $3::text, $4::bigint)
  ORDER BY relation, subject, place LIMIT ${PAGE_ROWS}`
/** Of the same version the one that came first. */
const ADD = `INSERT INTO audit_row_heads AS h (before, ${COLUMNS})
  SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[])
  ON CONFLICT (before, relation, subject, place) DO UPDATE
  SET row_version = excluded.row_version, digest = excluded.digest, index = excluded.index, time_ms = excluded.time_ms WHERE h.row_version < excluded.row_version`
const EPOCHS = 'SELECT subject, row_version FROM audit_row_heads WHERE before = $1 AND relation = $2'
const NAMED = `SELECT relation, subject FROM audit_row_heads JOIN unnest($2::text[], $3::text[]) AS n (relation, subject) USING (relation, subject) WHERE before = $1`

/** All heads of a prune, in the order of their digest. */
export async function* rowHeads(sql: Sql, before: number): AsyncGenerator<readonly RowHead[]> {
  for (let after: Pick<Columns, 'relation' | 'subject' | 'place'> = { relation: '', subject: '', place: '-1' }; ; ) {
    const rows = await sql.query<Columns>(PAGE, [before, after.relation, after.subject, after.place])
    const last = rows.at(-1)
    if (last === undefined) return
    yield rows.map((row) => ({
      ...{ relation: row.relation, subject: row.subject, version: Number(row.row_version), digest: row.digest },
      ...{ index: Number(row.index), timeMs: Number(row.time_ms) },
    }))
    after = last
  }
}

/** How far each epoch of a writer was. */
export async function epochsBefore(sql: Sql, before: number): Promise<EpochSequence[]> {
  const rows = await sql.query<Pick<Columns, 'subject' | 'row_version'>>(EPOCHS, [before, SEQUENCES])
  return rows.map(({ subject, row_version }) => {
    const [writer = 0, epoch = 0] = subject.split('/').map(Number)
    return { writer, epoch, seq: Number(row_version) }
  })
}

/** Adds them to those of a prune: of each row the newest stays. Each row at most once. */
export async function addRowHeads(sql: Sql, before: number, heads: readonly RowHead[]): Promise<void> {
  for (let at = 0; at < heads.length; at += PAGE_ROWS) {
    const page = heads.slice(at, at + PAGE_ROWS)
    await sql.query(ADD, [
      ...[before, page.map(({ relation }) => relation), page.map(({ subject }) => subject), page.map(placeOf), page.map(({ version }) => version)],
      ...[page.map(({ digest }) => digest), page.map(({ index }) => index), page.map(({ timeMs }) => timeMs)],
    ])
  }
}

/** Which of these rows the log named before it was pruned: tables and ids. */
export async function namedBelow(
  sql: Sql,
  before: number,
  rows: readonly Pick<RowDigest, 'table' | 'id'>[],
): Promise<{ readonly table: string; readonly id: string }[]> {
  const found = await sql.query<Pick<Columns, 'relation' | 'subject'>>(NAMED, [before, rows.map(({ table }) => table), rows.map(({ id }) => id)])
  return found.map(({ relation, subject }) => ({ table: relation, id: subject }))
}

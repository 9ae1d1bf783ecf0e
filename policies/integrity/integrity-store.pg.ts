import type { Sql } from '../../core/tx.ts'
import type { Finding, FindingCode } from './finding.ts'
import type { IntegrityStore, KnownFinding } from './integrity-store.ts'

interface FindingColumns {
  readonly code: FindingCode
  readonly subject: string
  readonly detail: string
  readonly since: string | null
  readonly found_at: Date
}

/** Ended ones stay: one that comes again is new. */
const NOTE = `INSERT INTO integrity_findings AS f (code, subject, detail, since)
  SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])
  ON CONFLICT (code, subject) DO UPDATE SET detail = excluded.detail, since = excluded.since, found_at = clock_timestamp(), ended_at = NULL
  WHERE f.ended_at IS NOT NULL RETURNING code, subject`
const KEEP = `UPDATE integrity_findings f SET ended_at = clock_timestamp() WHERE ended_at IS NULL AND found_at < $3
  AND NOT EXISTS (SELECT FROM unnest($1::text[], $2::text[]) AS k (code, subject) WHERE k.code = f.code AND k.subject = f.subject) RETURNING 1`

/** {@link IntegrityStore} in the tables `integrity_passes` and `integrity_findings`. */
export const pgIntegrityStore = (sql: Sql): IntegrityStore => ({
  recordPass: async ({ startedAt, endedAt, entries, rows, findings }) => {
    await sql.query('INSERT INTO integrity_passes (started_at, ended_at, entries, rows, findings) VALUES ($1, $2, $3, $4, $5)', [
      ...[startedAt, endedAt, entries, rows, findings],
    ])
  },
  open: async (limit): Promise<KnownFinding[]> => {
    const rows = await sql.query<FindingColumns>(
      'SELECT code, subject, detail, since, found_at FROM integrity_findings WHERE ended_at IS NULL ORDER BY found_at, code, subject LIMIT $1',
      [limit],
    )
    return rows.map(({ code, subject, detail, since, found_at: foundAt }) => ({
      ...{ code, subject, detail, foundAt },
      ...(since === null ? {} : { since: Number(since) }),
    }))
  },
  countOpen: async () => (await sql.query<{ count: number }>('SELECT count(*)::int AS count FROM integrity_findings WHERE ended_at IS NULL'))[0]?.count ?? 0,
  note: async (findings): Promise<Finding[]> => {
    if (findings.length === 0) return []
    const fresh = await sql.query<{ code: string; subject: string }>(NOTE, [
      ...[findings.map(({ code }) => code), findings.map(({ subject }) => subject), findings.map(({ detail }) => detail)],
      findings.map(({ since }) => since ?? null),
    ])
    const isFresh = new Set(fresh.map(({ code, subject }) => `${code} ${subject}`))
    return findings.filter(({ code, subject }) => isFresh.has(`${code} ${subject}`))
  },
  keepOnly: async (findings, before) => (await sql.query(KEEP, [findings.map(({ code }) => code), findings.map(({ subject }) => subject), before])).length,
})

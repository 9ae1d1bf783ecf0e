import type { Sql } from '../../../core/tx.ts'
import { segmentOf } from '../search/bits.ts'

/** So many are named. */
const NAMED = 5
const OPEN = `SELECT o.operation_id AS id FROM open_intents o JOIN audit_entries e USING (operation_id, writer, epoch, seq) WHERE e.index < $1 ORDER BY e.index LIMIT ${NAMED}`
const BEHIND = `SELECT receiver, position FROM audit_forwarding WHERE origin = $3 AND position < $1
  UNION ALL SELECT r.name, 0 FROM unnest($2::text[]) AS r (name) WHERE NOT EXISTS (SELECT FROM audit_forwarding f WHERE f.origin = $3 AND f.receiver = r.name)`
const INDEXED = 'SELECT segments FROM audit_indexed WHERE id = 1'
const COMPARED = `SELECT (SELECT entries FROM integrity_passes ORDER BY id DESC LIMIT 1) AS entries, (SELECT count(*) FROM integrity_findings WHERE ended_at IS NULL) AS open`

/**
 * Why entries below an index are still needed; undefined where they are not. `receivers`: names of those in the settings, `origin`: of the log that they receive.
 * Whatever passes an index stays beyond it, so that what is true now is true when something is deleted.
 */
export async function pruneObstacle(
  sql: Sql,
  { before, receivers, origin }: { readonly before: number; readonly receivers: readonly string[]; readonly origin: string },
): Promise<string | undefined> {
  const open = await sql.query<{ id: string }>(OPEN, [before])
  if (open.length > 0)
    return `Operations that began before entry ${before} are open: ${open.map(({ id }) => id).join(', ')}. Wait until reconciliation has closed them.`
  const behind = await sql.query<{ receiver: string; position: string }>(BEHIND, [before, receivers, origin])
  if (behind.length > 0) {
    const names = behind.map(({ receiver, position }) => `${receiver} (${position})`).join(', ')
    return `Receivers have not read all entries before ${before}: ${names}. Wait; of one that is not in use any more, delete its row of audit_forwarding.`
  }
  const [indexed] = await sql.query<{ segments: string }>(INDEXED)
  if (Number(indexed?.segments ?? 0) < segmentOf(before)) return `The index of searches does not reach entry ${before} yet. Wait until the leader has made it.`
  const [compared] = await sql.query<{ entries: string | null; open: string }>(COMPARED)
  if (compared === undefined || Number(compared.entries ?? 0) < before)
    return `The database was not compared with the entries before ${before}. While the service runs: gridseal integrity show --begin`
  if (Number(compared.open) > 0)
    return `The comparison of the database with the log has ${compared.open} open findings, which the entries are evidence of: gridseal integrity show`
  return undefined
}

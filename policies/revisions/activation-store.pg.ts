import { equalBytes, sha256, utf8 } from '../../core/bytes.ts'
import { Problem } from '../../core/problem.ts'
import type { Row, RowSealer } from '../../core/row.ts'
import { assertWritten, openRecords, sealRow } from '../../core/sealed-records.ts'
import { pgSealedTable } from '../../core/sealed-table.pg.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../../core/tx.ts'
import { type Activation, activationRow } from './activation.ts'
import type { ActivationStore, PolicyNode, RuleHits, Standing } from './activation-store.ts'

interface ActivationColumns {
  number: number
  revision: string
  text: string
  text_sha256: Uint8Array
  reason: string
  returns_to: number | null
  activated_by: string
  activated_at: Date
  confirm_by: Date | null
  state: Activation['state']
  ended_by: string | null
  signature: Uint8Array
  version: number
  mac: Uint8Array
}

const COLUMNS = 'number, revision, text, text_sha256, reason, returns_to, activated_by, activated_at, confirm_by, state, ended_by, signature, version, mac'
const SELECT = `SELECT ${COLUMNS} FROM policy_activations`

/** The tables' rows, by plain statements. `sql` may be a connection of its own, so that renewing waits for nobody. */
export class PgActivationStore implements ActivationStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async renew(node: string, number: number): Promise<Standing> {
    const [row] = await this.#sql.query<{ now: Date; number: number | null; version: number | null }>(
      `WITH renewed AS (
         INSERT INTO policy_nodes (node, number, renewed_at) VALUES ($1, $2, clock_timestamp())
         ON CONFLICT (node) DO UPDATE SET number = $2, renewed_at = clock_timestamp() RETURNING renewed_at)
       SELECT renewed_at AS now, l.number, l.version FROM renewed LEFT JOIN LATERAL (SELECT number, version FROM policy_activations ORDER BY number DESC LIMIT 1) l ON true`,
      [node, number],
    )
    if (row === undefined) throw new Error('a statement that always has a row has none')
    return { now: row.now, latest: row.number === null || row.version === null ? undefined : { number: row.number, version: row.version } }
  }

  async find(number: number): Promise<Activation | undefined> {
    return (await this.#open(await this.#sql.query<ActivationColumns>(`${SELECT} WHERE number = $1`, [number])))[0]
  }

  async latest(): Promise<Activation | undefined> {
    return (await this.#open(await this.#sql.query<ActivationColumns>(`${SELECT} ORDER BY number DESC LIMIT 1`)))[0]
  }

  async findRevision(revision: string): Promise<Activation | undefined> {
    return (await this.#open(await this.#sql.query<ActivationColumns>(`${SELECT} WHERE revision = $1 ORDER BY number DESC LIMIT 1`, [revision])))[0]
  }

  async list({ before, limit }: { readonly before?: number; readonly limit: number }): Promise<Activation[]> {
    return this.#open(
      await this.#sql.query<ActivationColumns>(`${SELECT} WHERE $1::int IS NULL OR number < $1 ORDER BY number DESC LIMIT $2`, [before ?? null, limit]),
    )
  }

  async insert(tx: Tx, a: Activation): Promise<Row> {
    const row = activationRow(a)
    const written = await sqlOf(tx).query(
      `INSERT INTO policy_activations (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING RETURNING 1`,
      [
        ...[a.number, a.revision, a.text, sha256(utf8(a.text)), a.reason, a.returnsTo ?? null, a.activatedBy, a.activatedAt, a.confirmBy ?? null],
        ...[a.state, a.endedBy ?? null, a.signature, a.version, await sealRow(this.#sealer, row)],
      ],
    )
    assertWritten(written, 'policy in force')
    return row
  }

  async end(tx: Tx, a: Activation): Promise<Row> {
    const row = activationRow(a)
    const written = await sqlOf(tx).query(
      `UPDATE policy_activations SET state = $2, ended_by = $3, version = $4, mac = $5 WHERE number = $1 AND version = $4 - 1 AND state = 'trial' RETURNING 1`,
      [a.number, a.state, a.endedBy ?? null, a.version, await sealRow(this.#sealer, row)],
    )
    assertWritten(written, 'policy in force')
    return row
  }

  async nodes(): Promise<PolicyNode[]> {
    const rows = await this.#sql.query<{ node: string; number: number; renewed_at: Date }>(
      `SELECT node, number, renewed_at FROM policy_nodes WHERE renewed_at > clock_timestamp() - interval '1 hour' ORDER BY node`,
    )
    return rows.map(({ node, number, renewed_at: renewedAt }) => ({ node, number, renewedAt }))
  }

  async leave(node: string): Promise<void> {
    await this.#sql.query(`DELETE FROM policy_nodes WHERE node = $1 OR renewed_at < clock_timestamp() - interval '1 hour'`, [node])
  }

  async addHits(hits: readonly RuleHits[]): Promise<void> {
    if (hits.length === 0) return
    // In one order everywhere, so that two nodes wait for each other and do not lock each other out.
    const sorted = [...hits].sort((a, b) => (`${a.revision} ${a.rule}` < `${b.revision} ${b.rule}` ? -1 : 1))
    await this.#sql.query(
      `INSERT INTO rule_hits AS h (revision, rule, hits, first_at, last_at)
       SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::timestamptz[])
       ON CONFLICT (revision, rule) DO UPDATE SET hits = h.hits + excluded.hits, first_at = least(h.first_at, excluded.first_at), last_at = greatest(h.last_at, excluded.last_at)`,
      [
        ...[sorted.map(({ revision }) => revision), sorted.map(({ rule }) => rule), sorted.map(({ hits: count }) => count)],
        ...[sorted.map(({ firstAt }) => firstAt), sorted.map(({ lastAt }) => lastAt)],
      ],
    )
  }

  async hits(revision: string): Promise<RuleHits[]> {
    const rows = await this.#sql.query<{ rule: string; hits: string; first_at: Date; last_at: Date }>(
      'SELECT rule, hits, first_at, last_at FROM rule_hits WHERE revision = $1 ORDER BY rule',
      [revision],
    )
    return rows.map((row) => ({ revision, rule: row.rule, hits: Number(row.hits), firstAt: row.first_at, lastAt: row.last_at }))
  }

  #open(rows: readonly ActivationColumns[]): Promise<Activation[]> {
    return openRecords(this.#sealer, rows, toActivation, activationRow)
  }
}

/** Throws `integrity-failed` where the text is not that of its digest; that the digest is right, the row's MAC says. */
function toActivation(row: ActivationColumns): Activation {
  if (!equalBytes(sha256(utf8(row.text)), row.text_sha256))
    throw new Problem('integrity-failed', `The text of the policy activation ${String(row.number)} is not what the service wrote. It was not used.`)
  return {
    ...{ number: row.number, revision: row.revision, text: row.text, reason: row.reason, activatedBy: row.activated_by, activatedAt: row.activated_at },
    ...(row.returns_to === null ? {} : { returnsTo: row.returns_to }),
    ...(row.confirm_by === null ? {} : { confirmBy: row.confirm_by }),
    ...(row.ended_by === null ? {} : { endedBy: row.ended_by }),
    ...{ state: row.state, signature: row.signature, version: row.version },
  }
}

export const activationTables = (sql: Sql): readonly SealedTable[] => [
  pgSealedTable<ActivationColumns>(sql, {
    name: 'policy_activations',
    key: [['number', 'int']],
    columns: COLUMNS,
    toRow: (row) => activationRow(toActivation(row)),
  }),
]

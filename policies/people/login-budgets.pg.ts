import { type Sql, sqlOf, type Tx } from '../../core/tx.ts'
import type { Budget, LoginBudgets } from './login-budgets.ts'

const REFILLED = (row: string, burst: string, everyMs: string): string =>
  `LEAST(${burst}, ${row}.tokens + GREATEST(0, extract(epoch FROM clock_timestamp() - ${row}.at)::float8 * 1000) / ${everyMs})`
/** Taken and given back in the order of their keys, so that two at once wait for each other in one direction. */
const TAKE = `INSERT INTO login_budgets AS b (key, tokens, burst, every_ms, at)
  SELECT key, burst - 1, burst, every_ms, clock_timestamp() FROM unnest($1::text[], $2::float8[], $3::float8[]) AS a (key, burst, every_ms) ORDER BY key
  ON CONFLICT (key) DO UPDATE SET tokens = ${REFILLED('b', 'EXCLUDED.burst', 'EXCLUDED.every_ms')} - 1,
    burst = EXCLUDED.burst, every_ms = EXCLUDED.every_ms, at = clock_timestamp()
  RETURNING tokens, every_ms`
const LOOK = `SELECT ${REFILLED('b', 'b.burst', 'b.every_ms')} - 1 AS tokens, every_ms FROM login_budgets b WHERE key = ANY($1)`
const GIVE_BACK = `WITH o AS (SELECT key FROM login_budgets WHERE key = ANY($1) ORDER BY key FOR UPDATE)
  UPDATE login_budgets b SET tokens = LEAST(burst, tokens + 1) FROM o WHERE b.key = o.key`
/** What has filled up again is as if it had never been. */
const PURGE = `DELETE FROM login_budgets WHERE key IN (
  SELECT key FROM login_budgets b WHERE ${REFILLED('b', 'b.burst', 'b.every_ms')} >= burst LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING 1`

interface Left {
  /** Below 0: there was none. */
  readonly tokens: number
  readonly every_ms: number
}

export class PgLoginBudgets implements LoginBudgets {
  readonly #sql: Sql

  constructor(sql: Sql) {
    this.#sql = sql
  }

  async waitMs(budgets: readonly Budget[]): Promise<number | undefined> {
    return budgets.length === 0 ? undefined : longestWait(await this.#sql.query<Left>(LOOK, [keysOf(budgets)]))
  }

  async take(budgets: readonly Budget[]): Promise<number | undefined> {
    if (budgets.length === 0) return undefined
    const left = await this.#sql.query<Left>(TAKE, [keysOf(budgets), budgets.map(({ burst }) => burst), budgets.map(({ everyMs }) => everyMs)])
    const waitMs = longestWait(left)
    if (waitMs !== undefined) await this.giveBack(budgets)
    return waitMs
  }

  async giveBack(budgets: readonly Budget[]): Promise<void> {
    if (budgets.length > 0) await this.#sql.query(GIVE_BACK, [keysOf(budgets)])
  }

  async addWrongCode(personId: string): Promise<number> {
    const [row] = await this.#sql.query<{ count: number }>(
      `INSERT INTO person_wrong_codes AS c (person_id, count) VALUES ($1, 1) ON CONFLICT (person_id) DO UPDATE SET count = c.count + 1 RETURNING count`,
      [personId],
    )
    return row?.count ?? Number.POSITIVE_INFINITY
  }

  async forgetWrongCodes(personId: string): Promise<void> {
    await this.#sql.query('DELETE FROM person_wrong_codes WHERE person_id = $1', [personId])
  }

  /** Deletes what has filled up, and says how many. */
  async purge(tx: Tx, most: number): Promise<number> {
    return (await sqlOf(tx).query(PURGE, [most])).length
  }
}

const keysOf = (budgets: readonly Budget[]): string[] => budgets.map(({ key }) => key)

function longestWait(left: readonly Left[]): number | undefined {
  const waits = left.filter(({ tokens }) => tokens < 0).map(({ tokens, every_ms: everyMs }) => -tokens * everyMs)
  return waits.length === 0 ? undefined : Math.max(...waits)
}

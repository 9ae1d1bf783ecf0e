import type { Sql } from '../../core/tx.ts'
import type { Demand, DemandStore } from './demand-store.ts'

export class PgDemandStore implements DemandStore {
  readonly #sql: Sql

  constructor(sql: Sql) {
    this.#sql = sql
  }

  async exchange(node: string, demands: readonly Demand[]): Promise<readonly Demand[]> {
    // In one order everywhere, so that two nodes wait for each other and do not lock each other out.
    const sorted = [...demands].sort((a, b) => (a.key < b.key ? -1 : 1))
    return this.#sql.query<{ key: string; amount: number }>(
      `WITH own AS (
         INSERT INTO rate_demands AS d (node, key, amount, told_at) SELECT $1, key, amount, clock_timestamp() FROM unnest($2::text[], $3::float8[]) AS n (key, amount)
         ON CONFLICT (node, key) DO UPDATE SET amount = excluded.amount, told_at = excluded.told_at)
       SELECT key, sum(amount) AS amount FROM rate_demands
       WHERE node <> $1 AND key = ANY($2) AND told_at > clock_timestamp() - interval '3 seconds' GROUP BY key`,
      [node, sorted.map(({ key }) => key), sorted.map(({ amount }) => amount)],
    )
  }

  async leave(node: string): Promise<void> {
    await this.#sql.query(`DELETE FROM rate_demands WHERE node = $1 OR told_at < clock_timestamp() - interval '1 minute'`, [node])
  }
}

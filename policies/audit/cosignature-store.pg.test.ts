import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Sql } from '../../core/tx.ts'
import { testDatabase, type TestDatabase } from '../../server/postgres/test-database.ts'
import { PgCosignatureStore } from './cosignature-store.pg.ts'

interface Plan {
  readonly 'Actual Rows': number
  readonly 'Actual Loops': number
  readonly 'Rows Removed by Filter'?: number
  readonly 'Plans'?: readonly Plan[]
}
const rowsOf = (plan: Plan): number =>
  Math.max(plan['Actual Loops'] * (plan['Actual Rows'] + (plan['Rows Removed by Filter'] ?? 0)), ...(plan.Plans ?? []).map(rowsOf))

/** Of each statement the most rows that a step of its plan looked at. */
const looked: number[] = []
const CHECKPOINTS = 3000

let db: TestDatabase
let store: PgCosignatureStore
beforeAll(async () => {
  db = await testDatabase()
  const sql: Sql = {
    query: async <Row extends object>(text: string, values?: readonly unknown[]) => {
      const [explained] = await db.ownerSql.query<{ 'QUERY PLAN': readonly { readonly Plan: Plan }[] }>(`EXPLAIN (ANALYZE, FORMAT JSON) ${text}`, values)
      looked.push(Math.max(...(explained?.['QUERY PLAN'] ?? []).map(({ Plan: plan }) => rowsOf(plan))))
      return db.ownerSql.query<Row>(text, values)
    },
  }
  store = new PgCosignatureStore(sql)
  await db.ownerSql.query(`INSERT INTO audit_checkpoints (size, note) SELECT n, E'grid.example/audit\\n' || n FROM generate_series(1, $1::int) n`, [
    CHECKPOINTS,
  ])
  await db.ownerSql.query(`INSERT INTO audit_cosignatures (key, size, line) SELECT 'w', size, '' FROM audit_checkpoints`)
  await db.ownerSql.query('ANALYZE audit_checkpoints, audit_cosignatures')
})
afterAll(() => db.close())

it('tells what a witness cosigned last of an origin, and looks at one cosignature for it', async () => {
  expect(await store.lastSize('w', 'grid.example/audit')).toBe(CHECKPOINTS)
  // As after a recovery: the witness has cosigned nothing of the log under its new origin.
  expect(await store.lastSize('w', 'grid.example/audit/2')).toBe(0)
  expect(await store.lastSize('another', 'grid.example/audit')).toBe(0)
  expect(Math.max(...looked)).toBe(1)
  await db.ownerSql.query(`INSERT INTO audit_checkpoints (size, note) VALUES ($1, E'grid.example/audit/2\\n')`, [CHECKPOINTS + 7])
  await db.ownerSql.query(`INSERT INTO audit_cosignatures (key, size, line) VALUES ('w', $1, '')`, [CHECKPOINTS + 7])
  expect(await store.lastSize('w', 'grid.example/audit/2')).toBe(CHECKPOINTS + 7)
})

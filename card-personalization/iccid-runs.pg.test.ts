import { afterAll, beforeAll, expect, it } from 'vitest'
import { luhnDigit } from '../core/iccid.ts'
import { testDatabase, type TestDatabase } from '../server/postgres/test-database.ts'
import { behindEachRun } from './iccid-runs.pg.ts'

let db: TestDatabase
beforeAll(async () => {
  db = await testDatabase()
  await db.ownerSql.query('ALTER TABLE iccids DISABLE TRIGGER ALL')
})
afterAll(() => db.close())

it('what may have been ordered next lies behind each run, and reaches no ICCID that was', async () => {
  expect(await behindEachRun(db.ownerSql, 10)).toEqual([])
  const bodies = [
    '8986001000000000001',
    '8986001000000000002',
    '8986001000000000003',
    '8986001000000000007',
    '8999999999999999998',
    '898600100000000001',
    '898600100000000019',
  ]
  for (const [at, body] of bodies.entries())
    await db.ownerSql.query('INSERT INTO iccids (iccid, imsi, order_id, position) VALUES ($1, $2, $3, $4)', [
      body + luhnDigit(body),
      `4600100000000${String(at).padStart(2, '0')}`,
      'an-order',
      at,
    ])
  expect(await behindEachRun(db.ownerSql, 10)).toEqual([
    ['898600100000000002', '898600100000000011'],
    ['898600100000000020', '898600100000000029'],
    ['8986001000000000004', '8986001000000000006'],
    ['8986001000000000008', '8986001000000000017'],
    ['8999999999999999999', '9000000000000000008'],
  ])
})

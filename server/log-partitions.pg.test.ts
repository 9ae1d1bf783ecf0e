import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { allowPruning, deleteEntries } from '../policies/audit/index.ts'
import { sqlOn } from './database.ts'
import { makePartitions, partitionsRunOut } from './log-partitions.ts'
import { testDatabase, type TestDatabase } from './postgres/test-database.ts'
import { schemaDifferences } from './schema/schema-comparison.ts'

let db: TestDatabase
let owner: pg.Client
beforeEach(async () => {
  db = await testDatabase()
  owner = new pg.Client({ connectionString: db.ownerUrl })
  await owner.connect()
})
afterEach(async () => {
  await owner.end()
  await db.close()
})

const names = async (): Promise<string[]> =>
  (await db.sql.query<{ name: string }>(`SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'audit_entries'::regclass`)).map(
    ({ name }) => name,
  )
const setSize = (size: number): Promise<unknown> => db.ownerSql.query('UPDATE audit_head SET size = $1', [size])
const insert = (from: number, to: number): Promise<unknown> =>
  db.sql.query(
    'INSERT INTO audit_entries (index, operation_id, writer, epoch, seq, group_seq) SELECT i, gen_random_uuid(), 0, 1, i, i FROM generate_series($1::bigint, $2::bigint) i',
    [from, to - 1],
  )
const TEN_MILLION = 10_000_000

describe('partitions of the entries', () => {
  it('lie ahead of the log, at least five of them empty, whatever its size', async () => {
    await setSize(19 * TEN_MILLION + 5)
    await makePartitions(db.ownerSql)
    expect(await names()).toEqual(expect.arrayContaining(['audit_entries_20', 'audit_entries_24']))
    expect(await names()).not.toContain('audit_entries_25')
    await makePartitions(db.ownerSql)
    expect(await schemaDifferences(db.sql)).toEqual([])
  })

  it('are not made where the default one has entries of the range, which stays in use', async () => {
    await insert(21 * TEN_MILLION, 21 * TEN_MILLION + 3)
    await setSize(20 * TEN_MILLION)
    await makePartitions(db.ownerSql)
    expect(await names()).not.toContain('audit_entries_21')
    expect(await names()).toEqual(expect.arrayContaining(['audit_entries_20', 'audit_entries_22']))
    expect(await db.sql.query('SELECT FROM audit_entries')).toHaveLength(3)
  })

  it('are an alarm when they run out', async () => {
    const look = partitionsRunOut(db.sql)
    expect(await look()).toBeUndefined()
    await setSize(18 * TEN_MILLION)
    expect(await look()).toMatch(/there is no audit_entries_20$/)
    await makePartitions(db.ownerSql)
    expect(await look()).toBeUndefined()
  })

  it('are dropped whole where all of them is pruned; of the rest the rows are deleted', async () => {
    await insert(100, 110)
    await insert(TEN_MILLION - 2, TEN_MILLION + 520)
    await allowPruning(sqlOn(owner))
    let pages = 0
    await deleteEntries(sqlOn(owner), TEN_MILLION + 512, () => (pages += 1))
    expect(await names()).not.toContain('audit_entries_0')
    expect(await names()).toContain('audit_entries_1')
    expect(await db.sql.query('SELECT index FROM audit_entries ORDER BY index LIMIT 1')).toEqual([{ index: String(TEN_MILLION + 512) }])
    expect(pages).toBe(2)
    await makePartitions(db.ownerSql)
    expect(await schemaDifferences(db.sql)).toEqual([])
  })

  it('are dropped in between those who read them, and wait for nobody long', async () => {
    const reader = new pg.Client({ connectionString: db.serviceUrl })
    await reader.connect()
    await reader.query('SET ROLE gridseal_service')
    await insert(0, 10)
    await reader.query('BEGIN')
    await reader.query('SELECT FROM audit_entries')
    await allowPruning(sqlOn(owner))
    const dropped = deleteEntries(sqlOn(owner), 2 * TEN_MILLION)
    await new Promise((resolve) => setTimeout(resolve, 1300))
    // Whoever comes meanwhile is not kept waiting behind it.
    await insert(3 * TEN_MILLION, 3 * TEN_MILLION + 1)
    await reader.query('COMMIT')
    await reader.end()
    await dropped
    expect(await db.sql.query('SELECT index FROM audit_entries')).toEqual([{ index: String(3 * TEN_MILLION) }])
  })
})

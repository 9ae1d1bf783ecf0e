import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sqlOf, type Tx } from '../core/tx.ts'
import { openDatabase, SERVICE_ROLE, sqlOn } from './database.ts'
import { migrateDatabase } from './migrate.ts'
import { testDatabase, type TestDatabase } from './postgres/test-database.ts'

describe('database', () => {
  let db: TestDatabase
  beforeAll(async () => {
    db = await testDatabase({ migrated: false })
    await migrateDatabase({
      ownerUrl: db.ownerUrl,
      serviceUrl: db.serviceUrl,
      migrations: [
        {
          name: '0001-things',
          up: (knex) => knex.raw(`CREATE TABLE things (id int PRIMARY KEY, blob bytea, blobs bytea[]); GRANT SELECT, INSERT ON things TO ${SERVICE_ROLE}`),
        },
      ],
    })
  })
  afterAll(() => db.close())

  it('gives the service its own rights and no more', async () => {
    expect(await db.sql.query('SELECT current_user::text AS me')).toEqual([{ me: SERVICE_ROLE }])
    await expect(db.sql.query('DELETE FROM things')).rejects.toThrow('permission denied')
    await expect(db.sql.query('ALTER TABLE things ADD COLUMN x int')).rejects.toThrow('must be owner')
    expect(await db.ownerSql.query('DELETE FROM things')).toEqual([])
  })

  it('takes bytes, arrays of bytes and nothing', async () => {
    const bytes = Uint8Array.of(0, 92, 255)
    await db.sql.query('INSERT INTO things VALUES ($1, $2, $3)', [1, bytes, [bytes, Uint8Array.of()]])
    await db.sql.query('INSERT INTO things VALUES ($1, $2, $3)', [2, undefined, null])
    expect(await db.sql.query('SELECT * FROM things ORDER BY id')).toEqual([
      { id: 1, blob: Buffer.from(bytes), blobs: [Buffer.from(bytes), Buffer.alloc(0)] },
      { id: 2, blob: null, blobs: null },
    ])
  })

  it('prepares a text once on a connection', async () => {
    const client = await db.database.connect()
    const text = 'SELECT count(*) FROM pg_prepared_statements'
    const sql = sqlOn(client)
    await sql.query(text)
    expect(await sql.query(text)).toEqual([{ count: '1' }])
    await client.end()
  })

  it('rolls back a transaction whose work throws, and ends its use', async () => {
    let kept: Tx | undefined
    const work = db.transact(async (tx) => {
      kept = tx
      await sqlOf(tx).query('INSERT INTO things VALUES (10)')
      throw new Error('no')
    })
    await expect(work).rejects.toThrow('no')
    expect(await db.sql.query('SELECT FROM things WHERE id = 10')).toEqual([])
    expect(() => sqlOf(kept!)).toThrow('the transaction is over')
  })

  it('says database-unavailable when a connection is cut, and goes on with a new one', async () => {
    const sleeping = expect(db.sql.query('SELECT pg_sleep(20)')).rejects.toMatchObject({ code: 'database-unavailable' })
    const client = await db.database.connect()
    await client.query('RESET ROLE')
    const asleep = `SELECT FROM pg_stat_activity WHERE usename = current_user AND wait_event = 'PgSleep'`
    while ((await client.query(asleep)).rowCount === 0) continue
    await client.query(
      'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()',
    )
    await client.end()
    await sleeping
    expect(await db.sql.query('SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  it('says database-unavailable when nobody listens', async () => {
    const away = openDatabase({ serviceUrl: 'postgresql://x:y@127.0.0.1:1/none' })
    await expect(away.sql.query('SELECT 1')).rejects.toMatchObject({ code: 'database-unavailable' })
    await expect(away.connect()).rejects.toMatchObject({ code: 'database-unavailable' })
    await away.close()
  })
})

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SERVICE_ROLE } from '../database.ts'
import { migrateDatabase } from '../migrate.ts'
import { testDatabase, type TestDatabase } from '../postgres/test-database.ts'
import { MIGRATIONS } from './index.ts'

describe('migrations', () => {
  let db: TestDatabase
  beforeAll(async () => {
    db = await testDatabase({ migrated: false })
  })
  afterAll(() => db.close())

  it('are numbered without gaps', () => {
    expect(MIGRATIONS.map(({ name }) => name.slice(0, 5))).toEqual(MIGRATIONS.map((_, index) => `${String(index + 1).padStart(4, '0')}-`))
  })

  it('are done once by processes that start together', async () => {
    const settings = { ownerUrl: db.ownerUrl, serviceUrl: db.serviceUrl }
    await Promise.all([migrateDatabase(settings), migrateDatabase(settings), migrateDatabase(settings)])
    expect(await db.ownerSql.query('SELECT name FROM knex_migrations ORDER BY id')).toEqual(MIGRATIONS.map(({ name }) => ({ name })))
  })

  it('go on after a process was killed in the middle of one', async () => {
    await db.ownerSql.query('UPDATE knex_migrations_lock SET is_locked = 1')
    await expect(migrateDatabase({ ownerUrl: db.ownerUrl, serviceUrl: db.serviceUrl })).resolves.toBeUndefined()
  })

  it('leave the service the owner of nothing', async () => {
    const owned = await db.ownerSql.query('SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) = $1 OR pg_get_userbyid(relowner) LIKE $2', [
      SERVICE_ROLE,
      '%_service',
    ])
    expect(owned).toEqual([])
  })

  it('refuse a database of a newer version', async () => {
    await db.ownerSql.query(`INSERT INTO knex_migrations (name, batch, migration_time) VALUES ('9999-future', 1, now())`)
    await expect(migrateDatabase({ ownerUrl: db.ownerUrl, serviceUrl: db.serviceUrl })).rejects.toThrow('made by a newer version')
  })

  it("say what to do when the owner's login may not make the role's members", async () => {
    const stranger = new URL(db.serviceUrl)
    stranger.username = 'somebody'
    await expect(migrateDatabase({ ownerUrl: db.ownerUrl, serviceUrl: stranger.href })).rejects.toThrow(`GRANT ${SERVICE_ROLE} TO "somebody"`)
  })
})

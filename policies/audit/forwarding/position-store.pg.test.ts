import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { testDatabase, type TestDatabase } from '../../../server/postgres/test-database.ts'
import { PgPositionStore } from './position-store.pg.ts'

const unpruned = () => Promise.resolve(0)

describe('positions of receivers', () => {
  let db: TestDatabase
  beforeAll(async () => {
    db = await testDatabase()
  })
  afterAll(() => db.close())

  it('begin at 0, move on by compare-and-swap, and are of one log', async () => {
    const store = new PgPositionStore(db.sql, 'grid.example/audit', unpruned)
    expect(await store.find('siem')).toMatchObject({ position: 0 })
    expect(await store.advance('siem', 0, 7)).toBe(true)
    expect(await store.advance('siem', 0, 9)).toBe(false)
    expect(await store.advance('nobody', 0, 9)).toBe(false)
    const { position, movedAt } = await new PgPositionStore(db.sql, 'grid.example/audit', unpruned).find('siem')
    expect(position).toBe(7)
    expect(Math.abs(Date.now() - movedAt.getTime())).toBeLessThan(60_000)
    expect(await new PgPositionStore(db.sql, 'grid.example/audit', () => Promise.resolve(512)).find('new')).toMatchObject({ position: 512 })
    expect(await new PgPositionStore(db.sql, 'grid.example/audit', () => Promise.resolve(512)).find('siem')).toMatchObject({ position: 7 })
    expect(await new PgPositionStore(db.sql, 'grid.example/audit/2', unpruned).find('siem')).toMatchObject({ position: 0 })
  })

  it('are moved once by many at once', async () => {
    const store = new PgPositionStore(db.sql, 'race', unpruned)
    await store.find('siem')
    const moved = await Promise.all(Array.from({ length: 8 }, (_, at) => store.advance('siem', 0, at + 1)))
    expect(moved.filter(Boolean)).toHaveLength(1)
  })

  it('are never taken back, and no row is deleted, by the service', async () => {
    await expect(db.sql.query('UPDATE audit_forwarding SET position = 0')).rejects.toThrow('not taken back')
    await expect(db.sql.query('DELETE FROM audit_forwarding')).rejects.toThrow('permission denied')
    await expect(db.sql.query(`UPDATE audit_forwarding SET receiver = 'other'`)).rejects.toThrow('permission denied')
    await expect(db.ownerSql.query('UPDATE audit_forwarding SET position = position - 1')).rejects.toThrow('not taken back')
  })
})

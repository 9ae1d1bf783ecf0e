import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { newOperationId, type OperationId } from '../../core/ids.ts'
import { sqlOf } from '../../core/tx.ts'
import { testDatabase, type TestDatabase } from '../../server/postgres/test-database.ts'
import { type Entry, parseEntry } from './entry.ts'
import { decodeBundle } from './group.ts'
import { PgAuditLog } from './log.pg.ts'
import { reconcile, type ReconcileReport, type Resolver } from './reconcile.ts'
import { PgOpenIntentStore } from './reconcile.pg.ts'
import { draftOf } from './testing/drafts.ts'
import { softKeys } from './testing/soft-keys.ts'

let db: TestDatabase
const logs: PgAuditLog[] = []
const keys = softKeys()

beforeEach(async () => {
  db = await testDatabase()
})
afterEach(async () => {
  await Promise.all(logs.splice(0).map((log) => log.close()))
  await db.close()
})

function openLog(): PgAuditLog {
  const log = new PgAuditLog({ connect: db.database.connect, macGroup: keys.macGroup, blindIndex: keys.blindIndex, writers: 2, appenders: 1 })
  logs.push(log)
  return log
}

const begin = async (log: PgAuditLog, operation = 'test.thing.do', parent?: OperationId): Promise<OperationId> => {
  const id = newOperationId()
  await log.transact(({ append }) => Promise.resolve(append(draftOf('intent', id, { operation, ...(parent === undefined ? {} : { parent }) }))))
  return id
}
const pass = (log: PgAuditLog, resolvers: ReadonlyMap<string, Resolver> = new Map(), graceMs = 0): Promise<ReconcileReport> =>
  reconcile({ log, store: new PgOpenIntentStore(db.sql), resolvers, graceMs })

async function entries(): Promise<Entry[]> {
  const rows = await db.sql.query<{ bundle: Buffer }>('SELECT bundle FROM audit_groups ORDER BY created_at')
  return rows.flatMap(({ bundle }) => decodeBundle(bundle).map(parseEntry))
}

describe('reconciling', () => {
  it('closes what a dead process left open, once, and leaves the living alone', async () => {
    const [dead, living, closer] = [openLog(), openLog(), openLog()]
    const lost = await begin(dead, 'test.thing.do', newOperationId())
    const running = await begin(living)
    expect(await pass(closer)).toEqual({ closed: {}, ended: 0, failed: [] })
    await dead.close()
    expect(await pass(closer, new Map(), 60_000)).toEqual({ closed: {}, ended: 0, failed: [] })
    expect(await pass(closer)).toEqual({ closed: { abandoned: 1 }, ended: 0, failed: [] })
    expect(await pass(closer)).toEqual({ closed: {}, ended: 0, failed: [] })
    const [, outcome] = (await entries()).filter(({ id }) => id === lost)
    expect(outcome).toMatchObject({
      kind: 'outcome',
      effect: 'durable',
      operation: 'test.thing.do',
      code: 'abandoned',
      caller: { kind: 'system', name: 'reconcile' },
    })
    expect(outcome?.parent).toBeDefined()
    await living.transact(({ append }) => Promise.resolve(append(draftOf('outcome', running))))
    await expect(living.transact(({ append }) => Promise.resolve(append(draftOf('outcome', lost))))).rejects.toMatchObject({ code: 'conflict' })
  })

  it('finds the intents of an epoch whose slot somebody else has taken', async () => {
    const dead = openLog()
    await begin(dead)
    await dead.close()
    const next = openLog()
    await next.transact(({ append }) => Promise.resolve(append(draftOf('event'))))
    const slots = await db.sql.query('SELECT writer FROM audit_writers GROUP BY writer HAVING count(*) > 1')
    expect(slots).toHaveLength(1)
    expect(await pass(next)).toMatchObject({ closed: { abandoned: 1 } })
  })

  it('asks the operation\u2019s resolver, whose rows commit with the outcome; one that fails leaves it open', async () => {
    await db.ownerSql.query('CREATE TABLE undone (id text PRIMARY KEY)')
    await db.ownerSql.query('GRANT SELECT, INSERT ON undone TO gridseal_service')
    const [dead, closer] = [openLog(), openLog()]
    const id = await begin(dead, 'test.undo')
    await begin(dead, 'test.fail')
    await dead.close()
    const undo: Resolver = async (tx, intent) => {
      await sqlOf(tx).query('INSERT INTO undone VALUES ($1)', [intent.id])
      return { code: 'undone', facts: { public: { left: 0 } } }
    }
    const fail: Resolver = async (tx, intent) => {
      await undo(tx, intent)
      throw new Error('not now')
    }
    const report = await pass(
      closer,
      new Map([
        ['test.undo', undo],
        ['test.fail', fail],
      ]),
    )
    expect(report).toMatchObject({ closed: { undone: 1 }, failed: [{ reason: 'not now' }] })
    expect(await db.sql.query('SELECT id FROM undone')).toEqual([{ id }])
    expect(await pass(closer)).toMatchObject({ closed: { abandoned: 1 } })
  })

  it('closes what this process has given up, though its writer lives, and what another did not, not', async () => {
    const [living, closer] = [openLog(), openLog()]
    const [lost, running] = [await begin(living), await begin(living)]
    closer.giveUp(lost)
    const late = (graceMs: number): Promise<ReconcileReport> =>
      reconcile({ log: closer, store: new PgOpenIntentStore(db.sql), resolvers: new Map(), graceMs, givenUp: closer.givenUp })
    expect(await late(60_000)).toMatchObject({ closed: {} })
    expect([...closer.givenUp]).toEqual([lost])
    expect(await late(0)).toMatchObject({ closed: { abandoned: 1 } })
    expect(closer.givenUp.size).toBe(0)
    expect(await db.sql.query('SELECT operation_id AS id FROM open_intents')).toEqual([{ id: running }])
    // One whose outcome was committed after all is not open.
    closer.giveUp(lost)
    expect(await late(0)).toEqual({ closed: {}, ended: 0, failed: [] })
    expect(closer.givenUp.size).toBe(0)
  })

  it('reports an intent whose entry is gone, and does not close it', async () => {
    const dead = openLog()
    const id = await begin(dead)
    await dead.close()
    await db.ownerSql.query('ALTER TABLE audit_groups DISABLE TRIGGER USER')
    await db.ownerSql.query('DELETE FROM audit_groups')
    expect(await pass(openLog())).toMatchObject({ closed: {}, failed: [{ operationId: id, reason: expect.stringContaining('missing') as string }] })
  })
})

describe('kill -9', () => {
  it('loses nothing that was acknowledged, and what was open is closed', { timeout: 60_000 }, async () => {
    for (let trial = 0; trial < 3; trial += 1) {
      const script = fileURLToPath(new URL('./testing/crashing-writer.ts', import.meta.url))
      const child = spawn(process.execPath, ['--import', 'tsx', script, db.serviceUrl], { stdio: ['ignore', 'pipe', 'inherit'] })
      let said = ''
      child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
      const exited = once(child, 'close')
      await expect.poll(() => said.split('\n').length, { timeout: 20_000, interval: 7 }).toBeGreaterThan(200 + 37 * trial)
      child.kill('SIGKILL')
      await exited
      const written = new Set((await entries()).map(({ kind, id, effect }) => `${kind === 'outcome' && effect === 'transient' ? 'single' : kind} ${id}`))
      const acknowledged = said.slice(0, said.lastIndexOf('\n')).split('\n')
      expect(acknowledged.length).toBeGreaterThan(100)
      expect(acknowledged.filter((line) => !written.has(line))).toEqual([])
      const closer = openLog()
      await expect.poll(async () => (await pass(closer), (await db.sql.query('SELECT FROM open_intents')).length), { timeout: 5000 }).toBe(0)
    }
    const all = await entries()
    const outcomes = new Set(all.filter(({ kind, effect }) => kind === 'outcome' && effect === 'durable').map(({ id }) => id))
    expect(all.filter(({ kind, id }) => kind === 'intent' && !outcomes.has(id))).toEqual([])
    expect(outcomes.size).toBe(all.filter(({ kind }) => kind === 'intent').length)
  })
})

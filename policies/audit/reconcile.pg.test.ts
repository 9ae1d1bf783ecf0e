import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { newOperationId, type OperationId } from '../../core/ids.ts'
import { sqlOf } from '../../core/tx.ts'
import { testDatabase, type TestDatabase } from '../../server/postgres/test-database.ts'
import { encodeEntry, type Entry, parseEntry } from './entry.ts'
import { decodeBundle, encodeBundle, nextChain, startChain } from './group.ts'
import { PgAuditLog } from './log.pg.ts'
import { reconcile, type ReconcileReport, type Resolver } from './reconcile.ts'
import { PgOpenIntentStore } from './reconcile.pg.ts'
import { draftOf } from './testing/drafts.ts'
import { softKeys } from './testing/soft-keys.ts'

let db: TestDatabase
const logs: PgAuditLog[] = []
const seed = Buffer.alloc(32, 7)
const keys = softKeys(seed)

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
  reconcile({ log, store: new PgOpenIntentStore(db.sql, keys), resolvers, graceMs })

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
      reconcile({ log: closer, store: new PgOpenIntentStore(db.sql, keys), resolvers: new Map(), graceMs, givenUp: closer.givenUp })
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

describe('who writes to the tables', () => {
  const put = 'INSERT INTO open_intents (operation_id, writer, epoch, seq) VALUES ($1, $2, $3, $4)'

  it('cannot have an operation closed that never began', async () => {
    const log = openLog()
    await log.append(draftOf('event'))
    const forged = encodeEntry(draftOf('intent', undefined, { operation: 'kms.key.destroy' }), {
      ...{ time: new Date(), writer: { slot: 7, epoch: 1, seq: 0 }, effect: 'durable', salt: () => new Uint8Array(16) },
    })
    const { id } = parseEntry(forged.bytes)
    const bundle = encodeBundle([forged.bytes])
    await db.ownerSql.query(
      `INSERT INTO audit_groups (writer, epoch, first_seq, count, bundle, chain, mac) SELECT 7, 1, 0, 1, $1, $2, mac FROM audit_groups LIMIT 1`,
      [bundle, nextChain(startChain(7, 1), bundle)],
    )
    await db.ownerSql.query(put, [id, 7, 1, 0])
    expect(await pass(log)).toMatchObject({ closed: {}, failed: [{ operationId: id }] })
    expect((await entries()).filter(({ kind }) => kind === 'outcome')).toEqual([])
  })

  it('cannot have an operation closed as another one', async () => {
    const [dead, closer] = [openLog(), openLog()]
    const id = await begin(dead, 'test.thing.do')
    await dead.close()
    await db.ownerSql.query('ALTER TABLE audit_groups DISABLE TRIGGER USER')
    const bundle = `convert_to(replace(convert_from(substring(bundle FROM 3), 'UTF8'), 'thing.do', 'thing.go'), 'UTF8')`
    await db.ownerSql.query(`UPDATE audit_groups SET bundle = substring(bundle FOR 2) || ${bundle}`)
    expect((await entries())[0]?.operation).toBe('test.thing.go')
    expect(await pass(closer)).toMatchObject({ closed: {}, failed: [{ operationId: id }] })
  })
})

describe('kill -9', () => {
  it('loses nothing that was acknowledged, and what was open is closed', { timeout: 60_000 }, async () => {
    for (let trial = 0; trial < 3; trial += 1) {
      const script = fileURLToPath(new URL('./testing/crashing-writer.ts', import.meta.url))
      const child = spawn(process.execPath, ['--import', 'tsx', script, db.serviceUrl, seed.toString('hex')], { stdio: ['ignore', 'pipe', 'inherit'] })
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

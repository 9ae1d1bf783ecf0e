import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest'
import { newOperationId, type OperationId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { type Sql, sqlOf } from '../../core/tx.ts'
import { testDatabase, type TestDatabase } from '../../server/postgres/test-database.ts'
import { commitmentOf, type Entry, parseEntry } from './entry.ts'
import { decodeBundle } from './group.ts'
import { type AuditLogSettings, PgAuditLog } from './log.pg.ts'
import { breaker } from './testing/breaking-client.ts'
import { draftOf } from './testing/drafts.ts'
import { softKeys } from './testing/soft-keys.ts'

let db: TestDatabase
const logs: PgAuditLog[] = []
const keys = softKeys()

beforeAll(async () => {
  db = await testDatabase()
  await db.ownerSql.query('CREATE TABLE things (id text PRIMARY KEY)')
  await db.ownerSql.query('GRANT SELECT, INSERT ON things TO gridseal_service')
})
afterEach(async () => void (await Promise.all(logs.splice(0).map((log) => log.close()))))
afterAll(() => db.close())

function openLog(settings: Partial<AuditLogSettings> = {}): PgAuditLog {
  const log = new PgAuditLog({ connect: db.database.connect, macGroup: keys.macGroup, blindIndex: keys.blindIndex, ...settings })
  logs.push(log)
  return log
}

async function entries(): Promise<Entry[]> {
  const rows = await db.sql.query<{ bundle: Buffer }>('SELECT bundle FROM audit_groups ORDER BY created_at')
  return rows.flatMap(({ bundle }) => decodeBundle(bundle).map(parseEntry))
}
const countOf = async (id: string): Promise<number> => (await entries()).filter((entry) => entry.id === id).length
const thing = async (id: string): Promise<boolean> => (await db.sql.query('SELECT FROM things WHERE id = $1', [id])).length === 1
const isOpen = async (id: string): Promise<boolean> => (await db.sql.query('SELECT FROM open_intents WHERE operation_id = $1', [id])).length === 1
const problem = (code: string) => expect.objectContaining({ name: 'Problem', code }) as Problem

describe('a transaction on the log', () => {
  it('commits rows and entries together, numbers them densely, and gives back what the work returned', async () => {
    const log = openLog({ writers: 1 })
    const [a, b] = [newOperationId(), newOperationId()]
    const result = await log.transact(async ({ tx, append }) => {
      await sqlOf(tx).query('INSERT INTO things VALUES ($1)', [a])
      append(draftOf('intent', a))
      append(draftOf('item', a))
      return 'done'
    })
    await log.transact(({ append }) => Promise.resolve(append(draftOf('event', b))))
    expect(result).toBe('done')
    expect(await thing(a)).toBe(true)
    const mine = (await entries()).filter(({ id }) => id === a || id === b)
    expect(mine.map(({ kind, writer }) => [kind, writer.seq])).toEqual([
      ['intent', 0],
      ['item', 1],
      ['event', 2],
    ])
    expect(new Set(mine.map(({ writer }) => `${writer.slot}/${writer.epoch}`)).size).toBe(1)
  })

  it('leaves neither row nor entry when the work throws, and throws that on unchanged', async () => {
    const log = openLog({ writers: 1 })
    const id = newOperationId()
    for (const thrown of [new Problem('not-found', 'no'), new TypeError('connection of thoughts terminated')]) {
      const failing = log.transact(async ({ tx, append }) => {
        await sqlOf(tx).query('INSERT INTO things VALUES ($1)', [id])
        append(draftOf('intent', id))
        throw thrown
      })
      await expect(failing).rejects.toBe(thrown)
    }
    await expect(log.transact(({ tx, append }) => (append(draftOf('event', id)), sqlOf(tx).query('SELECT 1/0')))).rejects.toMatchObject({ code: '22012' })
    expect([await thing(id), await countOf(id), await isOpen(id)]).toEqual([false, 0, false])
    await log.transact(({ append }) => Promise.resolve(append(draftOf('event', id))))
    expect(await countOf(id)).toBe(1)
  })

  it('does not commit without an entry, after a failed statement, or for who kept the transaction', async () => {
    const log = openLog({ writers: 1 })
    const id = newOperationId()
    await expect(log.transact(({ tx }) => sqlOf(tx).query('INSERT INTO things VALUES ($1)', [id]))).rejects.toThrow('no entry')
    const swallowing = log.transact(async ({ tx, append }) => {
      append(draftOf('event', id))
      await sqlOf(tx)
        .query('SELECT 1/0')
        .catch(() => undefined)
    })
    await expect(swallowing).rejects.toMatchObject({ code: 'log-unavailable' })
    expect([await thing(id), await countOf(id)]).toEqual([false, 0])
    const kept = await log.transact(async ({ tx, append }) => (append(draftOf('event')), sqlOf(tx)))
    await expect(kept.query('SELECT 1')).rejects.toThrow('over')
  })

  it('opens an operation by its intent and closes it by its outcome, once', async () => {
    const log = openLog()
    const id = newOperationId()
    await log.transact(({ append }) => Promise.resolve(append(draftOf('intent', id))))
    expect(await isOpen(id)).toBe(true)
    const close = (): Promise<void> =>
      log.transact(async ({ tx, append }) => {
        await sqlOf(tx).query('INSERT INTO things VALUES ($1)', [newOperationId()])
        append(draftOf('outcome', id))
      })
    await close()
    expect(await isOpen(id)).toBe(false)
    await expect(close()).rejects.toEqual(problem('conflict'))
    await expect(log.transact(({ append }) => Promise.resolve(append(draftOf('outcome'))))).rejects.toEqual(problem('conflict'))
    expect((await entries()).filter((entry) => entry.id === id).map(({ kind, effect }) => [kind, effect])).toEqual([
      ['intent', undefined],
      ['outcome', 'durable'],
    ])
  })

  it('that begins and ends an operation leaves nothing open', async () => {
    const id = newOperationId()
    await openLog().transact(async ({ append }) => (append(draftOf('intent', id)), append(draftOf('outcome', id))))
    expect([await countOf(id), await isOpen(id)]).toEqual([2, false])
  })

  it('is shared by those that wait: they commit as one group, and each gets its own answer', async () => {
    const log = openLog({ writers: 1 })
    const ids = Array.from({ length: 8 }, () => newOperationId())
    const insert = (id: OperationId): Promise<OperationId> =>
      log.transact(async ({ tx, append }) => {
        await sqlOf(tx).query('INSERT INTO things VALUES ($1)', [id])
        append(draftOf('event', id))
        return id
      })
    expect(await Promise.all(ids.map(insert))).toEqual(ids)
    const groups = await db.sql.query<{ count: number }>('SELECT count FROM audit_groups ORDER BY created_at DESC LIMIT 2')
    // The first is taken by the free writer; the others wait for it.
    expect(groups.map(({ count }) => count)).toEqual([7, 1])
    for (const id of ids) expect([await thing(id), await countOf(id)]).toEqual([true, 1])
  })

  it.each<[what: string, fail: (sql: Sql) => Promise<unknown>, refusal: unknown]>([
    ['whose work refuses', () => Promise.reject(new Problem('conflict', 'Taken.')), problem('conflict')],
    ['whose statement fails', (sql) => sql.query('SELECT 1/0'), expect.objectContaining({ code: '22012' })],
    ['that swallows a failed statement', (sql) => sql.query('SELECT 1/0').catch(() => undefined), problem('log-unavailable')],
  ])('%s fails alone among those it was to share with', async (_what, fail, refusal) => {
    const log = openLog({ writers: 1 })
    const ids = Array.from({ length: 6 }, () => newOperationId())
    const settled = await Promise.allSettled(
      ids.map((id, at) =>
        log.transact(async ({ tx, append }) => {
          await sqlOf(tx).query('INSERT INTO things VALUES ($1)', [id])
          append(draftOf('event', id))
          if (at === 3) await fail(sqlOf(tx))
        }),
      ),
    )
    for (const [at, id] of ids.entries()) {
      expect(settled[at]).toEqual(at === 3 ? { status: 'rejected', reason: refusal } : { status: 'fulfilled', value: undefined })
      expect([await thing(id), await countOf(id)]).toEqual(at === 3 ? [false, 0] : [true, 1])
    }
  })

  it('whose MAC the token does not give is refused to all that share it, and is not tried for each', async () => {
    const asked: number[] = []
    const log = openLog({ writers: 1, macGroup: () => (asked.push(1), Promise.reject(new Problem('hsm-unavailable', 'away'))) })
    const settled = await Promise.allSettled(Array.from({ length: 8 }, () => log.transact(({ append }) => Promise.resolve(append(draftOf('event'))))))
    expect(settled).toEqual(settled.map(() => ({ status: 'rejected', reason: problem('hsm-unavailable') })))
    // The first by itself, the others together.
    expect(asked).toHaveLength(2)
  })

  it('whose entry the client cannot even send leaves no rows', async () => {
    const unsendable = {
      toPostgres: () => {
        throw new TypeError('no such value')
      },
    } as unknown as Uint8Array
    const log = openLog({ writers: 1, macGroup: () => Promise.resolve(unsendable) })
    const id = newOperationId()
    const failing = log.transact(async ({ tx, append }) => {
      await sqlOf(tx).query('INSERT INTO things VALUES ($1)', [id])
      append(draftOf('event', id))
    })
    await expect(failing).rejects.toEqual(problem('log-unavailable'))
    expect([await thing(id), await countOf(id)]).toEqual([false, 0])
  })

  it('of many that take the same thing is given to one', async () => {
    const log = openLog({ writers: 2 })
    const [thingId, ids] = [newOperationId(), Array.from({ length: 20 }, () => newOperationId())]
    const settled = await Promise.allSettled(
      ids.map((id) =>
        log.transact(async ({ tx, append }) => {
          const taken = await sqlOf(tx).query('INSERT INTO things VALUES ($1) ON CONFLICT DO NOTHING RETURNING 1', [thingId])
          if (taken.length === 0) throw new Problem('conflict', 'Taken.')
          append(draftOf('event', id))
        }),
      ),
    )
    expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect((await Promise.all(ids.map(countOf))).filter((count) => count === 1)).toHaveLength(1)
  })

  it('keeps personal values apart from the entry, under a commitment that they open', async () => {
    const id = newOperationId()
    const personal = { iccid: '89860012345678901234', name: 'Li "x" \\ {y}, 李' }
    await openLog().transact(({ append }) => Promise.resolve(append(draftOf('event', id, { facts: { personal } }))))
    await openLog().append(draftOf('outcome', id, { facts: { personal } }))
    const rows = await db.sql.query<{ name: string; value: string; salt: Buffer; blind_index: Buffer }>(
      'SELECT * FROM audit_personal WHERE operation_id = $1 ORDER BY name',
      [id],
    )
    expect(rows.map(({ value }) => value)).toEqual([personal.iccid, personal.iccid, personal.name, personal.name])
    expect(new Set(rows.map(({ salt }) => salt.toString('hex'))).size).toBe(4)
    const committed = (await entries())
      .filter((entry) => entry.id === id)
      .flatMap((entry) => Object.values(entry.personal ?? {}).map(({ commitment }) => commitment))
    expect(rows.map(commitmentOf).sort()).toEqual(committed.sort())
    const [blind] = await keys.blindIndex([{ name: 'iccid', value: personal.iccid }])
    expect(rows.filter((row) => row.blind_index.equals(blind ?? Buffer.of()))).toHaveLength(2)
  })

  it('waits its turn for a slot, and is refused when too many wait or it waits too long', async () => {
    const log = openLog({ writers: 1, maxWaiting: 1, waitMs: 50 })
    let free = (): void => undefined
    let holding: Promise<void> | undefined
    await new Promise<void>((begun) => {
      holding = log.transact(({ append }) => {
        append(draftOf('event'))
        begun()
        return new Promise<void>((resolve) => (free = resolve))
      })
    })
    const event = () => log.transact(({ append }) => Promise.resolve(append(draftOf('event'))))
    const waiting = event()
    await expect(event()).rejects.toEqual(problem('log-unavailable'))
    await expect(waiting).rejects.toEqual(problem('log-unavailable'))
    const second = event()
    free()
    await Promise.all([holding, second])
  })
})

describe('single entries', () => {
  it('share group commits: a hundred callers, a few groups, all durable', async () => {
    const log = openLog({ appenders: 1 })
    const ids = Array.from({ length: 100 }, () => newOperationId())
    await log.append(draftOf('event'))
    const before = await db.sql.query('SELECT FROM audit_groups')
    await Promise.all(ids.map((id) => log.append(draftOf('outcome', id))))
    expect((await db.sql.query('SELECT FROM audit_groups')).length - before.length).toBeLessThan(5)
    const mine = (await entries()).filter(({ id }) => ids.includes(id))
    expect(mine.map(({ writer }) => writer.seq)).toEqual(Array.from({ length: 100 }, (_, at) => at + 1))
    expect(mine.every(({ effect }) => effect === 'transient')).toBe(true)
  })

  it('that cannot be written fail alone', async () => {
    const log = openLog({ appenders: 1 })
    const id = newOperationId()
    const long = draftOf('outcome', id, { facts: { public: { list: 'x'.repeat(70_000) } } })
    const results = await Promise.allSettled([log.append(draftOf('outcome', id)), log.append(long), log.append(draftOf('refusal', id))])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect((await entries()).filter((entry) => entry.id === id).map(({ writer }) => writer.seq)).toEqual([0, 1])
    await expect(log.append(draftOf('intent'))).rejects.toThrow('transact')
  })

  it('are refused at once when the queue is full, or the token does not MAC', async () => {
    const log = openLog({ maxQueued: 2 })
    const results = await Promise.allSettled(Array.from({ length: 3 }, () => log.append(draftOf('event'))))
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected'])
    const away = new Problem('hsm-unavailable', 'away')
    const silent = openLog({ macGroup: () => Promise.reject(away) })
    const id = newOperationId()
    await expect(silent.append(draftOf('event', id))).rejects.toBe(away)
    await expect(silent.transact(({ append }) => Promise.resolve(append(draftOf('event', id))))).rejects.toBe(away)
    expect(await countOf(id)).toBe(0)
  })
})

describe('a lost connection', () => {
  it('between transactions costs nobody anything: the slot is taken again under a new epoch', async () => {
    const broken = breaker(db.database.connect)
    const log = openLog({ connect: broken.connect, writers: 1 })
    const event = (id = newOperationId()) => log.transact(({ append }) => Promise.resolve(append(draftOf('event', id))))
    await event()
    broken.breakAt(/^BEGIN/, 'before')
    const reading = log.transact(({ tx, append }) => (append(draftOf('event')), sqlOf(tx).query('SELECT 1')))
    await expect(reading).rejects.toEqual(problem('database-unavailable'))
    const id = newOperationId()
    await event(id)
    const entry = (await entries()).find((one) => one.id === id)
    expect(entry?.writer.seq).toBe(0)
  })

  it('in the work is database-unavailable, and nothing is committed', async () => {
    const broken = breaker(db.database.connect)
    const log = openLog({ connect: broken.connect, writers: 1 })
    const id = newOperationId()
    broken.breakAt(/things/, 'after')
    const lost = log.transact(async ({ tx, append }) => {
      append(draftOf('intent', id))
      await sqlOf(tx).query('INSERT INTO things VALUES ($1)', [id])
    })
    await expect(lost).rejects.toEqual(problem('database-unavailable'))
    expect([await thing(id), await countOf(id), await isOpen(id)]).toEqual([false, 0, false])
  })

  it.each([
    ['before', 'so that it did not happen: the caller is told so, and nothing stands'],
    ['after', 'which had happened: it is looked up, and the caller gets the answer'],
  ] as const)('%s COMMIT was heard, %s', async (when, _what) => {
    const broken = breaker(db.database.connect)
    const log = openLog({ connect: broken.connect, writers: 1 })
    const id = newOperationId()
    broken.breakAt(/^COMMIT/, when)
    const lost = log.transact(async ({ tx, append }) => {
      append(draftOf('intent', id))
      await sqlOf(tx).query('INSERT INTO things VALUES ($1)', [id])
      return 'answer'
    })
    if (when === 'after') await expect(lost).resolves.toBe('answer')
    else await expect(lost).rejects.toEqual(problem('log-unavailable'))
    const stands = when === 'after'
    expect([await thing(id), await countOf(id), await isOpen(id)]).toEqual([stands, stands ? 1 : 0, stands])
    await log.transact(({ append }) => Promise.resolve(append(draftOf('event'))))
  })

  it.each(['before', 'after'] as const)('%s the answer of a transaction that is one statement: the same', async (when) => {
    const broken = breaker(db.database.connect)
    const log = openLog({ connect: broken.connect, writers: 1 })
    const id = newOperationId()
    broken.breakAt(/INSERT INTO audit_groups/, when)
    const lost = log.transact(({ append }) => Promise.resolve(append(draftOf('intent', id))))
    if (when === 'after') await lost
    else await expect(lost).rejects.toEqual(problem('log-unavailable'))
    const stands = when === 'after'
    expect([await countOf(id), await isOpen(id)]).toEqual([stands ? 1 : 0, stands])
  })

  it.each(['before', 'after'] as const)('%s the answer of a group of single entries: the same', async (when) => {
    const broken = breaker(db.database.connect)
    const log = openLog({ connect: broken.connect, appenders: 1 })
    const ids = [newOperationId(), newOperationId()]
    broken.breakAt(/INSERT INTO audit_groups/, when)
    const results = await Promise.allSettled(ids.map((id) => log.append(draftOf('outcome', id))))
    const stands = when === 'after'
    expect(results.map(({ status }) => status === 'fulfilled')).toEqual([stands, stands])
    expect(await Promise.all(ids.map(countOf))).toEqual(stands ? [1, 1] : [0, 0])
    await log.append(draftOf('event'))
  })

  it('whose commit cannot be looked up is never acknowledged', async () => {
    const broken = breaker(db.database.connect)
    const log = openLog({ connect: broken.connect, writers: 1, appenders: 1, settleMs: 100 })
    await log.append(draftOf('event'))
    broken.breakAt(/INSERT INTO audit_groups/, 'after')
    broken.refuse(true)
    await expect(log.append(draftOf('event'))).rejects.toEqual(problem('log-unavailable'))
    await expect(log.append(draftOf('event'))).rejects.toEqual(problem('database-unavailable'))
    broken.refuse(false)
    await log.append(draftOf('event'))
  })

  it('again and again, by an administrator: what is acknowledged stands, what is refused as not committed does not', async () => {
    const admin = new pg.Client({ connectionString: inject('testServer') })
    await admin.connect()
    const log = openLog({ writers: 3, appenders: 1 })
    const said = new Map<string, string>()
    const write = async (isSingle: boolean): Promise<void> => {
      const id = newOperationId()
      const work = isSingle ? log.append(draftOf('event', id)) : log.transact(({ append }) => Promise.resolve(append(draftOf('event', id))))
      said.set(
        id,
        await work.then(
          () => 'ok',
          (error: unknown) => (error instanceof Problem ? error.code : String(error)),
        ),
      )
    }
    const until = performance.now() + 1500
    const callers = Array.from({ length: 8 }, async (_, at) => {
      while (performance.now() < until) await write(at % 2 === 0)
    })
    while (performance.now() < until) {
      await admin.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'gridseal' AND query !~ 'bundle FROM'`,
        [new URL(db.serviceUrl).pathname.slice(1)],
      )
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await Promise.all(callers)
    await admin.end()
    const written = new Set((await entries()).map(({ id }) => String(id)))
    // Which refusal a lost connection brings depends on when it is lost.
    expect([...new Set(said.values())].sort().join()).toMatch(/^((database|log)-unavailable,)+ok$/)
    for (const [id, code] of said) if (code !== 'log-unavailable') expect([id, code, written.has(id)]).toEqual([id, code, code === 'ok'])
  })
})

describe('two logs on one database', () => {
  it('never share a slot and epoch', async () => {
    const [a, b] = [openLog({ writers: 2, appenders: 1 }), openLog({ writers: 2, appenders: 1 })]
    const ids = Array.from({ length: 40 }, () => newOperationId())
    await Promise.all(ids.map((id, at) => (at % 2 === 0 ? a : b).transact(({ append }) => Promise.resolve(append(draftOf('event', id))))))
    const places = (await entries()).filter(({ id }) => ids.includes(id)).map(({ writer }) => `${writer.slot}/${writer.epoch}/${writer.seq}`)
    expect(new Set(places).size).toBe(40)
  })
})

describe('the log\u2019s tables', () => {
  it.each(['audit_writers', 'audit_groups', 'audit_entries', 'audit_entries_0', 'audit_tiles', 'audit_checkpoints'])(
    '%s: the service cannot change or delete, nor its owner by mistake',
    async (table) => {
      const column = { audit_writers: 'epoch', audit_groups: 'count', audit_checkpoints: 'size' }[table] ?? 'index'
      for (const statement of [`UPDATE ${table} SET ${column} = ${column}`, `DELETE FROM ${table}`, `TRUNCATE ${table}`]) {
        await expect(db.sql.query(statement)).rejects.toMatchObject({ code: '42501' })
        await expect(db.ownerSql.query(statement)).rejects.toThrow(/append-only|42501/)
      }
    },
  )
})

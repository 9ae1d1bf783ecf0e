import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { digestRow, type RowDigest } from '../../core/row.ts'
import { testDatabase, type TestDatabase } from '../../server/postgres/test-database.ts'
import { type AuditFeature, auditFeature } from '../audit/index.ts'
import { draftOf } from '../audit/testing/drafts.ts'
import { softKeys } from '../audit/testing/soft-keys.ts'
import type { CheckOptions } from './check.ts'
import { type IntegrityDeps, type IntegrityFeature, integrityFeature } from './index.ts'
import { keyOf } from './row-book.ts'

const keys = softKeys()
let db: TestDatabase
let folder: string
let audit: AuditFeature

beforeEach(async () => {
  db = await testDatabase()
  folder = mkdtempSync(join(tmpdir(), 'gridseal-check-'))
  audit = auditFeature({
    ...{ sql: db.sql, connect: db.database.connect, integrity: keys, origin: 'grid.example/audit', checkpointFile: join(folder, 'checkpoint'), writers: 2 },
  })
})
afterEach(async () => {
  await audit.close()
  await db.close()
  rmSync(folder, { recursive: true })
})

const thing = (version: number): RowDigest => digestRow({ table: 'things', schema: 1, id: 'one', version, columns: {} })

async function write(count: number): Promise<void> {
  for (let at = 0; at < count; at += 1) await audit.log.append(draftOf('event'))
}

/** Of a log alone: no tables, and no schema. */
const featureOf = (parts: Partial<IntegrityDeps> = {}): IntegrityFeature =>
  integrityFeature({
    ...{ sql: db.sql, audit, tables: () => [], dependents: () => [], schema: () => Promise.resolve([]), everyHours: 0, now: () => new Date() },
    reviewRows: (rows) => Promise.resolve(rows.map(() => 'current')),
    checkGroups: keys.checkGroups,
    ...parts,
  })

async function found(options?: CheckOptions): Promise<string[]> {
  return (await featureOf().check(options)).findings.map(({ code, subject }) => `${code}: ${subject}`)
}

describe('the log', () => {
  it('may grow while it is compared', async () => {
    await write(20)
    const between = async (): Promise<void> => {
      await write(5)
      await audit.flush()
      await write(1)
    }
    expect(await found({ between })).toEqual([])
  })

  it('has no more groups than its entries are in', async () => {
    await write(20)
    await audit.log.transact(({ append }) => Promise.resolve([append(draftOf('event')), append(draftOf('event'))]))
    await audit.flush()
    await db.ownerSql.query(
      `INSERT INTO audit_groups (writer, epoch, first_seq, count, bundle, chain, mac)
       SELECT writer, epoch, first_seq + 1, count, bundle, chain, mac FROM audit_groups WHERE count = 2`,
    )
    const [pair] = await db.sql.query<{ writer: number; epoch: number }>('SELECT writer, epoch FROM audit_groups GROUP BY 1, 2 ORDER BY max(count) DESC')
    const epoch = `group writer ${String(pair?.writer)}, epoch ${String(pair?.epoch)}`
    expect(await found()).toEqual([`group-added: ${epoch}, sequence 1`])
    // Behind the last one, and in an epoch that has no entry.
    await db.ownerSql.query('ALTER TABLE audit_groups DISABLE TRIGGER USER')
    await db.ownerSql.query(`UPDATE audit_groups SET first_seq = first_seq + 1 WHERE first_seq = 1 AND count = 2`)
    await db.ownerSql.query(`UPDATE audit_sequenced SET next_seq = 3 WHERE next_seq = 2`)
    await db.ownerSql.query('INSERT INTO audit_sequenced SELECT 99, 1, next_seq, chain, false FROM audit_sequenced LIMIT 1')
    await db.ownerSql.query('INSERT INTO audit_groups SELECT 99, 1, 0, count, bundle, chain, mac FROM audit_groups LIMIT 1')
    expect((await found()).sort()).toEqual([`group-added: ${epoch}, sequence 2`, 'group-added: group writer 99, epoch 1, sequence 0'])
  })

  it('keeps no group that its leader does not look for', async () => {
    await write(3)
    await audit.flush()
    expect(await found()).toEqual([])
    const keep = async (statement: string): Promise<string[]> => {
      await db.ownerSql.query(statement)
      await write(2)
      await audit.flush()
      return found()
    }
    const hidden = ['group-hidden: groups of writer 0, epoch 1']
    expect(await keep('UPDATE audit_sequenced SET drained = true')).toEqual(hidden)
    await keep('UPDATE audit_sequenced SET drained = false')
    expect(await found()).toEqual([])
    await db.ownerSql.query('ALTER TABLE audit_writers DISABLE TRIGGER USER')
    expect(await keep('DELETE FROM audit_writers')).toEqual(hidden)
  })

  it('has no checkpoint over more entries than there are', async () => {
    await write(20)
    await audit.flush()
    await db.ownerSql.query(`INSERT INTO audit_checkpoints (size, note) SELECT 1000000, note FROM audit_checkpoints`)
    expect(await found()).toEqual(['checkpoint-invalid: checkpoint 1000000'])
  })
})

describe('a row', () => {
  it('that is gone is told, though the entry that names it last will not be sequenced', async () => {
    await audit.log.append(draftOf('event', undefined, { facts: { rows: [thing(1)] } }))
    await audit.flush()
    await audit.log.append(draftOf('event', undefined, { facts: { rows: [thing(2)] } }))
    await write(1)
    await db.ownerSql.query('ALTER TABLE audit_groups DISABLE TRIGGER USER')
    await db.ownerSql.query(`UPDATE audit_groups SET mac = sha256(mac) WHERE first_seq = (SELECT max(first_seq) FROM audit_groups)`)
    expect(await found()).toEqual([
      'log-stopped: the log: group-mac',
      'group-mac: group writer 0, epoch 1, sequence 2',
      `row-deleted: things with hash ${keyOf(thing(2))}`,
    ])
  })
})

describe('a whole comparison', () => {
  const events = async (): Promise<number> => {
    await audit.flush()
    const asked = await audit.searcher.prepare({ field: 'operation', is: ['system.integrity-checked'] })
    return (await audit.searcher.search(asked, { order: 'oldest', limit: 10 })).entries.length
  }
  const turns = async (): Promise<Date | undefined> => {
    const { job } = featureOf({ everyHours: 24, pollMs: 20 })
    job.start()
    await new Promise((resolve) => setTimeout(resolve, 500))
    await job.stop()
    return job.status.lastPassAt
  }

  it('is made once in its hours by whatever process, whoever says in a table that it was made', { timeout: 20_000 }, async () => {
    await audit.start()
    await db.ownerSql.query(
      `INSERT INTO integrity_passes (started_at, ended_at, entries, rows, findings) VALUES (now() + interval '1 year', now(), 1000000, 0, 0)`,
    )
    await turns()
    expect(await events()).toBe(1)
    expect(Math.abs(Number(await turns()) - Date.now())).toBeLessThan(10_000)
    expect(await events()).toBe(1)
    // Nor is it by an entry of somebody else.
    await audit.log.append(draftOf('event', undefined, { operation: 'system.integrity-checked', facts: { public: { entries: 7, findings: 3 } } }))
    expect(await events()).toBe(2)
    await turns()
    expect(await events()).toBe(2)
  })
})

import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { newOperationId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { testDatabase, type TestDatabase } from '../../server/postgres/test-database.ts'
import { type LogKey, logKey, openCheckpoint } from './checkpoint.ts'
import { checkpointFile } from './checkpoint-file.ts'
import type { AuditKeys } from './index.ts'
import { PgAuditLog } from './log.pg.ts'
import type { LogFault, LogFaultCode } from './log-fault.ts'
import { exportChunks } from './export/stream.ts'
import { PgLogReader } from './reader.pg.ts'
import { Sequencer, type SequencerSettings } from './sequencer.ts'
import { PgSequencerStore } from './sequencer.pg.ts'
import { breaker } from './testing/breaking-client.ts'
import { draftOf } from './testing/drafts.ts'
import { softKeys } from './testing/soft-keys.ts'
import { type LogReport, LogVerifier } from './verify.ts'
import { verifyExport } from './verify-export.ts'

let db: TestDatabase
let keys: AuditKeys
let key: LogKey
let folder: string
let log: PgAuditLog
const sequencers: Sequencer[] = []

beforeEach(async () => {
  db = await testDatabase()
  keys = softKeys()
  key = logKey('grid.example/audit', 'ed25519', keys.checkpointKey.publicKey)
  folder = mkdtempSync(join(tmpdir(), 'gridseal-log-'))
  log = new PgAuditLog({ connect: db.database.connect, macGroup: keys.macGroup, blindIndex: keys.blindIndex, writers: 2, appenders: 1 })
})
afterEach(async () => {
  await Promise.all(sequencers.splice(0).map((sequencer) => sequencer.stop()))
  await log.close()
  await db.close()
  rmSync(folder, { recursive: true })
})

function sequencerOf(settings: Partial<SequencerSettings> = {}, connect = db.database.connect): Sequencer {
  const sequencer = new Sequencer({
    store: new PgSequencerStore({ connect, sql: db.sql }),
    anchors: [checkpointFile(join(folder, 'checkpoint'))],
    key,
    checkGroups: keys.checkGroups,
    signCheckpoint: keys.signCheckpoint,
    intervalMs: 3_600_000,
    ...settings,
  })
  sequencers.push(sequencer)
  return sequencer
}

const write = (count: number): Promise<unknown> => Promise.all(Array.from({ length: count }, () => log.append(draftOf('event'))))

async function operate(): Promise<void> {
  const id = newOperationId()
  await log.transact(({ append }) => Promise.resolve(append(draftOf('intent', id))))
  await log.transact(({ append }) => Promise.resolve(append(draftOf('outcome', id))))
}

async function verifyLog(): Promise<LogReport> {
  const reader = new PgLogReader(db.sql, { checkGroups: keys.checkGroups, minimumIndex: () => Promise.resolve(0) })
  const note = await reader.lastCheckpoint()
  const chunks: Uint8Array[] = []
  for await (const chunk of exportChunks({ reader, key, from: 0, to: note === undefined ? 0 : openCheckpoint(note, key).size })) chunks.push(chunk)
  return verifyExport(new LogVerifier(key), chunks)
}

/** As who owns the tables and takes the guards off. */
async function tamper(table: string, statement: string, values: readonly unknown[] = []): Promise<void> {
  await db.ownerSql.query(`ALTER TABLE ${table} DISABLE TRIGGER USER`)
  const changed = await db.ownerSql.query(`${statement} RETURNING 1`, values)
  expect(changed.length).toBeGreaterThan(0)
  await db.ownerSql.query(`ALTER TABLE ${table} ENABLE TRIGGER USER`)
}

const fault = (code: LogFaultCode) => expect.objectContaining({ name: 'LogFault', code }) as LogFault

describe('the sequencer', () => {
  it('makes a log that an auditor verifies with the public key alone', async () => {
    const sequencer = sequencerOf()
    await sequencer.start()
    await Promise.all([write(120), ...Array.from({ length: 20 }, operate)])
    await sequencer.flush()
    await write(3)
    const open = newOperationId()
    await log.transact(({ append }) => Promise.resolve(append(draftOf('intent', open))))
    await sequencer.flush()
    const report = await verifyLog()
    expect(report).toMatchObject({ ok: true, size: 164, checkpoints: 2, entries: { intent: 21, outcome: 20, event: 123 } })
    expect(report.openIntents.map(({ id }) => id)).toEqual([open])
    const kept = openCheckpoint(readFileSync(join(folder, 'checkpoint'), 'utf8'), key)
    expect(kept.size).toBe(164)
    expect(sequencer.status).toMatchObject({ leading: true, size: 164, signedSize: 164, fault: undefined })
  })

  it('works in bounded rounds, and its tiles hold the tree across their borders and restarts', async () => {
    const first = sequencerOf({ roundEntries: 100 })
    await write(300)
    await first.flush()
    await first.stop()
    const second = sequencerOf({ roundEntries: 37 })
    await write(212)
    await second.flush()
    await second.stop()
    const third = sequencerOf()
    await write(1)
    await third.flush()
    await third.stop()
    expect(await verifyLog()).toMatchObject({ ok: true, size: 513 })
    const tiles = await db.sql.query<{ level: number; index: string }>('SELECT level, index FROM audit_tiles ORDER BY level, index')
    expect(tiles.map(({ level, index }) => `${level}/${index}`)).toEqual(['0/0', '0/1'])
    await sequencerOf().start()
  })

  it('keeps rounds of single entries whole as writers come and go', async () => {
    const sequencer = sequencerOf({ roundEntries: 2 })
    for (let at = 0; at < 4; at += 1) {
      await write(5)
      await operate()
      await log.close()
      log = new PgAuditLog({ connect: db.database.connect, macGroup: keys.macGroup, blindIndex: keys.blindIndex, writers: 2, appenders: 1 })
    }
    await sequencer.flush()
    expect(await verifyLog()).toMatchObject({ ok: true, size: 28 })
    const left = await db.sql.query('SELECT FROM audit_writers JOIN audit_sequenced USING (writer, epoch) WHERE NOT drained')
    expect(left.length).toBeLessThanOrEqual(3)
  })

  it('runs by itself', async () => {
    const sequencer = sequencerOf({ intervalMs: 20 })
    await sequencer.start()
    await write(10)
    await expect.poll(() => sequencer.status.signedSize).toBe(10)
  })
})

describe('leaders', () => {
  it('are one at a time; the second takes over when the first is gone', async () => {
    const [first, second] = [sequencerOf(), sequencerOf()]
    await first.start()
    await second.start()
    expect([first.status.leading, second.status.leading]).toEqual([true, false])
    await write(5)
    await expect(second.flush({ timeoutMs: 100 })).rejects.toThrow('another process leads')
    await first.stop()
    await second.flush()
    expect(second.status).toMatchObject({ leading: true, signedSize: 5 })
  })

  it('that were deposed without knowing commit nothing', async () => {
    const first = sequencerOf()
    await first.start()
    await write(5)
    await first.flush()
    await write(5)
    await db.ownerSql.query('UPDATE audit_head SET leader_epoch = leader_epoch + 1')
    const store = new PgSequencerStore({ connect: db.database.connect, sql: db.sql })
    const before = await db.sql.query('SELECT size FROM audit_head')
    // The round meets a newer epoch, gives up, leads again and finishes.
    await first.flush()
    expect(before[0]).toEqual({ size: '5' })
    expect(await verifyLog()).toMatchObject({ ok: true, size: 10 })
    await store.yield()
  })

  it('whose session the server ended between two rounds lead again, and nobody hears of it', async () => {
    const sequencer = sequencerOf()
    await sequencer.start()
    await write(5)
    await sequencer.flush()
    // The event loop stands, and with it the sign of life.
    const stalled = performance.now() + 4500
    while (performance.now() < stalled) randomBytes(1_000_000)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(sequencer.status.leading).toBe(false)
    await write(5)
    await sequencer.flush()
    expect(sequencer.status).toMatchObject({ leading: true, signedSize: 10 })
    expect(await verifyLog()).toMatchObject({ ok: true, size: 10 })
  })

  it.each([
    ['before', 10],
    ['after', 10],
  ] as const)('that lose their connection %s a round committed read the head again', async (when, size) => {
    const broken = breaker(db.database.connect)
    const sequencer = sequencerOf({}, broken.connect)
    await sequencer.start()
    await write(5)
    await sequencer.flush()
    await write(5)
    broken.breakAt(/^COMMIT/, when)
    await sequencer.flush()
    expect(await verifyLog()).toMatchObject({ ok: true, size })
  })
})

describe('a token that is away', () => {
  it('leaves a tree that is not signed, which is checked and signed when it is back', async () => {
    let isAway = false
    const away = new Problem('hsm-unavailable', 'away')
    const sequencer = sequencerOf({ signCheckpoint: (text) => (isAway ? Promise.reject(away) : keys.signCheckpoint(text)) })
    await write(7)
    isAway = true
    await expect(sequencer.flush()).rejects.toBe(away)
    expect(await db.sql.query('SELECT size FROM audit_head')).toEqual([{ size: '7' }])
    isAway = false
    await sequencer.flush()
    expect(await verifyLog()).toMatchObject({ ok: true, size: 7 })
  })

  it('that signs with another key stops the log', async () => {
    const sequencer = sequencerOf({ signCheckpoint: softKeys().signCheckpoint })
    await write(1)
    await expect(sequencer.flush()).rejects.toEqual(fault('checkpoint-invalid'))
  })
})

describe('what is found before it is signed', () => {
  const flipped = 'set_byte(bundle, 40, get_byte(bundle, 40) # 1)'
  it.each<[string, LogFaultCode, () => Promise<void>]>([
    ['an edited group', 'group-chain', () => tamper('audit_groups', `UPDATE audit_groups SET bundle = ${flipped} WHERE first_seq = 2`)],
    [
      'a group with another MAC',
      'group-mac',
      () => tamper('audit_groups', `UPDATE audit_groups SET mac = set_byte(mac, 0, get_byte(mac, 0) # 1) WHERE first_seq = 2`),
    ],
    ['a group deleted from between', 'group-gap', () => tamper('audit_groups', 'DELETE FROM audit_groups WHERE first_seq = 2')],
    ['the first group deleted', 'group-gap', () => tamper('audit_groups', 'DELETE FROM audit_groups WHERE first_seq = 0')],
    [
      'a group inserted',
      'group-chain',
      () => tamper('audit_groups', `INSERT INTO audit_groups SELECT writer, epoch, 6, count, bundle, chain, mac FROM audit_groups WHERE first_seq = 0`),
    ],
    [
      'two groups exchanged',
      'group-chain',
      () =>
        tamper('audit_groups', `UPDATE audit_groups g SET bundle = o.bundle FROM audit_groups o WHERE g.first_seq IN (0, 2) AND o.first_seq = 2 - g.first_seq`),
    ],
    [
      'a group under another writer',
      'group-mac',
      () =>
        tamper('audit_groups', `UPDATE audit_groups SET writer = (SELECT max(writer) FROM audit_groups) + 1 WHERE first_seq >= 0`).then(() =>
          tamper('audit_writers', 'INSERT INTO audit_writers SELECT max(writer) + 1, 1 FROM audit_writers'),
        ),
    ],
  ])('%s stops the log, and nothing after it is signed', async (_name, code, attack) => {
    for (let at = 0; at < 3; at += 1) await write(2)
    await attack()
    const found: string[] = []
    const sequencer = sequencerOf({ onFault: ({ code: one }) => found.push(one) })
    // An insertion is met as a MAC that is not the token's, or as a chain that does not follow: the MAC is asked first.
    const expected = code === 'group-chain' && _name === 'a group inserted' ? 'group-mac' : code
    await expect(sequencer.flush()).rejects.toEqual(fault(expected))
    await expect(sequencer.flush()).rejects.toEqual(fault(expected))
    expect(found).toEqual([expected])
    expect(await db.sql.query('SELECT FROM audit_checkpoints')).toEqual([])
    expect(sequencer.status.fault?.message).toContain('audit_groups')
  })
})

describe('at start and take-over', () => {
  const grow = async (): Promise<void> => {
    const sequencer = sequencerOf()
    for (let at = 0; at < 3; at += 1) {
      await write(100)
      await sequencer.flush()
    }
    await sequencer.stop()
  }

  it('a database that is behind the file refuses to start, and says what it means', async () => {
    await grow()
    for (const table of ['audit_entries', 'audit_checkpoints']) await tamper(table, `DELETE FROM ${table} WHERE true`)
    await db.ownerSql.query(`UPDATE audit_head SET size = 0, root = sha256(''), edge = ''`)
    await expect(sequencerOf().start()).rejects.toEqual(fault('database-behind'))
    await expect(sequencerOf().start()).rejects.toThrow(/signed checkpoint over 300 entries, and the database has 0.*Restore/)
  })

  it('a database that is behind the token refuses to start, though the file is gone', async () => {
    await grow()
    const note = readFileSync(join(folder, 'checkpoint'), 'utf8')
    const other = await testDatabase()
    const token = { name: 'the token', read: () => Promise.resolve(note), write: () => Promise.resolve() }
    const store = new PgSequencerStore({ connect: other.database.connect, sql: other.sql })
    await expect(sequencerOf({ store, anchors: [token] }).start()).rejects.toThrow(/database-behind: the token holds .* 300 entries, and the database has 0/)
    await other.close()
  })

  it('an empty database beside a file of another one refuses to start', async () => {
    await grow()
    const other = await testDatabase()
    const store = new PgSequencerStore({ connect: other.database.connect, sql: other.sql })
    await expect(sequencerOf({ store }).start()).rejects.toEqual(fault('database-behind'))
    await other.close()
  })

  it('a file that is behind, or missing, is allowed: another node led, or the data folder is new', async () => {
    await grow()
    rmSync(join(folder, 'checkpoint'))
    const sequencer = sequencerOf()
    await sequencer.start()
    await write(1)
    await sequencer.flush()
    expect(await verifyLog()).toMatchObject({ ok: true, size: 301 })
  })

  it.each<[string, LogFaultCode, () => Promise<void>]>([
    [
      'a changed tile',
      'history-changed',
      () => tamper('audit_partial_tiles', 'UPDATE audit_partial_tiles SET hashes = set_byte(hashes, 3, get_byte(hashes, 3) # 1) WHERE level = 1'),
    ],
    ['a missing tile', 'history-changed', () => tamper('audit_partial_tiles', 'DELETE FROM audit_partial_tiles WHERE level = 1')],
    ['a changed edge', 'head-inconsistent', () => tamper('audit_head', `UPDATE audit_head SET edge = set_byte(edge, 0, get_byte(edge, 0) # 1)`)],
    ['a changed root', 'head-inconsistent', () => tamper('audit_head', `UPDATE audit_head SET root = sha256('x')`)],
    ['entries pretended beyond the last checkpoint', 'head-inconsistent', () => tamper('audit_head', 'UPDATE audit_head SET size = size + 1')],
    [
      'a checkpoint that the token did not sign',
      'checkpoint-invalid',
      () => tamper('audit_checkpoints', `UPDATE audit_checkpoints SET note = replace(note, E'\\n300\\n', E'\\n299\\n') WHERE size = 300`),
    ],
    ['a file that the token did not sign', 'checkpoint-invalid', () => Promise.resolve(writeFileSync(join(folder, 'checkpoint'), 'noise\n'))],
  ])('%s refuses to start', async (_name, code, attack) => {
    await grow()
    await attack()
    await expect(sequencerOf().start()).rejects.toEqual(fault(code))
  })

  it('a history rewritten with all its checkpoints gone is caught by the file', async () => {
    await grow()
    const file = readFileSync(join(folder, 'checkpoint'), 'utf8')
    await tamper('audit_checkpoints', 'DELETE FROM audit_checkpoints WHERE true')
    await tamper('audit_partial_tiles', 'UPDATE audit_partial_tiles SET hashes = set_byte(hashes, 1, get_byte(hashes, 1) # 1) WHERE level = 1')
    writeFileSync(join(folder, 'checkpoint'), file)
    await expect(sequencerOf().start()).rejects.toEqual(fault('history-changed'))
  })
})

describe('an entry changed after it was signed', () => {
  it('is found by who reads it, and by the verification of an export', async () => {
    await write(3)
    await sequencerOf().flush()
    await tamper('audit_groups', 'UPDATE audit_groups SET bundle = substr(bundle, 1, octet_length(bundle) - 1)')
    await expect(verifyLog()).rejects.toMatchObject({ code: 'integrity-failed' })
  })

  it('in words only still has its length and form, and has another root', async () => {
    await write(3)
    await sequencerOf().flush()
    const replaced = `decode(replace(encode(bundle, 'hex'), encode('test.thing.do', 'hex'), encode('test.thing.xx', 'hex')), 'hex')`
    await tamper('audit_groups', `UPDATE audit_groups SET bundle = ${replaced}`)
    expect((await verifyLog()).findings.map(({ code }) => code)).toEqual(['root-mismatch', 'uncovered'])
    await expect(
      new PgLogReader(db.sql, { checkGroups: keys.checkGroups, minimumIndex: () => Promise.resolve(0) }).search({ from: 0, limit: 10 }),
    ).rejects.toMatchObject({ code: 'integrity-failed' })
  })

  it('in the index of search is integrity-failed', async () => {
    await write(1)
    await sequencerOf().flush()
    await tamper('audit_entries_0', `UPDATE audit_entries_0 SET operation_id = gen_random_uuid()`)
    await expect(new PgLogReader(db.sql, { checkGroups: keys.checkGroups, minimumIndex: () => Promise.resolve(0) }).at([0])).rejects.toMatchObject({
      code: 'integrity-failed',
    })
  })
})

describe('after the checkpoint key was replaced', () => {
  /** Three entries under a checkpoint of the first key; then keys of which only that is another. */
  async function replaced(): Promise<Partial<SequencerSettings> & { readonly key: LogKey }> {
    const first = sequencerOf()
    await write(3)
    await first.flush()
    await first.stop()
    const next = softKeys()
    return { key: logKey('grid.example/audit', 'ed25519', next.checkpointKey.publicKey), signCheckpoint: next.signCheckpoint }
  }

  it('the last checkpoint of the one before is taken, and the new one signs from then on', async () => {
    const settings = { ...(await replaced()), replaced: [{ key, lastSize: 3 }] }
    const sequencer = sequencerOf(settings)
    await sequencer.start()
    expect(sequencer.status).toMatchObject({ size: 3, signedSize: 3 })
    await write(2)
    await sequencer.flush()
    expect(openCheckpoint(readFileSync(join(folder, 'checkpoint'), 'utf8'), settings.key).size).toBe(5)
    await sequencer.stop()
    await sequencerOf(settings).start()
  })

  it('entries that the old key had not signed are signed by the new one', async () => {
    const settings = await replaced()
    await write(2)
    const unsigned = sequencerOf({ signCheckpoint: () => Promise.reject(new Error('the token died')) })
    await expect(unsigned.flush()).rejects.toThrow('the token died')
    await unsigned.stop()
    const sequencer = sequencerOf({ ...settings, replaced: [{ key, lastSize: 3 }] })
    await sequencer.start()
    expect(sequencer.status).toMatchObject({ size: 5, signedSize: 5 })
  })

  it.each([
    ['of a key that nobody names', []],
    ['beyond what its key had signed', [2]],
  ])('a checkpoint %s stops the log', async (_what, sizes) => {
    const settings = { ...(await replaced()), replaced: sizes.map((lastSize) => ({ key, lastSize })) }
    await expect(sequencerOf(settings).start()).rejects.toEqual(fault('checkpoint-invalid'))
  })
})

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { utf8 } from '../../core/bytes.ts'
import { testDatabase, type TestDatabase } from '../../server/postgres/test-database.ts'
import { checkpointText, type LogKey, logKey, openCheckpoint, type ReplacedKey, signedNote } from './checkpoint.ts'
import { CHECKPOINT_FILE, checkpointFile } from './checkpoint-file.ts'
import type { AuditKeys } from './index.ts'
import { PgAuditLog } from './log.pg.ts'
import type { LogFault, LogFaultCode } from './log-fault.ts'
import { findLoss, type KeptNote, type Loss, type ToldSize } from './loss.ts'
import { Sequencer, type SequencerSettings } from './sequencer.ts'
import { PgSequencerStore } from './sequencer.pg.ts'
import { draftOf } from './testing/drafts.ts'
import { softKeys } from './testing/soft-keys.ts'

/** A database of 8 signed entries, beside checkpoints of more. */

const OLD = 'grid.example/audit'
const NEW = 'grid.example/audit/20261126T095003Z'
const OTHER_ROOT = Buffer.alloc(32, 7)

let db: TestDatabase
let keys: AuditKeys
let folder: string
let log: PgAuditLog
let roots: Map<number, Uint8Array>
const sequencers: Sequencer[] = []

const keyOf = (origin: string, of = keys): LogKey => logKey(origin, 'ed25519', of.checkpointKey.publicKey)
async function noteOver(size: number, { origin = OLD, root = roots.get(size) ?? OTHER_ROOT, by = keys } = {}): Promise<string> {
  const text = checkpointText({ origin, size, root })
  return signedNote(text, keyOf(origin, by), await by.signCheckpoint(utf8(text)))
}

function sequencerOf(settings: Partial<SequencerSettings> = {}): Sequencer {
  const sequencer = new Sequencer({
    ...{ store: new PgSequencerStore({ connect: db.database.connect, sql: db.sql }), anchors: [checkpointFile(join(folder, 'checkpoint'))] },
    ...{ key: keyOf(OLD), checkGroups: keys.checkGroups, signCheckpoint: keys.signCheckpoint, intervalMs: 3_600_000 },
    ...settings,
  })
  sequencers.push(sequencer)
  return sequencer
}

beforeEach(async () => {
  db = await testDatabase()
  keys = softKeys()
  roots = new Map()
  folder = mkdtempSync(join(tmpdir(), 'gridseal-loss-'))
  log = new PgAuditLog({ connect: db.database.connect, macGroup: keys.macGroup, blindIndex: keys.blindIndex, writers: 1, appenders: 1 })
  const sequencer = sequencerOf()
  for (const size of [5, 8]) {
    while ((await sequencer.flush(), sequencer.status.size) < size) await log.append(draftOf('event'))
    const { root } = openCheckpoint(readFileSync(join(folder, 'checkpoint'), 'utf8'), keyOf(OLD))
    roots.set(size, root)
  }
  await sequencer.stop()
})
afterEach(async () => {
  await Promise.all(sequencers.splice(0).map((sequencer) => sequencer.stop()))
  await log.close()
  await db.close()
  rmSync(folder, { recursive: true })
})

async function lossBy(
  notes: readonly string[],
  {
    told = [],
    replaced = [],
    key = keyOf(OLD),
  }: { readonly told?: readonly ToldSize[]; readonly replaced?: readonly ReplacedKey[]; readonly key?: LogKey } = {},
): Promise<Loss> {
  const store = new PgSequencerStore({ connect: db.database.connect, sql: db.sql })
  try {
    await store.lead()
    const kept = notes.map((note, at): KeptNote => ({ where: at === 0 ? CHECKPOINT_FILE : `place ${at}`, note }))
    return await findLoss({ store, key, replaced, checkGroups: keys.checkGroups, kept, tell: () => Promise.resolve(told) })
  } finally {
    await store.yield()
  }
}
const fault = (code: LogFaultCode) => expect.objectContaining({ name: 'LogFault', code }) as LogFault

describe('what is lost of a log', () => {
  it('is nothing where nothing says so', async () => {
    expect(await lossBy([await noteOver(5), await noteOver(8)], { told: [{ where: 'w1', size: 3 }] })).toMatchObject({ size: 8, logSize: 8, lostSize: 8 })
  })

  it('is what a checkpoint is over, with its root; or what a witness tells, without', async () => {
    const found = await lossBy([await noteOver(20), await noteOver(12)], { told: [{ where: 'w1', size: 15 }] })
    expect(found).toMatchObject({ size: 8, logSize: 8, lostSize: 20, lostRoot: OTHER_ROOT })
    expect(found.told.map(({ size }) => size)).toEqual([8, 12, 15, 20])
    const told = await lossBy([await noteOver(20)], { told: [{ where: 'w1', size: 21 }] })
    expect(told.lostSize).toBe(21)
    expect(told).not.toHaveProperty('lostRoot')
  })

  it('cannot be told of another history', async () => {
    await expect(lossBy([await noteOver(5, { root: OTHER_ROOT })])).rejects.toEqual(fault('history-changed'))
  })

  it('cannot be told by a checkpoint that no key of the log signed', async () => {
    await expect(lossBy([await noteOver(20, { by: softKeys() })])).rejects.toEqual(fault('checkpoint-invalid'))
    await expect(lossBy(['nothing\n'])).rejects.toEqual(fault('checkpoint-invalid'))
  })

  it('is told by a key that was replaced too, which may have signed on when the database was copied', async () => {
    const next = softKeys()
    const found = await lossBy([await noteOver(20)], { key: keyOf(OLD, next), replaced: [{ key: keyOf(OLD), lastSize: 8 }] })
    expect(found).toMatchObject({ logSize: 8, lostSize: 20 })
  })

  it('is not what an earlier recovery gave up, nor what is of a shard that is itself lost', async () => {
    const recovered = { key: keyOf(NEW), replaced: [{ key: keyOf(OLD), lastSize: 8, lostSize: 20 }] }
    expect(await lossBy([await noteOver(20)], recovered)).toMatchObject({ logSize: 8, lostSize: 8, otherShards: [] })
    await expect(lossBy([await noteOver(21)], recovered)).rejects.toEqual(fault('checkpoint-invalid'))
    expect(await lossBy([await noteOver(30, { origin: NEW })])).toMatchObject({ lostSize: 8, otherShards: [{ where: CHECKPOINT_FILE, origin: NEW }] })
  })
})

describe('a log that was recovered', () => {
  const settings = (): Partial<SequencerSettings> => ({ key: keyOf(NEW), replaced: [{ key: keyOf(OLD), lastSize: 8, lostSize: 20 }] })

  it.each([8, 9, 20])('goes on beside the checkpoint over %s entries of before', async (size) => {
    await checkpointFile(join(folder, 'checkpoint')).write(await noteOver(size))
    const sequencer = sequencerOf(settings())
    await sequencer.start()
    await log.append(draftOf('event'))
    await sequencer.flush()
    expect(openCheckpoint(readFileSync(join(folder, 'checkpoint'), 'utf8'), keyOf(NEW)).size).toBe(9)
  })

  it('stops beside one over more than it gave up', async () => {
    await checkpointFile(join(folder, 'checkpoint')).write(await noteOver(21))
    await expect(sequencerOf(settings()).start()).rejects.toEqual(fault('checkpoint-invalid'))
  })

  it('stops where what it gave up is put into the database', async () => {
    await db.ownerSql.query('INSERT INTO audit_checkpoints (size, note) VALUES (20, $1)', [await noteOver(20)])
    await expect(sequencerOf(settings()).start()).rejects.toEqual(fault('checkpoint-invalid'))
  })

  it('is behind where the database forgets that it was', async () => {
    const sequencer = sequencerOf(settings())
    await sequencer.start()
    await log.append(draftOf('event'))
    await sequencer.flush()
    await sequencer.stop()
    await expect(sequencerOf().start()).rejects.toMatchObject({ code: 'database-behind', message: expect.stringContaining(NEW) as string })
  })
})

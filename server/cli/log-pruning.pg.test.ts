import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { mirror } from '../../clients/audit-mirror.ts'
import { folderSource } from '../../clients/audit-source.ts'
import { verifyExportedLog, verifyLog } from '../../clients/audit-verify.ts'
import { verifyEntryProof } from '../../clients/audit-proof.ts'
import { noFaults } from '../../core/fault-point.ts'
import { newOperationId, type OperationId } from '../../core/ids.ts'
import { digestRow, type Row } from '../../core/row.ts'
import type { Placed, SealedTable } from '../../core/sealed-table.ts'
import { archivedEntry, type AuditFeature, auditFeature } from '../../policies/audit/index.ts'
import type { FactValue } from '../../policies/audit/log.ts'
import { draftOf } from '../../policies/audit/testing/drafts.ts'
import { softKeys } from '../../policies/audit/testing/soft-keys.ts'
import type { Decision } from '../../policies/firewall/decide.ts'
import { type Gate, perform } from '../../policies/gate.ts'
import { integrityFeature } from '../../policies/integrity/index.ts'
import type { Download } from '../../policies/operation.ts'
import { sqlOn } from '../database.ts'
import { pruneLog, type Pruning } from './log-pruning.ts'
import { testDatabase, type TestDatabase } from '../postgres/test-database.ts'
import { logCeremonies } from '../token-succession.ts'

const ORIGIN = 'grid.example/audit'
const ENTRIES = 600

let db: TestDatabase
let folder: string
let archive: string
let audit: AuditFeature
let owner: pg.Client
let keys: ReturnType<typeof softKeys>
let things: Map<string, Row>

const rowOf = (id: string, version: number): Row => ({ table: 'things', schema: 1, id, version, columns: { version } })

/** A sealed table in memory: what it has is what the log says, until a test changes it. */
const table: SealedTable = {
  name: 'things',
  holdsKeys: false,
  count: () => Promise.resolve(things.size),
  page: async (after, limit) => (await placed([...things.values()])).filter(({ key }) => after === undefined || key > after).slice(0, limit),
  find: (rows) => placed(rows.flatMap(({ id }) => things.get(id) ?? [])),
  reseal: () => expect.unreachable('nothing is resealed'),
  rewrap: () => expect.unreachable('nothing is rewrapped'),
}
async function placed(rows: readonly Row[]): Promise<Placed[]> {
  const macs = await keys.macRows(rows)
  return rows.map((row, at) => ({ key: row.id, row, mac: macs[at] ?? new Uint8Array() })).sort((a, b) => (a.key < b.key ? -1 : 1))
}

async function write(count: number): Promise<void> {
  for (let at = 0; at < count; ) {
    // Groups of several entries: some lie on both sides of an index.
    const group = Math.min(1 + (at % 7), count - at)
    await audit.log.transact(({ append }) => {
      for (let one = 0; one < group; one += 1) append(draftOf('event', undefined, { facts: { public: { at } } }))
      return Promise.resolve()
    })
    at += group
  }
}

/** A version of a thing, and the entry that names it. */
async function writeThing(id: string, version: number, personal?: string): Promise<void> {
  const row = rowOf(id, version)
  things.set(id, row)
  await audit.log.append(
    draftOf('event', undefined, { facts: { rows: [digestRow(row)], ...(personal === undefined ? {} : { personal: { phone: personal } }) } }),
  )
}

function open(): AuditFeature {
  return auditFeature({
    ...{ sql: db.sql, connect: db.database.connect, integrity: keys, origin: ORIGIN, checkpointFile: join(folder, 'checkpoint'), writers: 3 },
  })
}

beforeEach(async () => {
  db = await testDatabase()
  folder = mkdtempSync(join(tmpdir(), 'gridseal-prune-'))
  archive = join(folder, 'archive')
  keys = softKeys()
  things = new Map()
  audit = open()
  await audit.start()
  owner = new pg.Client({ connectionString: db.ownerUrl })
  await owner.connect()
  await writeThing('old', 1, '+861')
  await writeThing('changed', 1)
  await write(ENTRIES / 2)
  await audit.flush()
  await write(ENTRIES / 2)
  await writeThing('changed', 2, '+862')
  await audit.flush()
  await fetchArchive(archive)
  await db.ownerSql.query('INSERT INTO integrity_passes (started_at, ended_at, entries, rows, findings) VALUES (now(), now(), $1, 0, 0)', [ENTRIES])
})
afterEach(async () => {
  await audit.close()
  await owner.end()
  await db.close()
  rmSync(folder, { recursive: true })
})

const fetchArchive = (to: string) =>
  mirror({
    ...{ folder: to, keys: [audit.key.vkey] },
    log: {
      checkpoint: () => answer<{ note: string }>('policies.audit.checkpoint', {}),
      bundles: async (index, count, width) => Buffer.concat(await chunksOf('policies.audit.bundle', { index, count, width })),
    },
  })

async function decided(before: number): Promise<OperationId> {
  const id = newOperationId()
  await db.ownerSql.query(
    `INSERT INTO ceremony_authorisations (id, ceremony, token, before, authorised_by, authorised_at, expires_at, version, mac)
     VALUES ($1, 'prune-log', 't', $2, 'urn:gridseal:officer:alice', now(), now() + interval '1 hour', 1, '\\x00')`,
    [id, before],
  )
  return id
}

/** As the command does, with a service that logs ceremonies. */
async function prune(before: number, more: Partial<Pruning> = {}): Promise<void> {
  const looking = setInterval(() => void logged().catch(() => undefined), 50)
  try {
    await pruneLog({
      ...{ sql: sqlOn(owner), sealer: keys, key: audit.key, replaced: [], archive, before, receivers: [], decide: () => decided(before), faults: noFaults },
      loggedMs: 5000,
      ...more,
    })
  } finally {
    clearInterval(looking)
  }
}
const logged = (): Promise<void> => logCeremonies({ audit, database: db.database, sealer: keys, origin: ORIGIN, history: { adoptions: [], recoveries: [] } })

const gate = (): Gate => ({
  decide: (): Decision => ({ effect: 'allow', rule: 'all', revision: '0123456789abcdef', reason: 'test' }),
  log: audit.log,
  quotas: { take: () => expect.unreachable('no quota'), takeLeased: () => expect.unreachable('no quota') },
  holds: { park: () => expect.unreachable('no hold'), take: () => expect.unreachable('no hold') },
})
async function answer<Answer>(name: string, body: object): Promise<Answer> {
  const op = audit.operations.find((one) => one.name === name)
  if (op === undefined) throw new Error(`no ${name}`)
  return (await perform(gate(), op, { caller: { kind: 'auditor', name: 'wang', id: 'a1' }, body })) as Answer
}
async function chunksOf(name: string, body: object): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = []
  for await (const chunk of (await answer<Download>(name, body)).chunks) chunks.push(chunk)
  return chunks
}

async function found(): Promise<string[]> {
  const feature = integrityFeature({
    ...{ sql: db.sql, audit, tables: () => [table, ...audit.sealedTables], dependents: () => [], schema: () => Promise.resolve([]), everyHours: 0 },
    now: () => new Date(),
    reviewRows: async (rows) => {
      const macs = await keys.macRows(rows.map(({ row }) => row))
      return rows.map(({ mac }, at) => (Buffer.compare(mac, macs[at] ?? new Uint8Array()) === 0 ? 'current' : 'nobody'))
    },
    checkGroups: keys.checkGroups,
  })
  return (await feature.check()).findings.map(({ code, subject }) => `${code}: ${subject}`)
}

const count = async (query: string): Promise<number> => Number((await db.ownerSql.query<{ count: string }>(`SELECT count(*) FROM ${query}`))[0]?.count)
/** Past the triggers. */
async function tamper(statement: string, values: readonly unknown[] = []): Promise<void> {
  const target = /(?:UPDATE|DELETE FROM|INSERT INTO) (\w+)/.exec(statement)?.[1] ?? ''
  await owner.query(`ALTER TABLE ${target} DISABLE TRIGGER USER`)
  const { rowCount } = await owner.query(statement, [...values])
  await owner.query(`ALTER TABLE ${target} ENABLE TRIGGER USER`)
  expect(rowCount, statement).toBeGreaterThan(0)
}

describe('a log that is pruned', () => {
  it('has lost its old entries, verifies with its archive and begins with the first that is kept', async () => {
    const [groups] = [await count('audit_groups')]
    await prune(512)
    expect(await count('audit_entries WHERE index < 512')).toBe(0)
    expect(await count('audit_groups')).toBeLessThan(groups / 2 + 20)
    expect(await found()).toEqual([])
    expect(await verifyLog({ log: archive, vkey: audit.key.vkey, threads: 1 })).toMatchObject({ ok: true, findings: [] })

    const { entries, archivedBefore } = await answer<{ entries: { index: number }[]; archivedBefore: number }>('policies.audit.search', {
      ...{ operation: 'system.log-pruned' },
    })
    expect([entries.length, archivedBefore]).toEqual([1, 512])
    const file = join(folder, 'export.ndjson')
    writeFileSync(file, Buffer.concat(await chunksOf('policies.audit.export', { from: '512' })))
    const known = [readFileSync(join(archive, 'checkpoint'), 'utf8')]
    expect(await verifyExportedLog({ path: file, vkey: audit.key.vkey, known, threads: 1 })).toMatchObject({ ok: true, from: 512, findings: [] })
  })

  it('says in its event what was pruned, where the tree was, and who decided', async () => {
    await prune(256)
    const [record] = await audit.prunes.all()
    const { entries } = await answer<{ entries: { entry: { facts: Record<string, FactValue>; rows: { table: string }[] } }[] }>('policies.audit.search', {
      operation: 'system.log-pruned',
    })
    expect(entries[0]?.entry.facts).toMatchObject({ before: 256, archiveSize: ENTRIES + 3, authorisation: record?.authorisation })
    expect(entries[0]?.entry.rows).toEqual([expect.objectContaining({ table: 'audit_prunes', id: '256', version: 1 })])
  })

  it('answers for what is gone that the archive has it, and where it begins', async () => {
    const [first] = await audit.reader.search({ from: 0, limit: 1 })
    await prune(512)
    const isArchived = { code: 'archived', status: 410, detail: expect.stringContaining('from 512 on') as string }
    await expect(answer('policies.audit.export', {})).rejects.toMatchObject(isArchived)
    await expect(answer('policies.audit.export', { format: 'csv', from: '511' })).rejects.toMatchObject(isArchived)
    await expect(answer('policies.audit.bundle', { index: 1 })).rejects.toMatchObject(isArchived)
    await answer('policies.audit.bundle', { index: 2, width: 50 })
    for (const name of ['policies.audit.get', 'policies.audit.proof'])
      await expect(answer(name, { operationId: first?.entry.id })).rejects.toMatchObject({
        code: 'not-found',
        detail: expect.stringContaining('before 512 are in the archive') as string,
      })
    await expect(audit.reader.search({ from: 0, limit: 1 })).rejects.toMatchObject(isArchived)
    await expect(audit.reader.read(500, 600)).rejects.toMatchObject(isArchived)
  })

  it('proves an old entry by its tiles, with the bytes of the archive', async () => {
    await prune(512)
    const { proof } = await answer<{ proof: string }>('policies.audit.proof-of-entry', { index: '17' })
    const bytes = await archivedEntry(folderSource(archive), 17)
    expect(verifyEntryProof({ bytes, proof, vkey: audit.key.vkey })).toMatchObject({ ok: true })
    const other = await archivedEntry(folderSource(archive), 18)
    expect(verifyEntryProof({ bytes: other, proof, vkey: audit.key.vkey })).toMatchObject({ ok: false })
    expect((await audit.publicTiles.tile({ level: 0, index: 0, width: 256 }))?.length).toBe(8192)
    expect(await audit.publicTiles.tile({ level: 'entries', index: 0, width: 256 })).toBeUndefined()
  })

  it('has the personal values of old entries still: they are erased as before, and missed by nobody', async () => {
    await prune(512)
    const blind = await keys.blindIndex([{ name: 'phone', value: '+861' }])
    const erase = (keptFrom: string) =>
      db.sql.query<{ erased_values: string }>(`SELECT erased_values FROM audit_erase_personal(gen_random_uuid(), $1, ${keptFrom})`, [blind])
    expect(await erase(`now() - interval '1 day'`)).toEqual([{ erased_values: '0' }])
    expect(await erase(`now() + interval '1 day'`)).toEqual([{ erased_values: '1' }])
    expect(await found()).toEqual([])
  })

  it('goes on with its archive, and begins none without it', async () => {
    await prune(512)
    await write(300)
    await audit.flush()
    expect(await fetchArchive(archive)).toMatchObject({ from: ENTRIES + 3 })
    expect(await verifyLog({ log: archive, vkey: audit.key.vkey, threads: 1 })).toMatchObject({ ok: true, findings: [] })
    await expect(fetchArchive(join(folder, 'new'))).rejects.toMatchObject({ code: 'archived' })
  })

  it('goes on when the service starts anew, and is pruned again', async () => {
    await prune(256)
    await audit.close()
    audit = open()
    await audit.start()
    await write(20)
    await audit.flush()
    await logged()
    expect(await answer('policies.audit.count', { by: 'operation' })).toMatchObject({ archivedBefore: 256 })
    await fetchArchive(archive)
    await db.ownerSql.query('INSERT INTO integrity_passes (started_at, ended_at, entries, rows, findings) VALUES (now(), now(), $1, 0, 0)', [ENTRIES])
    await prune(512)
    expect([await count('audit_entries WHERE index < 512'), await count('audit_row_heads WHERE before <> 512')]).toEqual([0, 0])
    expect(await found()).toEqual([])
    // One event of each, though the first may be gone by and by.
    expect(await answer('policies.audit.search', { operation: 'system.log-pruned' })).toMatchObject({ entries: { length: 2 } })
  })

  it('does not log again what it logged before it was pruned', async () => {
    await prune(256)
    await write(300)
    await audit.flush()
    await fetchArchive(archive)
    const size = (await audit.reader.checkpoints(0, 1e9)).at(-1)?.size ?? 0
    const before = Math.floor(size / 256) * 256
    await db.ownerSql.query('INSERT INTO integrity_passes (started_at, ended_at, entries, rows, findings) VALUES (now(), now(), $1, 0, 0)', [before])
    await prune(before)
    expect(await count(`audit_entries WHERE operation_id IN (SELECT operation_id FROM audit_prunes WHERE before = 256)`)).toBe(0)
    const entries = await count('audit_entries')
    await logged()
    await audit.flush()
    expect(await count('audit_entries')).toBe(entries)
    expect(await found()).toEqual([])
  })
})

describe('nothing is pruned', () => {
  const nothing = async (): Promise<void> => {
    expect(await count('audit_entries WHERE index < 256')).toBe(256)
    expect(await count('audit_prunes')).toBe(0)
  }

  it('by an archive that is short, damaged or of another log', async () => {
    const damaged = join(folder, 'damaged')
    cpSync(archive, damaged, { recursive: true })
    const path = join(damaged, 'tile/entries/000')
    const bytes = readFileSync(path)
    bytes[300] = (bytes[300] ?? 0) ^ 1
    writeFileSync(path, bytes)
    await expect(prune(256, { archive: damaged })).rejects.toThrow(/not to be relied on: .*root-mismatch|tile-mismatch/)
    await db.ownerSql.query('INSERT INTO integrity_passes (started_at, ended_at, entries, rows, findings) VALUES (now(), now(), 1024, 0, 0)')
    await expect(prune(1024)).rejects.toThrow(/it ends after 603 entries/)
    await expect(prune(256, { archive: join(folder, 'nowhere') })).rejects.toThrow(/not to be relied on/)

    const other = await testDatabase()
    const theirs = auditFeature({
      ...{ sql: other.sql, connect: other.database.connect, integrity: keys, origin: ORIGIN },
      checkpointFile: join(folder, 'other'),
    })
    const ours = audit
    audit = theirs
    await theirs.start()
    await write(600)
    await theirs.flush()
    await fetchArchive(join(folder, 'other-archive'))
    audit = ours
    await theirs.close()
    await other.close()
    await expect(prune(256, { archive: join(folder, 'other-archive') })).rejects.toThrow(/are not those of the database/)
    await nothing()
  })

  it('without a decision, or by one that was used', async () => {
    await expect(prune(256, { decide: () => Promise.reject(new Error('nobody decided')) })).rejects.toThrow('nobody decided')
    await nothing()
    const id = await decided(256)
    await prune(256, { decide: () => Promise.resolve(id) })
    await expect(prune(512, { decide: () => Promise.resolve(id) })).rejects.toThrow(/audit_prunes_authorisation_key/)
    expect(await count('audit_entries WHERE index < 512')).toBe(256)
  })

  it('while something still needs the entries', async () => {
    const open_ = newOperationId()
    const [first] = await audit.reader.search({ from: 10, limit: 1 })
    const { slot = 0, epoch = 0, seq = 0 } = first?.entry.writer ?? {}
    await db.ownerSql.query('INSERT INTO open_intents (operation_id, writer, epoch, seq) VALUES ($1, $2, $3, $4)', [first?.entry.id ?? open_, slot, epoch, seq])
    await expect(prune(256)).rejects.toThrow(/Operations that began before entry 256 are open/)
    await db.ownerSql.query('DELETE FROM open_intents')

    await expect(prune(256, { receivers: ['siem'] })).rejects.toThrow(/Receivers have not read all entries before 256: siem \(0\)/)
    await db.ownerSql.query('INSERT INTO audit_forwarding (origin, receiver, position) VALUES ($1, $2, 255)', [ORIGIN, 'siem'])
    await expect(prune(256)).rejects.toThrow(/siem \(255\)/)
    await db.ownerSql.query('UPDATE audit_forwarding SET position = 256')

    await db.ownerSql.query('DELETE FROM integrity_passes')
    await expect(prune(256)).rejects.toThrow(/was not compared/)
    await db.ownerSql.query('INSERT INTO integrity_passes (started_at, ended_at, entries, rows, findings) VALUES (now(), now(), 255, 0, 0)')
    await expect(prune(256)).rejects.toThrow(/was not compared/)
    await db.ownerSql.query('INSERT INTO integrity_passes (started_at, ended_at, entries, rows, findings) VALUES (now(), now(), 256, 0, 0)')
    await db.ownerSql.query(`INSERT INTO integrity_findings (code, subject, detail) VALUES ('row-edited', 'x', 'y')`)
    await expect(prune(256)).rejects.toThrow(/1 open findings/)
    await nothing()
  })

  it('but by who owns the tables, and means it', async () => {
    for (const statement of [
      'DELETE FROM audit_entries',
      'TRUNCATE audit_entries',
      'UPDATE audit_entries SET seq = 0',
      'DELETE FROM audit_groups',
      'TRUNCATE audit_groups',
    ])
      await expect(db.sql.query(statement)).rejects.toThrow('permission denied')
    await db.sql.query(`SELECT set_config('gridseal.pruning', 'on', false)`)
    for (const statement of [
      'DELETE FROM audit_entries',
      'DELETE FROM audit_groups',
      'DELETE FROM audit_prunes',
      `INSERT INTO audit_row_heads VALUES (1, '', '', 0, 0, '', 0, 0)`,
    ])
      await expect(db.sql.query(statement)).rejects.toThrow('permission denied')
    for (const statement of ['DELETE FROM audit_entries', 'TRUNCATE audit_groups', 'DELETE FROM audit_groups'])
      await expect(db.ownerSql.query(statement)).rejects.toThrow('append-only')
    await owner.query(`SELECT set_config('gridseal.pruning', 'on', false)`)
    for (const statement of ['TRUNCATE audit_entries', 'UPDATE audit_entries SET seq = 0', 'TRUNCATE audit_groups', `UPDATE audit_groups SET bundle = ''`])
      await expect(owner.query(statement)).rejects.toThrow('append-only')
    await nothing()
  })

  it('and deleted before the log has the event', async () => {
    await audit.close()
    const silent = pruneLog({
      ...{ sql: sqlOn(owner), sealer: keys, key: audit.key, replaced: [], archive, before: 256, receivers: [], decide: () => decided(256), faults: noFaults },
      loggedMs: 600,
    })
    await expect(silent).rejects.toThrow(/no event of it yet/)
    expect([await count('audit_entries WHERE index < 256'), await count('audit_prunes')]).toEqual([256, 1])
    await owner.end()
    audit = open()
    await audit.start()
    owner = new pg.Client({ connectionString: db.ownerUrl })
    await owner.connect()
    expect(await found()).toEqual([])
    await prune(256, { decide: () => expect.unreachable('it is decided') })
    expect(await count('audit_entries WHERE index < 256')).toBe(0)
    expect(await found()).toEqual([])
  })
})

/** The table of docs/log-archive.md: what is done, and the codes of what is found. */
function readDetections(): Map<string, string[]> {
  const text = readFileSync(new URL('../../docs/log-archive.md', import.meta.url), 'utf8')
  const rows = text.slice(text.indexOf('## What finds what')).matchAll(/^\| ((?!done by|---).+?) \| (.+?) \|$/gm)
  return new Map([...rows].map(([, what = '', codes = '']) => [what, codes.split(', ').sort()]))
}

/** Everything that an attack may change. */
const ATTACKED = ['audit_personal', 'audit_row_heads', 'audit_tiles', 'audit_entries', 'audit_groups', 'audit_checkpoints', 'audit_prunes']
async function undo(rows: ReadonlyMap<string, Row>): Promise<void> {
  things = new Map(rows)
  for (const name of ATTACKED) {
    await owner.query(`ALTER TABLE ${name} DISABLE TRIGGER USER`)
    await owner.query(`DELETE FROM ${name}`)
    await owner.query(`INSERT INTO ${name} SELECT * FROM kept_${name}`)
    await owner.query(`ALTER TABLE ${name} ENABLE TRIGGER USER`)
  }
}
const keep = async (): Promise<void> => {
  await audit.flush()
  for (const name of ATTACKED) await owner.query(`CREATE TABLE kept_${name} AS TABLE ${name}`)
}
const madeUp = async (): Promise<void> => {
  await owner.query(
    `INSERT INTO audit_prunes (before, operation_id, root, heads, checkpoint, youngest_at, pruned_at, authorisation, version, mac)
     VALUES (256, gen_random_uuid(), sha256('a'), sha256('b'), '', now(), now(), $1, 1, '\\x00112233445566778899aabbccddeeff')`,
    [await decided(256)],
  )
}

describe('who owns the database', () => {
  const AFTER: Readonly<Record<string, () => Promise<unknown> | void>> = {
    'a row that only a pruned entry names is deleted': () => void things.delete('old'),
    'an old version of a row is put back': () => void things.set('changed', rowOf('changed', 1)),
    'a row that no entry names is added': () => void things.set('new', rowOf('new', 1)),
    'a personal value of a pruned entry is deleted': () => tamper(`DELETE FROM audit_personal WHERE value = '+861'`),
    'a personal value of a pruned entry is changed': () => tamper(`UPDATE audit_personal SET value = '+863' WHERE value = '+861'`),
    'a row head is changed together with its row': async () => {
      things.set('old', rowOf('old', 2))
      await tamper('UPDATE audit_row_heads SET digest = $1, row_version = 2 WHERE subject = $2', [digestRow(rowOf('old', 2)).digest, 'old'])
    },
    'a row head is deleted': () => tamper(`DELETE FROM audit_row_heads WHERE subject = 'old'`),
    'a tile of what was pruned is changed': () =>
      tamper('UPDATE audit_tiles SET hashes = set_byte(hashes, 3, get_byte(hashes, 3) # 1) WHERE level = 0 AND index = 0'),
    'a checkpoint of what was pruned is changed': () =>
      tamper(`UPDATE audit_checkpoints SET note = note || 'x' WHERE size = (SELECT min(size) FROM audit_checkpoints) AND size < 512`),
    'an entry that is kept is deleted': () => tamper('DELETE FROM audit_entries WHERE index = 550'),
    'the group that a chain goes on from is changed': () =>
      tamper(
        `UPDATE audit_groups g SET mac = sha256(mac) FROM (SELECT writer, epoch, min(first_seq) AS first_seq FROM audit_groups GROUP BY writer, epoch) b
         WHERE (g.writer, g.epoch, g.first_seq) = (b.writer, b.epoch, b.first_seq) AND g.writer = (SELECT writer FROM audit_entries WHERE index = 512)`,
      ),
    'the record of the prune is changed': () => tamper('UPDATE audit_prunes SET root = sha256(root)'),
    'the record of the prune is deleted': () => tamper('DELETE FROM audit_prunes'),
  }
  const WITHOUT: typeof AFTER = {
    'entries are deleted without a prune': () => tamper('DELETE FROM audit_entries WHERE index < 256'),
    'entries are deleted, and a record of a prune made up': async () => {
      await tamper('DELETE FROM audit_entries WHERE index < 256')
      await madeUp()
    },
  }

  /** What of the table is not found, and what is found once all is undone. */
  async function missedOf(attacks: typeof AFTER): Promise<string[]> {
    const detections = readDetections()
    const rows = new Map(things)
    const missed: string[] = []
    await keep()
    for (const [what, attack] of Object.entries(attacks)) {
      await attack()
      const codes = (await found()).map((finding) => finding.slice(0, finding.indexOf(':')))
      const expected = detections.get(what) ?? ['a row of the table']
      missed.push(...expected.filter((code) => !codes.includes(code)).map((code) => `${what}: ${code}`))
      await undo(rows)
    }
    return [...missed, ...(await found())]
  }

  it('is found out after a prune as the table says, and nothing is once it is undone', async () => {
    await prune(512)
    expect(await missedOf(AFTER)).toEqual([])
  })

  it('cannot make up a prune, nor explain away what is gone', async () => {
    expect(await missedOf(WITHOUT)).toEqual([])
    expect([...Object.keys(AFTER), ...Object.keys(WITHOUT)].sort()).toEqual([...readDetections().keys()].sort())
    await madeUp()
    await expect(answer('policies.audit.export', {})).rejects.toMatchObject({ code: 'integrity-failed' })
    await expect(answer('policies.audit.search', {})).rejects.toMatchObject({ code: 'integrity-failed' })
    await expect(prune(512)).rejects.toMatchObject({ code: 'integrity-failed' })
  })
})

describe('a prune that is cut off', () => {
  const CUTS = ['prune.heads-written', 'prune.recorded', 'prune.logged', 'prune.entries-page', 'prune.entries-deleted', 'prune.groups-deleted'] as const

  it.each(CUTS)('at %s goes on by the same call, and harms nothing before', async (cut) => {
    const faults = (point: string): void => {
      if (point === cut) throw new Error('cut off')
    }
    await expect(prune(512, { faults })).rejects.toThrow('cut off')
    await owner.end()
    await logged()
    expect(await found()).toEqual([])
    expect(await answer('policies.audit.count', { by: 'operation' })).toMatchObject({ groups: expect.anything() as unknown })
    owner = new pg.Client({ connectionString: db.ownerUrl })
    await owner.connect()
    await prune(512, cut === 'prune.heads-written' ? {} : { decide: () => expect.unreachable('it is decided') })
    expect([await count('audit_entries WHERE index < 512'), await count('audit_prunes')]).toEqual([0, 1])
    expect(await found()).toEqual([])
  })
})

import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { verifyEntryProof } from '../../../clients/audit-proof.ts'
import { newOperationId } from '../../../core/ids.ts'
import { testDatabase, type TestDatabase } from '../../../server/postgres/test-database.ts'
import { perform } from '../../gate.ts'
import { memoryGate } from '../../testing/memory-gate.ts'
import { auditFeature, type AuditFeature } from '../index.ts'
import { parseProof } from '../proof-file.ts'
import { draftOf } from '../testing/drafts.ts'
import { softKeys } from '../testing/soft-keys.ts'

interface Answer {
  readonly size: number
  readonly entries: readonly { readonly index: number; readonly bytes: string; readonly proof: string }[]
  readonly next?: number
}

/** One operation with all the entries. Asking is recorded in memory, so that it does not make the log longer. */
const id = newOperationId()
const gate = memoryGate()
let db: TestDatabase
let audit: AuditFeature
let folder: string
let canSign = true

beforeEach(async () => {
  db = await testDatabase()
  folder = mkdtempSync(join(tmpdir(), 'gridseal-proof-'))
  canSign = true
  const keys = softKeys()
  audit = auditFeature({
    sql: db.sql,
    connect: db.database.connect,
    integrity: { ...keys, signCheckpoint: (text) => (canSign ? keys.signCheckpoint(text) : Promise.reject(new Error('no signature'))) },
    origin: 'grid.example/audit',
    checkpointFile: join(folder, 'checkpoint'),
  })
})
afterEach(async () => {
  await audit.close()
  await db.close()
  rmSync(folder, { recursive: true })
})

async function ask(body: object = {}): Promise<Answer> {
  const op = audit.operations.find(({ name }) => name === 'policies.audit.proof')
  if (op === undefined) throw new Error('no such operation')
  return (await perform(gate, op, { caller: { kind: 'auditor', name: 'wang', id: 'a1' }, body: { operationId: id, ...body } })) as Answer
}

/** All pages. */
async function askAll(): Promise<Answer['entries']> {
  const entries: Answer['entries'][number][] = []
  for (let from: number | undefined = 0; from !== undefined; ) {
    const page: Answer = await ask({ from, limit: 100 })
    entries.push(...page.entries)
    from = page.next
  }
  return entries
}

const write = (count: number): Promise<unknown> => Promise.all(Array.from({ length: count }, () => audit.log.append(draftOf('event', id))))
const check = ({ bytes, proof }: { bytes: string; proof: string }) => verifyEntryProof({ bytes: Buffer.from(bytes, 'base64'), proof, vkey: audit.key.vkey })

/** As who owns the tables and takes the guards off. */
async function tamper(table: string, statement: string): Promise<void> {
  await db.ownerSql.query(`ALTER TABLE ${table} DISABLE TRIGGER USER`)
  expect((await db.ownerSql.query(`${statement} RETURNING 1`)).length).toBeGreaterThan(0)
  await db.ownerSql.query(`ALTER TABLE ${table} ENABLE TRIGGER USER`)
}

describe('proofs of inclusion', () => {
  it('hold for every entry, at every size around the borders of tiles', async () => {
    let size = 0
    for (const to of [1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 513, 600]) {
      await write(to - size)
      size = to
      await audit.flush()
      const proven = await askAll()
      expect(proven.map(({ index }) => index)).toEqual(Array.from({ length: size }, (_, at) => at))
      for (const one of proven) expect(check(one)).toMatchObject({ ok: true, size, index: one.index, entry: { id } })
    }
  })

  it('are over the last signed checkpoint when the tree has grown beyond it', async () => {
    await write(250)
    await audit.flush()
    await write(20)
    canSign = false
    await expect(audit.flush()).rejects.toThrow('no signature')
    const [{ size } = {}] = await db.sql.query<{ size: string }>('SELECT size FROM audit_head')
    expect(Number(size)).toBe(270)
    const page = await ask({ from: 200, limit: 100 })
    expect(page).toMatchObject({ size: 250, next: 250 })
    expect(page.entries.map(check).filter(({ ok }) => ok)).toHaveLength(50)
    await expect(ask({ from: 250 })).rejects.toMatchObject({ code: 'conflict', detail: expect.stringContaining('in a second') as string })
    canSign = true
    await audit.flush()
    expect((await ask({ from: 250, limit: 20 })).entries.map(check).every(({ ok }) => ok)).toBe(true)
  })

  it('are asked for in pages', async () => {
    await write(3)
    await audit.log.append(draftOf('event'))
    await write(2)
    await audit.flush()
    expect(await ask()).toMatchObject({ size: 6, entries: [{ index: 0 }, { index: 1 }, { index: 2 }, { index: 4 }, { index: 5 }] })
    const first = await ask({ limit: 3 })
    expect([first.entries.length, first.next]).toEqual([3, 4])
    const last = await ask({ from: 4, limit: '2' })
    expect([last.entries.map(({ index }) => index), last.next]).toEqual([[4, 5], undefined])
    expect(gate.log.entries.at(-1)).toMatchObject({
      kind: 'outcome',
      code: 'ok',
      facts: { public: { operationId: id, from: 4, limit: 2, proven: 2, size: 6 } },
    })
    for (const body of [{ limit: 101 }, { limit: 0 }, { from: -1 }, { from: 2 ** 53 }, { operationId: 'x' }, { other: 1 }])
      await expect(ask(body)).rejects.toMatchObject({ code: 'request-invalid' })
  })

  it('are none of what is not there, or not signed', async () => {
    await expect(ask()).rejects.toMatchObject({ code: 'not-found' })
    await write(2)
    canSign = false
    await expect(audit.flush()).rejects.toThrow('no signature')
    await expect(ask()).rejects.toMatchObject({ code: 'conflict' })
    canSign = true
    await audit.flush()
    expect((await ask()).entries).toHaveLength(2)
    await expect(ask({ operationId: newOperationId() })).rejects.toMatchObject({ code: 'not-found' })
    await expect(ask({ from: 2 })).rejects.toMatchObject({ code: 'not-found' })
  })

  const FLIP = 'set_byte(hashes, 100, get_byte(hashes, 100) # 1)'
  it.each([
    ['a full tile', 'audit_tiles', `UPDATE audit_tiles SET hashes = ${FLIP} WHERE level = 0`],
    ['a right-most tile', 'audit_partial_tiles', `UPDATE audit_partial_tiles SET hashes = ${FLIP} WHERE level = 0`],
    ['the tile above', 'audit_partial_tiles', 'UPDATE audit_partial_tiles SET hashes = set_byte(hashes, 3, get_byte(hashes, 3) # 1) WHERE level = 1'],
    ['a tile that is gone', 'audit_tiles', 'DELETE FROM audit_tiles WHERE level = 0'],
    ['a tile cut short', 'audit_partial_tiles', 'UPDATE audit_partial_tiles SET hashes = substring(hashes for 32) WHERE level = 0'],
    ['a checkpoint that nobody signed', 'audit_checkpoints', "UPDATE audit_checkpoints SET note = replace(note, E'\\n300\\n', E'\\n299\\n')"],
  ])('are not given when they do not hold: %s', async (_, table, statement) => {
    await write(300)
    await audit.flush()
    expect((await askAll()).map(check).every(({ ok }) => ok)).toBe(true)
    await tamper(table, statement)
    await expect(askAll()).rejects.toMatchObject({ code: 'integrity-failed' })
    expect(gate.log.entries.at(-1)).toMatchObject({ operation: 'policies.audit.proof', code: 'integrity-failed' })
  })

  it('are read by the program', async () => {
    await write(5)
    await audit.flush()
    const { entries } = await ask()
    const run = async (entry: number, proof: number) => {
      const files = [join(folder, `${entry}.json`), join(folder, `${proof}.tlog-proof`)] as const
      writeFileSync(files[0], Buffer.from(entries[entry]?.bytes ?? '', 'base64'))
      writeFileSync(files[1], entries[proof]?.proof ?? '')
      const program = ['--import', 'tsx', 'server/cli/gridseal.ts', 'audit', 'verify-proof', ...files, '--key', audit.key.vkey]
      return promisify(execFile)(process.execPath, program)
    }
    expect(parseProof(entries[2]?.proof ?? '').index).toBe(2)
    expect((await run(2, 2)).stdout).toMatch(/^IN THE LOG: grid\.example\/audit, entry 2 under [^]*"operation": "test\.thing\.do"/)
    await expect(run(2, 3)).rejects.toMatchObject({ code: 1, stdout: expect.stringMatching(/^NOT PROVEN/) as string })
  })
})

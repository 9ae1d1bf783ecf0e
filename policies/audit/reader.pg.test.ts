import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Sql } from '../../core/tx.ts'
import { testDatabase, type TestDatabase } from '../../server/postgres/test-database.ts'
import { type AuditFeature, auditFeature } from './index.ts'
import { PgLogReader } from './reader.pg.ts'
import { draftOf } from './testing/drafts.ts'
import { softKeys } from './testing/soft-keys.ts'

/** Groups of 3 MB, with an entry in each that is looked for. */
const [GROUPS, ENTRIES] = [12, 60]

const keys = softKeys()
const folder = mkdtempSync(join(tmpdir(), 'gridseal-reader-'))
let db: TestDatabase
let audit: AuditFeature

beforeAll(async () => {
  db = await testDatabase()
  audit = auditFeature({
    ...{ sql: db.sql, connect: db.database.connect, integrity: keys, origin: 'grid.example/audit', checkpointFile: join(folder, 'checkpoint'), writers: 2 },
  })
  const long = draftOf('event', undefined, { facts: { public: { list: Array.from({ length: 50 }, () => 'x'.repeat(1000)) } } })
  for (let group = 0; group < GROUPS; group += 1)
    await audit.log.transact(({ append }) => {
      for (let at = 0; at < ENTRIES; at += 1) append(long)
      return Promise.resolve()
    })
  await audit.flush()
})
afterAll(async () => {
  await audit.close()
  await db.close()
  rmSync(folder, { recursive: true })
})

it('entries of many long groups are found without holding all of these', async () => {
  const answered: number[] = []
  const sql: Sql = {
    query: async <Row extends object>(text: string, values?: readonly unknown[]) => {
      const rows = await db.sql.query<Row>(text, values)
      answered.push(rows.reduce((sum, row) => sum + ((row as { readonly bundle?: Uint8Array }).bundle?.length ?? 0), 0))
      return rows
    },
  }
  const reader = new PgLogReader(sql, { checkGroups: (groups) => keys.checkGroups(groups), minimumIndex: () => Promise.resolve(0) })
  const indexes = Array.from({ length: GROUPS }, (_, group) => group * ENTRIES + 7)
  const found = await reader.at(indexes)
  expect(found.map(({ index, entry }) => [index, entry.writer.seq])).toEqual(indexes.map((index) => [index, index]))
  expect(answered.reduce((a, b) => a + b)).toBeGreaterThan(GROUPS * ENTRIES * 50_000)
  expect(Math.max(...answered)).toBeLessThan(16 * 1024 * 1024)
  // What is kept of a group is the entry.
  expect(found.every(({ bytes }) => bytes.buffer.byteLength < 65_536)).toBe(true)
  expect((await reader.read(0, GROUPS * ENTRIES)).map(({ index }) => index)).toEqual(Array.from({ length: GROUPS * ENTRIES }, (_, index) => index))
})

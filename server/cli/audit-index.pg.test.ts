import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { auditFeature } from '../../policies/audit/index.ts'
import { draftOf } from '../../policies/audit/testing/drafts.ts'
import { softKeys } from '../../policies/audit/testing/soft-keys.ts'
import { testDatabase, type TestDatabase } from '../postgres/test-database.ts'
import { reindexCommand } from './audit-index.ts'

let db: TestDatabase
const folder = mkdtempSync(join(tmpdir(), 'gridseal-reindex-'))
const said: string[] = []

beforeAll(async () => {
  db = await testDatabase()
  vi.spyOn(console, 'log').mockImplementation((line: string) => void said.push(line))
  const connect = db.database.connect
  const audit = auditFeature({ sql: db.sql, connect, integrity: softKeys(), origin: 'o', checkpointFile: join(folder, 'checkpoint') })
  await Promise.all(Array.from({ length: 4100 }, () => audit.log.append(draftOf('event'))))
  await audit.flush()
  await audit.close()
})
afterAll(async () => {
  vi.restoreAllMocks()
  await db.close()
  rmSync(folder, { recursive: true })
})

const reindex = async (options: { readonly check?: boolean }): Promise<string[]> => {
  said.length = 0
  await reindexCommand({ data: folder, databaseUrl: db.serviceUrl, databaseOwnerUrl: db.ownerUrl }, options)
  return [...said]
}

it('gridseal audit reindex makes the index that is missing, and --check tells what was changed in it', async () => {
  expect(await reindex({ check: true })).toEqual(['0 segments are what the entries say.'])
  expect(await reindex({})).toEqual(['The index is made anew: 1 segments. What is behind them is searched in memory.'])
  expect(await reindex({ check: true })).toEqual(['1 segments are what the entries say.'])
  await db.ownerSql.query('DELETE FROM audit_terms WHERE field = 8')
  await expect(reindex({ check: true })).rejects.toThrow('1 differences in 1 segments')
  expect(said).toEqual(['segment 0: missing kind:event'])
  await reindex({})
  expect(await reindex({ check: true })).toEqual(['1 segments are what the entries say.'])
})

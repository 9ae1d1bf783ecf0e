import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newOperationId, type OperationId } from '../../core/ids.ts'
import { sealRow } from '../../core/sealed-records.ts'
import {
  allowPruning,
  type AuditFeature,
  auditFeature,
  cutSegment,
  deleteEntries,
  deleteSegments,
  insertPrune,
  pruneRow,
  readStored,
} from '../../policies/audit/index.ts'
import { draftOf } from '../../policies/audit/testing/drafts.ts'
import { softKeys } from '../../policies/audit/testing/soft-keys.ts'
import { sqlOn } from '../database.ts'
import { testDatabase, type TestDatabase } from '../postgres/test-database.ts'

type Query = Parameters<AuditFeature['searcher']['prepare']>[0]

/** The cut lies in the second segment of three. */
const ENTRIES = 9000
const BEFORE = 4096 + 512
const CODES = ['ok', 'ok', 'forbidden']
const START = Date.parse('2026-01-01T00:00:00Z')

let db: TestDatabase
let audit: AuditFeature
let owner: pg.Client
let at = 0
const ids: OperationId[] = []
const keys = softKeys()
const folder = mkdtempSync(join(tmpdir(), 'gridseal-pruned-index-'))
const isEven = (index: number): boolean => index % 2 === 0

beforeAll(async () => {
  db = await testDatabase()
  owner = new pg.Client({ connectionString: db.ownerUrl })
  await owner.connect()
  audit = auditFeature({
    ...{ sql: db.sql, connect: db.database.connect, integrity: keys, origin: 'grid.example/audit', checkpointFile: join(folder, 'checkpoint') },
    now: () => new Date(START + at * 1000),
    writers: 2,
  })
  for (let group = 0; group < ENTRIES / 500; group += 1) {
    await audit.log.transact(({ append }) => {
      for (let one = 0; one < 500; one += 1, at += 1) {
        const id = newOperationId()
        ids.push(id)
        append(draftOf('refusal', id, { operation: isEven(at) ? 'test.even' : 'test.odd', code: CODES[at % 3] ?? 'ok' }))
      }
      return Promise.resolve()
    })
  }
  await audit.flush()
  await audit.index.complete()
  await prune()
})
afterAll(async () => {
  await audit.close()
  await owner.end()
  await db.close()
  rmSync(folder, { recursive: true })
})

async function prune(): Promise<void> {
  const sql = sqlOn(owner)
  const authorisation = newOperationId()
  await sql.query(
    `INSERT INTO ceremony_authorisations (id, ceremony, token, before, authorised_by, authorised_at, expires_at, version, mac)
     VALUES ($1, 'prune-log', 't', $2, 'u', now(), now() + interval '1 hour', 1, '\\x00')`,
    [authorisation, BEFORE],
  )
  const record = { before: BEFORE, operationId: newOperationId(), root: new Uint8Array(32), heads: new Uint8Array(32), checkpoint: '', authorisation }
  const dated = { ...record, youngestAt: new Date(), prunedAt: new Date() }
  await insertPrune(sql, dated, await sealRow(keys, pruneRow(dated)))
  await cutSegment(sql, BEFORE, (from, to) => readStored(sql, from, to))
  await allowPruning(sql)
  await deleteEntries(sql, BEFORE)
  await deleteSegments(sql, BEFORE)
}

const indexes = async (query: Query, page: { readonly order: 'oldest' | 'newest'; readonly from?: number; readonly limit: number }): Promise<number[]> =>
  (await audit.searcher.search(await audit.searcher.prepare(query), page)).entries.map(({ index }) => index)
const kept = (fits: (index: number) => boolean): number[] => Array.from({ length: ENTRIES - BEFORE }, (_, step) => BEFORE + step).filter(fits)

/** Whether the index was made anew meanwhile is no matter. */
const claims = (): void => {
  it('finds what is kept, from either end, and says where it begins', async () => {
    const even: Query = { field: 'operation', is: ['test.even'] }
    expect(await indexes(even, { order: 'oldest', limit: 5 })).toEqual(kept(isEven).slice(0, 5))
    expect(await indexes(even, { order: 'oldest', from: 7, limit: 5 })).toEqual(kept(isEven).slice(0, 5))
    expect(await indexes({ not: even }, { order: 'newest', limit: 5 })).toEqual(
      kept((index) => !isEven(index))
        .slice(-5)
        .toReversed(),
    )
    const prepared = await audit.searcher.prepare(even)
    const all: number[] = []
    for (let from: number | undefined; ; ) {
      const page = await audit.searcher.search(prepared, { order: 'newest', limit: 1000, ...(from === undefined ? {} : { from }) })
      expect(page.archivedBefore).toBe(BEFORE)
      all.push(...page.entries.map(({ index }) => index))
      if ((from = page.next) === undefined) break
    }
    expect(all.toReversed()).toEqual(kept(isEven))
    expect(await indexes({ ids: [ids[17] ?? ''] }, { order: 'oldest', limit: 5 })).toEqual([])
    expect(await indexes({ ids: [ids[BEFORE] ?? ''] }, { order: 'oldest', limit: 5 })).toEqual([BEFORE])
    expect(await indexes({ until: new Date(START).toISOString() }, { order: 'oldest', limit: 5 })).toEqual([])
  })

  it('counts what is kept, by values and by time', async () => {
    const everything = await audit.searcher.prepare({ and: [] })
    const codes = ['ok', 'forbidden'].map((value) => ({ value, count: kept((index) => CODES[index % 3] === value).length }))
    expect(await audit.searcher.count(everything, 'code', 10)).toMatchObject({ total: ENTRIES - BEFORE, groups: codes })
    const ok = await audit.searcher.prepare({ field: 'code', is: ['ok'] })
    expect(await audit.searcher.count(ok, 'code', 10)).toMatchObject({ total: codes[0]?.count, groups: [codes[0]] })
    expect(await audit.searcher.histogram(everything, {})).toMatchObject({ total: ENTRIES - BEFORE })
    expect(await audit.searcher.placesOfTime({ since: new Date(START), until: new Date(START + ENTRIES * 10_000) }, ENTRIES)).toEqual({
      from: BEFORE,
      to: ENTRIES,
    })
  })

  it('is what the entries say', async () => {
    const findings = []
    for await (const found of audit.index.check()) if (!('checked' in found)) findings.push(found)
    expect(findings).toEqual([])
  })
}

describe('the index of a pruned log', () => {
  claims()

  it('has no segment of which nothing is kept', async () => {
    expect(await db.sql.query('SELECT segment FROM audit_segments ORDER BY segment')).toEqual([{ segment: '1' }])
    expect(await db.sql.query('SELECT DISTINCT segment FROM audit_terms')).toEqual([{ segment: '1' }])
  })

  it('tells of a row that is changed', async () => {
    await owner.query(`UPDATE audit_terms SET count = count + 1 WHERE value = 'test.even'`)
    const findings = []
    for await (const found of audit.index.check()) if (!('checked' in found)) findings.push(found)
    expect(findings).toMatchObject([{ kind: 'changed', segment: 1, what: 'operation:test.even' }])
  })

  describe('that is made anew', () => {
    beforeAll(() => audit.index.renew())
    claims()
  })
})

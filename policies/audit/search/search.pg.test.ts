import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newOperationId, type OperationId } from '../../../core/ids.ts'
import { testDatabase, type TestDatabase } from '../../../server/postgres/test-database.ts'
import type { CallerKind } from '../../caller.ts'
import { type AuditFeature, auditFeature } from '../index.ts'
import { type Entry, parseEntry } from '../entry.ts'
import type { EntryDraft } from '../log.ts'
import { draftOf } from '../testing/drafts.ts'
import { softKeys } from '../testing/soft-keys.ts'
import { PgLogReader } from '../reader.pg.ts'
import { OpenSegments } from './open-segments.ts'
import { matches, type Query } from './query.ts'
import { Searcher } from './searcher.ts'
import type { IndexFinding } from './index-check.ts'
import { PgTermStore } from './term-store.pg.ts'

/** Two whole segments and a part of a third. */
const ENTRIES = 9000
const CODES = ['ok', 'ok', 'ok', 'forbidden', 'not-found']
const KINDS: readonly CallerKind[] = ['module', 'vendor', 'officer']
const OPERATIONS = ['kms.key.sign', 'kms.key.verify', 'kms.certificate.issue', 'attestation.card.challenge']

let db: TestDatabase
let audit: AuditFeature
let nowMs = Date.parse('2026-01-01T00:00:00Z')
const folder = mkdtempSync(join(tmpdir(), 'gridseal-search-'))
const keys = softKeys()
const unpruned = () => Promise.resolve(0)
const marked: OperationId[] = []

const ICCID = '89860123456789012345'

/** Entry `at` of the log, with a marked one among a thousand. */
function draft(at: number): EntryDraft {
  const isMarked = at % 1000 === 7
  const id = newOperationId()
  if (isMarked) marked.push(id)
  const kind = KINDS[at % KINDS.length] ?? 'module'
  return draftOf('refusal', id, {
    operation: OPERATIONS[at % OPERATIONS.length] ?? '',
    caller: { kind, name: `${kind}-${String(at % 7)}`, id: `c${String(at % 7)}`, address: at % 2 === 0 ? `192.0.2.${String(at % 100)}` : '2001:db8::7' },
    code: CODES[at % CODES.length] ?? '',
    ...(at % 3 === 0 ? { uses: [{ action: 'sign', keyId: `key-${String(at % 50)}` as never }] } : {}),
    decision: { effect: 'allow', rule: `rule-${String(at % 4)}`, revision: '0123456789abcdef', zones: at % 11 === 0 ? ['plant', 'internet'] : ['plant'] },
    facts: { public: isMarked ? { orderId: 'order 7', note: 'said' } : { note: 'said' }, ...(isMarked ? { personal: { iccid: ICCID } } : {}) },
    ...(isMarked ? { parent: newOperationId() } : {}),
  })
}

beforeAll(async () => {
  db = await testDatabase()
  const connect = db.database.connect
  audit = auditFeature({
    ...{ sql: db.sql, connect, integrity: keys, origin: 'grid.example/audit', checkpointFile: join(folder, 'checkpoint') },
    now: () => new Date((nowMs += 10_000)),
  })
  for (let at = 0; at < ENTRIES; at += 500) await Promise.all(Array.from({ length: 500 }, (_, step) => audit.log.append(draft(at + step))))
  await audit.flush()
  for (let from = 0; from < ENTRIES; from += 1000) logged.push(...(await audit.reader.read(from, from + 1000)).map(({ bytes }) => parseEntry(bytes)))
})
afterAll(async () => {
  await audit.close()
  await db.close()
  rmSync(folder, { recursive: true })
})

/** What a query finds, page by page. */
async function all(query: Query, order: 'oldest' | 'newest' = 'oldest', limit = 2500): Promise<number[]> {
  const prepared = await audit.searcher.prepare(query)
  const indexes: number[] = []
  for (let from: number | undefined; ; ) {
    const { entries, next } = await audit.searcher.search(prepared, { order, from, limit })
    indexes.push(...entries.map(({ index }) => index))
    if (next === undefined) return indexes
    from = next
  }
}

/** The log's entries, read without the index. */
const logged: Entry[] = []
/** The same by looking at every entry. */
const scan = (query: Query): number[] => logged.flatMap((entry, index) => (matches(query, entry, index, () => []) ? [index] : []))

const QUERIES: readonly (readonly [string, Query])[] = [
  ['everything', { and: [] }],
  ['one value', { field: 'code', is: ['forbidden'] }],
  ['several values', { field: 'code', is: ['forbidden', 'not-found', 'unknown'] }],
  ['a pattern', { field: 'operation', like: ['kms.*.i?sue', 'attest*'] }],
  ['a pattern of nothing', { field: 'operation', like: ['x*'] }],
  ['an address', { field: 'address', is: ['192.0.2.44'] }],
  ['networks', { field: 'address', is: ['192.0.2.32/27', '2001:db8::/32'] }],
  ['an address written otherwise', { field: 'address', is: ['2001:DB8:0::7'] }],
  ['a zone', { field: 'zone', is: ['internet'] }],
  ['a role', { field: 'role', is: ['vendor'] }],
  ['an object', { field: 'object', is: ['key-42'] }],
  ['a rare object', { field: 'object', is: ['order 7'] }],
  [
    'and',
    {
      and: [
        { field: 'code', is: ['ok'] },
        { field: 'role', is: ['vendor'] },
        { field: 'operation', is: ['kms.key.sign'] },
      ],
    },
  ],
  [
    'or',
    {
      or: [
        { field: 'object', is: ['order 7'] },
        { field: 'caller', is: ['urn:gridseal:vendor:vendor-3'] },
      ],
    },
  ],
  ['not', { not: { field: 'code', is: ['ok'] } }],
  ['not of not', { not: { not: { field: 'object', is: ['order 7'] } } }],
  ['and not', { and: [{ not: { field: 'rule', is: ['rule-0'] } }, { field: 'operation', like: ['kms.key.*'] }, { not: { field: 'role', is: ['module'] } }] }],
  [
    'what contradicts itself',
    {
      and: [
        { field: 'code', is: ['ok'] },
        { field: 'code', is: ['forbidden'] },
      ],
    },
  ],
  ['since', { since: '2026-01-01T20:00:00Z' }],
  ['until', { until: '2026-01-01T20:00:00+08:00' }],
  ['between', { and: [{ since: '2026-01-01T05:00:00Z' }, { until: '2026-01-01T05:30:00Z' }, { field: 'code', is: ['ok'] }] }],
]

describe.each([
  ['in memory, before any of it is indexed', () => Promise.resolve()],
  ['indexed', () => audit.index.complete()],
] as const)('a log %s', (_state, prepare) => {
  beforeAll(() => prepare())

  it.each(QUERIES)('is searched by %s', async (name, query) => {
    const expected = scan(query)
    expect(await all(query)).toEqual(expected)
    expect(await all(query, 'newest')).toEqual(expected.toReversed())
    if (!/nothing|contradicts/.test(name)) expect(expected.length).toBeGreaterThan(0)
  })

  it('is searched by the ids of operations and of parents', async () => {
    const ids = marked.slice(2, 5)
    expect(await all({ ids })).toHaveLength(3)
    expect(await all({ and: [{ ids }, { field: 'code', is: ['unknown'] }] })).toEqual([])
    const prepared = await audit.searcher.prepare({ ids })
    const { entries } = await audit.searcher.search(prepared, { order: 'newest', limit: 1 })
    expect(await all({ field: 'parent', is: [String(entries[0]?.entry.parent)] })).toEqual([entries[0]?.index])
  })

  it('is searched by a personal value, which the text of the query does not show', async () => {
    const query: Query = { and: [{ personal: 'iccid', value: ICCID }, { not: { field: 'code', is: ['unknown'] } }] }
    expect(await all(query)).toEqual(scan({ field: 'object', is: ['order 7'] }))
    expect(await all({ personal: 'imsi', value: ICCID })).toEqual([])
    expect(await all({ personal: 'iccid', value: '89860123456789012346' })).toEqual([])
    expect((await audit.searcher.prepare(query)).text).toMatch(/^personal\.iccid:#[0-9a-f]{32} AND NOT code:unknown$/)
  })

  it('is counted by a field, all of it and some of it', async () => {
    const everything = await audit.searcher.count(await audit.searcher.prepare({ and: [] }), 'code', 2)
    expect(everything).toMatchObject({
      total: ENTRIES,
      groups: [
        { value: 'ok', count: 5400 },
        { value: 'forbidden', count: 1800 },
      ],
      more: 1,
    })
    const some = await audit.searcher.count(await audit.searcher.prepare({ field: 'operation', like: ['kms.key.*'] }), 'role', 10)
    expect(some.total).toBe(4500)
    expect(some.groups.reduce((sum, { count }) => sum + count, 0)).toBe(4500)
    for (const { value, count } of some.groups) {
      expect(count).toBe(
        scan({
          and: [
            { field: 'operation', like: ['kms.key.*'] },
            { field: 'role', is: [value] },
          ],
        }).length,
      )
    }
  })

  it('is counted by time', async () => {
    const { groups, total, bucketMs } = await audit.searcher.histogram(await audit.searcher.prepare({ field: 'code', is: ['ok'] }), {})
    expect(bucketMs).toBe(30 * 60_000)
    expect([total, groups.reduce((sum, { count }) => sum + count, 0)]).toEqual([5400, 5400])
    const [first] = groups
    expect(first?.value).toBe('2026-01-01T00:00:00.000Z')
    expect(first?.count).toBe(scan({ and: [{ field: 'code', is: ['ok'] }, { until: '2026-01-01T00:30:00Z' }] }).length)
    const narrow = await audit.searcher.prepare({ and: [{ since: '2026-01-01T01:00:00Z' }, { until: '2026-01-01T02:00:00Z' }] })
    expect((await audit.searcher.histogram(narrow, { bucketMs: 600_000 })).groups).toEqual(
      Array.from({ length: 6 }, (_, at) => ({ value: `2026-01-01T01:${String(at)}0:00.000Z`, count: 60 })),
    )
    await expect(audit.searcher.histogram(narrow, { bucketMs: 1000 })).rejects.toMatchObject({ code: 'request-invalid' })
  })
})

describe('pages', () => {
  it('do not move while the log grows', async () => {
    const prepared = await audit.searcher.prepare({ field: 'role', is: ['vendor'] })
    const before = await all({ field: 'role', is: ['vendor'] }, 'newest')
    const { entries, next } = await audit.searcher.search(prepared, { order: 'newest', limit: 10 })
    await audit.log.append(draft(1))
    await audit.flush()
    const second = await audit.searcher.search(prepared, { order: 'newest', limit: 10, from: next })
    expect([...entries, ...second.entries].map(({ index }) => index)).toEqual(before.slice(0, 20))
    expect((await audit.searcher.search(prepared, { order: 'newest', limit: 1 })).entries[0]?.index).toBe(ENTRIES)
    expect(await audit.searcher.search(prepared, { order: 'oldest', limit: 1, from: ENTRIES + 5 })).toMatchObject({ entries: [], searchedTo: ENTRIES + 1 })
  })
})

describe('the index', () => {
  const findings = async (): Promise<IndexFinding[]> => {
    const found: IndexFinding[] = []
    for await (const one of audit.index.check()) if ('kind' in one) found.push(one)
    return found
  }
  const tamper = (statement: string): Promise<unknown> => db.ownerSql.query(statement)

  it('is what the entries say', async () => {
    expect(await findings()).toEqual([])
    expect((await db.sql.query('SELECT FROM audit_segments')).length).toBe(2)
  })

  it('may not be edited by the service', async () => {
    for (const statement of ['UPDATE audit_terms SET count = 1', 'DELETE FROM audit_terms', 'TRUNCATE audit_terms', 'DELETE FROM audit_segments'])
      await expect(db.sql.query(statement)).rejects.toThrow('permission denied')
  })

  it('is not sealed twice, nor out of order', async () => {
    const store = new PgTermStore(db.sql, unpruned)
    const { generation } = await store.position()
    const segment = { segment: 1, firstMs: 0, lastMs: 0, times: new Uint8Array(6 * 4096), terms: [] }
    expect(await store.seal(segment, generation)).toBe(false)
    expect(await store.seal({ ...segment, segment: 3 }, generation)).toBe(false)
    expect(await store.seal({ ...segment, segment: 2 }, generation + 1)).toBe(false)
  })

  it('with a row too many makes an answer fail, and with one too few is found by the comparison', async () => {
    await tamper(`INSERT INTO audit_terms SELECT field, 'forged', segment, count, bits FROM audit_terms WHERE field = 7 AND value = 'ok' AND segment = 1`)
    await expect(all({ field: 'code', is: ['forged'] })).rejects.toMatchObject({ code: 'integrity-failed' })
    expect(await findings()).toEqual([{ kind: 'extra', segment: 1, what: 'code:forged' }])
    await tamper(`DELETE FROM audit_terms WHERE field = 7 AND (value = 'ok' AND segment = 0)`)
    await tamper(`UPDATE audit_terms SET bits = '\\x0001', count = 1 WHERE field = 8 AND segment = 1`)
    await tamper(`UPDATE audit_segments SET last_ms = last_ms + 1 WHERE segment = 0`)
    await tamper(`INSERT INTO audit_terms VALUES (7, 'late', 9, 1, '\\x0001')`)
    expect(new Set(await findings())).toEqual(
      new Set([
        { kind: 'missing', segment: 0, what: 'code:ok' },
        { kind: 'changed', segment: 0, what: 'times' },
        { kind: 'changed', segment: 1, what: 'kind:refusal' },
        { kind: 'extra', segment: 1, what: 'code:forged' },
        { kind: 'extra', segment: 9, what: 'code:late' },
      ]),
    )
  })

  it('is compared page by page, with a whole index of rows too many', async () => {
    await tamper(`INSERT INTO audit_terms SELECT 6, 'forged ' || n, n % 20, 1, '\\x0001' FROM generate_series(1, 100001) AS n`)
    const extra = (await findings()).filter(({ kind }) => kind === 'extra')
    // Sixteen segments are told by their rows, the others as a whole; 9 has its row from before.
    const named = extra.filter(({ what }) => what.startsWith('object:forged '))
    expect(new Set(named.map(({ segment }) => segment)).size).toBe(16)
    expect(named.length).toBeGreaterThan(16 * 5000 - 1)
    expect(extra.filter(({ what }) => what === 'rows')).toHaveLength(4)
    const counted = new Map<number, number>()
    let pages = 0
    for await (const page of new PgTermStore(db.sql, unpruned).rowCounts(6)) {
      pages += 1
      for (const [segment, rows] of page) counted.set(segment, (counted.get(segment) ?? 0) + rows)
    }
    const stored = await db.sql.query<{ segment: number; rows: number }>(
      'SELECT segment::int, count(*)::int AS rows FROM audit_terms WHERE field = 6 GROUP BY segment ORDER BY segment',
    )
    expect(pages).toBe(2)
    expect([...counted].sort(([a], [b]) => a - b)).toEqual(stored.map(({ segment, rows }) => [segment, rows]))
  })

  it('is made anew, and finds again', async () => {
    await audit.index.renew()
    expect(await findings()).toEqual([])
    expect(await all({ field: 'code', is: ['forbidden'] })).toHaveLength(1800)
  })

  it('that is thrown away under a search is not believed', async () => {
    const store = new PgTermStore(db.sql, unpruned)
    const rows = store.rows.bind(store)
    let searches = 0
    store.rows = async (...asked) => {
      searches += 1
      // Thrown away between the look at how far it is and the look at its rows, and as far again afterwards.
      if (searches === 1) await store.clear()
      const found = await rows(...asked)
      if (searches === 1) await audit.index.complete()
      return found
    }
    const open = new OpenSegments((from, to) => audit.reader.read(from, to))
    const searcher = new Searcher({
      store,
      open,
      log: new PgLogReader(db.sql, { checkGroups: keys.checkGroups, minimumIndex: unpruned }),
      blindIndex: keys.blindIndex,
    })
    const found = await searcher.search(await searcher.prepare({ field: 'object', is: ['order 7'] }), { order: 'oldest', limit: 50 })
    expect([found.entries.length, searches]).toEqual([9, 2])
  })
})

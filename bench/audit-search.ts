import type { Sql } from '../core/tx.ts'
import type { AuditFeature } from '../policies/audit/index.ts'
import type { Query } from '../policies/audit/search/query.ts'
import type { AnyOperation } from '../policies/operation.ts'
import { keyAt, signs, timeAt } from './audit-log.ts'
import { type Result, result } from './report.ts'

/** Runs of each kind of query, with other values each time, and those before that do not count. */
const [RUNS, WARM] = [40, 10]
/** Entries of a page. */
const PAGE = 50
const GOAL_MS = 200

const caller = (module: number): Query => ({ field: 'caller', is: [`urn:gridseal:module:module-${module}`] })
const operation = (name: string): Query => ({ field: 'operation', is: [name] })
const modules = Array.from({ length: 40 }, (_, module) => module)
const [even, odd] = [modules.filter(signs), modules.filter((module) => !signs(module))]
const of = (list: readonly number[], run: number): number => list[run % list.length] ?? 0

/** Each kind of search, by what makes it hard. `size`: of the log. */
const SEARCHES = (size: number): Readonly<Record<string, (run: number) => Query>> => ({
  'a popular term': (run) => caller(of(modules, run)),
  'a rare term': (run) => ({ field: 'object', is: [keyAt(run * 17)] }),
  'two popular terms, rare together': (run) => ({ and: [caller(of(odd, run)), operation('kms.key.sign')] }),
  'two popular terms, never together': (run) => ({ and: [caller(of(even, run)), { field: 'address', is: [`10.${of(odd, run)}.0.0/24`] }] }),
  'not, and not': (run) => ({ and: [{ not: { field: 'code', is: ['ok'] } }, { not: caller(of(modules, run)) }, { not: operation('kms.key.sign') }] }),
  'or of ten': (run) => ({ or: Array.from({ length: 10 }, (_, at) => ({ field: 'object' as const, is: [keyAt(run * 10 + at)] })) }),
  'a pattern': () => ({ field: 'operation', like: ['attestation.*'] }),
  'a network': (run) => ({
    and: [
      { field: 'address', is: [`10.${of(modules, run)}.0.0/24`] },
      { field: 'code', is: ['forbidden'] },
    ],
  }),
  'an hour of one caller': (run) => {
    const from = timeAt(Math.floor((size * (run + 1)) / (RUNS + 2)), size)
    return { and: [{ since: from.toISOString() }, { until: new Date(from.getTime() + 3_600_000).toISOString() }, caller(of(modules, run))] }
  },
})

const at = (times: readonly number[], share: number): number => [...times].sort((a, b) => a - b)[Math.ceil(times.length * share) - 1] ?? 0

/** How long each run took, in milliseconds. */
async function timesOf(runs: number, work: (run: number) => Promise<unknown>): Promise<readonly number[]> {
  const times: number[] = []
  // Statements are planned at first, once for each connection.
  for (let run = 0; run < WARM; run += 1) await work(run)
  for (let run = 0; run < runs; run += 1) {
    const started = performance.now()
    await work(run)
    times.push(performance.now() - started)
  }
  return times
}

const measure = async (runs: number, work: (run: number) => Promise<unknown>): Promise<number> => at(await timesOf(runs, work), 0.95)

/** How long 95 of 100 searches of each kind take at most, in milliseconds: the index, the page's rows, their groups' MACs by software. */
export async function benchSearch({ searcher }: Pick<AuditFeature, 'searcher'>, size: number, say: (line: string) => void): Promise<Result[]> {
  const results: Result[] = []
  const add = (metric: string, value: number): void =>
    void results.push(result({ metric: `search p95 ${metric}`, value, unit: 'ms', goal: GOAL_MS, goalIs: 'at-most' }))
  for (const [kind, queryOf] of Object.entries(SEARCHES(size))) {
    say(`search: ${kind}`)
    const search = async (run: number): Promise<number> =>
      (await searcher.search(await searcher.prepare(queryOf(run)), { order: run % 2 === 0 ? 'newest' : 'oldest', limit: PAGE })).entries.length
    const found = await search(0)
    if (found === 0 && size >= 1_000_000 && !kind.includes('never')) throw new Error(`the search for ${kind} finds nothing, and measures nothing`)
    add(kind, await measure(RUNS, search))
  }
  say('counts')
  const everything = await searcher.prepare({ and: [] })
  add('counts of all by operation', await measure(5, () => searcher.count(everything, 'operation', 100)))
  const some = await searcher.prepare({ field: 'code', is: ['forbidden'] })
  add('counts of some by caller', await measure(5, () => searcher.count(some, 'caller', 100)))
  add('counts of some by time', await measure(5, () => searcher.histogram(some, {})))
  return results
}

/** The proof of one entry and its check before it is given, the database's part included. */
export async function benchProof({ operations, reader }: Pick<AuditFeature, 'operations' | 'reader'>, size: number): Promise<Result[]> {
  const prove = operations.find(({ name }: AnyOperation) => name === 'policies.audit.proof')
  if (prove === undefined) throw new Error('there is no operation policies.audit.proof')
  const ids: string[] = []
  for (let run = 0; run < RUNS; run += 1) {
    const index = Math.floor((size * run) / RUNS)
    const [entry] = await reader.read(index, index + 1)
    ids.push((JSON.parse(Buffer.from(entry?.bytes ?? []).toString('utf8')) as { id: string }).id)
  }
  const times = await timesOf(RUNS, async (run) => {
    const target: unknown = await prove.locate({ operationId: ids[run % ids.length], from: 0, limit: 1 }, { kind: 'auditor', name: 'bench', id: 'bench' })
    // It uses no key: nothing looks at the permit.
    const proven: unknown = await prove.execute(undefined as never, target)
    if (!Array.isArray(proven) || proven.length !== 1) throw new Error('an entry is not proven')
  })
  return [
    result({ metric: 'proof', value: at(times, 0.5), unit: 'ms', goal: 5, goalIs: 'at-most' }),
    result({ metric: 'proof p95', value: at(times, 0.95), unit: 'ms' }),
  ]
}

const PARTS = {
  groups: ['audit_groups'],
  entries: ['audit_entries'],
  tiles: ['audit_tiles'],
  'index of search': ['audit_terms', 'audit_segments'],
} as const

/** What an entry takes in the database, tables and indexes. */
export async function benchBytes(sql: Sql, entries: number): Promise<{ readonly result: Result; readonly note: string }> {
  const sizes: [string, number][] = []
  for (const [part, tables] of Object.entries(PARTS)) {
    const rows = await sql.query<{ bytes: string }>(
      `SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) AS bytes FROM pg_class c
       WHERE c.relkind = 'r' AND (c.relname = ANY($1) OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent::regclass::text = ANY($1)))`,
      [tables],
    )
    sizes.push([part, Number(rows[0]?.bytes) / entries])
  }
  const total = sizes.reduce((sum, [, bytes]) => sum + bytes, 0)
  return {
    result: result({ metric: 'bytes an entry', value: total, unit: 'bytes' }),
    note: `bytes an entry: ${sizes.map(([part, bytes]) => `${part} ${bytes.toFixed(0)}`).join(', ')}`,
  }
}

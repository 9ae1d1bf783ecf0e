import { monitorEventLoopDelay } from 'node:perf_hooks'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newOperationId } from '../core/ids.ts'
import { digestRow, type Row } from '../core/row.ts'
import type { SealedTable } from '../core/sealed-table.ts'
import { auditFeature } from '../policies/audit/index.ts'
import { softKeys } from '../policies/audit/testing/soft-keys.ts'
import { systemCaller } from '../policies/caller.ts'
import { integrityFeature } from '../policies/integrity/index.ts'
import { openDatabase } from '../server/database.ts'
import { migrateDatabase } from '../server/migrate.ts'
import { startEmbeddedPostgres } from '../server/postgres/launcher.ts'
import { schemaFindings } from '../server/schema/schema-comparison.ts'
import type { Options } from './options.ts'
import { type Report, result } from './report.ts'

const CALLERS = 512
const rowAt = (at: number): Row => ({ table: 'things', schema: 1, id: `thing-${String(at)}`, version: 1, columns: { state: 'made' } })

/** A pass over a log each of whose entries names a row, and over as many rows, which memory makes: MACs by software, so that it is the comparison that is measured. */
export async function benchIntegrity(say: (line: string) => void, options: Options): Promise<Report> {
  const entries = options.count('size') ?? 100_000
  const folder = mkdtempSync(join(tmpdir(), 'gridseal-bench-'))
  const postgres = await startEmbeddedPostgres({ folder: join(folder, 'postgres'), durable: false })
  try {
    await migrateDatabase({ ownerUrl: postgres.url('owner'), serviceUrl: postgres.url('service') })
    const database = openDatabase({ serviceUrl: postgres.url('service') })
    const keys = softKeys()
    const audit = auditFeature({
      ...{ sql: database.sql, connect: () => database.connect(), integrity: keys, origin: 'bench', checkpointFile: join(folder, 'checkpoint'), writers: 8 },
    })
    await audit.start()
    let next = 0
    const write = async (): Promise<void> => {
      for (let at = next++; at < entries; at = next++) {
        if (at % 100_000 === 0) say(`${String(at)} of ${String(entries)} entries written`)
        const facts = { public: { number: at }, rows: [digestRow(rowAt(at))] }
        await audit.log.append({ kind: 'outcome', id: newOperationId(), operation: 'bench.thing.make', caller: systemCaller('bench'), code: 'ok', facts })
      }
    }
    await Promise.all(Array.from({ length: CALLERS }, write))
    await audit.flush()
    const feature = integrityFeature({
      ...{ sql: database.sql, audit, everyHours: 0, now: () => new Date(), dependents: () => [], tables: () => [things(entries)] },
      reviewRows: (rows) => Promise.resolve(rows.map(() => 'current')),
      checkGroups: keys.checkGroups,
      schema: () => schemaFindings(database.sql),
    })
    const delay = monitorEventLoopDelay({ resolution: 1 })
    delay.enable()
    let most = 0
    let told = performance.now()
    const report = await feature.check({
      between: ({ part, done }) => {
        most = Math.max(most, process.memoryUsage().rss)
        if (performance.now() - told > 5_000) {
          told = performance.now()
          say(`${part}: ${String(done)}`)
        }
        return Promise.resolve()
      },
    })
    delay.disable()
    const seconds = (report.endedAt.getTime() - report.startedAt.getTime()) / 1000
    await audit.close()
    await database.close()
    return {
      bench: 'integrity',
      results: [
        result({ metric: `entries and rows compared, of ${entries.toLocaleString('en')}`, value: entries / seconds, unit: '/s' }),
        result({ metric: 'findings', value: report.findingCount, unit: '', goal: 0, goalIs: 'at-most' }),
        result({ metric: 'event loop held, at most', value: delay.max / 1e6, unit: 'ms' }),
        result({ metric: 'memory of the process, at most', value: most / 2 ** 20, unit: 'MiB' }),
      ],
      notes: [`${seconds.toFixed(1)} s; ${String(report.groups)} groups`],
    }
  } finally {
    await postgres.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

function things(count: number): SealedTable {
  const refuse = (): Promise<never> => Promise.reject(new Error('it is only read'))
  return {
    ...{ name: 'things', holdsKeys: false, count: () => Promise.resolve(count), find: refuse, reseal: refuse, rewrap: refuse },
    page: (after, limit) => {
      const from = after === undefined ? 0 : Number(after) + 1
      const length = Math.max(0, Math.min(limit, count - from))
      const rows = Array.from({ length }, (_, at) => ({ key: String(from + at), row: rowAt(from + at), mac: new Uint8Array(16) }))
      // As a database, which lets others go on meanwhile.
      return new Promise((resolve) => setImmediate(() => resolve(rows)))
    },
  }
}

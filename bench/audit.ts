import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newOperationId } from '../core/ids.ts'
import { auditFeature } from '../policies/audit/index.ts'
import type { AuditLog } from '../policies/audit/log.ts'
import { softKeys } from '../policies/audit/testing/soft-keys.ts'
import { type Database, openDatabase } from '../server/database.ts'
import { migrateDatabase } from '../server/migrate.ts'
import { startEmbeddedPostgres } from '../server/postgres/launcher.ts'
import { fillLog, GROUP_ENTRIES } from './audit-log.ts'
import { benchVerify } from './audit-verification.ts'
import { benchBytes, benchProof, benchSearch } from './audit-search.ts'
import type { Options } from './options.ts'
import { type Report, type Result, result } from './report.ts'

/** Seconds of each measurement, and entries of the log that is searched when nothing else is said. */
const [SECONDS, SIZE] = [2, 200_000]
const WRITERS = 13
/** The most entries of the log that is verified offline: its speed does not depend on the length. */
const MOST_VERIFIED = 500_000

const CALLERS = [16, 256, 1024]

/**
 * Durable writes to the log: an embedded PostgreSQL that waits for the disk, software MACs, sequencer and indexer running beside. The limit is a bare loop of one-row INSERTs
 * into the same table, a transaction each, over as many connections as there are slots for transactions. Then a log of `--size` entries is made, searched and proven.
 */
export async function benchAudit(say: (line: string) => void, options: Options): Promise<Report> {
  const size = options.count('size') ?? SIZE
  const folder = mkdtempSync(join(tmpdir(), 'gridseal-bench-'))
  const postgres = await startEmbeddedPostgres({ folder: join(folder, 'postgres') })
  const notes: string[] = []
  const results: Result[] = []
  try {
    await migrateDatabase({ ownerUrl: postgres.url('owner'), serviceUrl: postgres.url('service') })
    const database = openDatabase({ serviceUrl: postgres.url('service'), answerTimeoutMs: 60_000 })
    say('bare inserts')
    const limit = await bareInserts(database, WRITERS - 2)
    const keys = softKeys()
    const audit = auditFeature({
      sql: database.sql,
      connect: () => database.connect(),
      integrity: keys,
      origin: 'bench',
      checkpointFile: join(folder, 'checkpoint'),
      writers: WRITERS,
    })
    await audit.start()
    let written = 0
    const writes = async (what: string, callers: number, work: typeof appendOne): Promise<(share: number) => number> => {
      say(what)
      const { entries, latencies } = await run(audit.log, work, callers)
      written += entries
      const signed = audit.status().signedSize
      const started = performance.now()
      await audit.flush()
      const at = (share: number): number => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0
      results.push(result({ metric: what, value: entries / SECONDS, unit: 'entries/s', limit, goal: 5000 }))
      notes.push(
        `${what}: p50 ${at(0.5).toFixed(1)} ms, p99 ${at(0.99).toFixed(1)} ms; ${((100 * signed) / written).toFixed(0)} % signed when the writing ended, all ${(performance.now() - started).toFixed(0)} ms later`,
      )
      return at
    }
    for (const callers of CALLERS) {
      const at = await writes(`entries ${callers}`, callers, appendOne)
      if (callers !== 256) continue
      results.push(result({ metric: 'p50 256', value: at(0.5), unit: 'ms' }))
      results.push(result({ metric: 'p99 256', value: at(0.99), unit: 'ms', goal: 30, goalIs: 'at-most' }))
    }
    await writes('intents and outcomes 256', 256, operate)

    say(`a log of ${size} entries`)
    const started = performance.now()
    await fillLog({ sql: database.sql, keys, audit, size, say })
    notes.push(
      `a log of ${size} entries in groups of ${GROUP_ENTRIES} was made, sequenced and indexed in ${((performance.now() - started) / 1000).toFixed(0)} s`,
    )
    results.push(...(await benchProof(audit, audit.status().signedSize)))
    results.push(...(await benchSearch(audit, size, say)))
    const bytes = await benchBytes(database.sql, audit.status().size)
    results.push(bytes.result)
    notes.push(bytes.note)
    await audit.close()
    await database.close()
    const verified = await benchVerify(say, { entries: Math.min(size, MOST_VERIFIED) })
    results.push(...verified.results)
    notes.push(...(verified.notes ?? []))
    return { bench: 'audit', results, notes }
  } finally {
    await postgres.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function bareInserts(database: Database, connections: number): Promise<number> {
  const clients = await Promise.all(Array.from({ length: connections }, () => database.connect()))
  const text = 'INSERT INTO audit_groups (writer, epoch, first_seq, count, bundle, chain, mac) VALUES ($1, 1, $2, 1, $3, $4, $5)'
  const until = performance.now() + SECONDS * 1000
  const done = await Promise.all(
    clients.map(async (client, at) => {
      let count = 0
      // Slots that nobody takes: no epoch of theirs is known, so that they are not sequenced.
      while (performance.now() < until) {
        await client.query({ name: 'bare', text, values: [100_000 + at, count, Buffer.alloc(600), Buffer.alloc(32), Buffer.alloc(16)] })
        count += 1
      }
      return count
    }),
  )
  await Promise.all(clients.map((client) => client.end()))
  return done.reduce((a, b) => a + b, 0) / SECONDS
}

const caller = { kind: 'module', name: 'bench', id: '0198f2c1-7a40-7c3e-9d52-6a1f0b2c3d4e', certificate: 'ab'.repeat(32), address: '192.0.2.7' } as const
const decision = { effect: 'allow', rule: 'modules may sign', revision: '0123456789abcdef' } as const
const facts = { public: { keyId: '0198f2c1-7a40-7c3e-9d52-6a1f0b2c3d4f', algorithm: 'ec-p256' } } as const

/** Both give the number of entries that they made durable. */
async function appendOne(log: AuditLog): Promise<number> {
  await log.append({ kind: 'outcome', id: newOperationId(), operation: 'kms.key.sign', caller, decision, code: 'ok', facts })
  return 1
}

async function operate(log: AuditLog): Promise<number> {
  const id = newOperationId()
  await log.transact(({ append }) => Promise.resolve(append({ kind: 'intent', id, operation: 'kms.key.generate', caller, decision, facts })))
  await log.transact(({ append }) => Promise.resolve(append({ kind: 'outcome', id, operation: 'kms.key.generate', caller, decision, code: 'ok', facts })))
  return 2
}

async function run(log: AuditLog, work: (log: AuditLog) => Promise<number>, callers: number): Promise<{ entries: number; latencies: number[] }> {
  const latencies: number[] = []
  let entries = 0
  const until = performance.now() + SECONDS * 1000
  const one = async (): Promise<void> => {
    while (performance.now() < until) {
      const started = performance.now()
      const made = await work(log)
      entries += made
      latencies.push(performance.now() - started)
    }
  }
  await Promise.all(Array.from({ length: callers }, one))
  return { entries, latencies: latencies.sort((a, b) => a - b) }
}

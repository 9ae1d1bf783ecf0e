import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newOperationId } from '../core/ids.ts'
import { auditFeature } from '../policies/audit/index.ts'
import type { AuditLog } from '../policies/audit/log.ts'
import { softKeys } from '../policies/audit/testing/soft-keys.ts'
import { openDatabase } from '../server/database.ts'
import { migrateDatabase } from '../server/migrate.ts'
import { startEmbeddedPostgres } from '../server/postgres/launcher.ts'

export interface AuditBenchRow {
  readonly what: string
  readonly callers: number
  /** Durable entries, acknowledged. */
  readonly entriesPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** What the sequencer had signed when the writing ended, and how long it took to catch up. */
  readonly signedShare: number
  readonly catchUpMs: number
}

/** Durable writes to the log: an embedded PostgreSQL with fsync, software MACs, the sequencer running beside. `seconds` for each row. */
export async function benchAudit({ seconds = 3, writers = 6 }: { readonly seconds?: number; readonly writers?: number } = {}): Promise<AuditBenchRow[]> {
  const folder = mkdtempSync(join(tmpdir(), 'gridseal-bench-'))
  const postgres = await startEmbeddedPostgres({ folder: join(folder, 'postgres') })
  try {
    await migrateDatabase({ ownerUrl: postgres.url('owner'), serviceUrl: postgres.url('service') })
    const database = openDatabase({ serviceUrl: postgres.url('service') })
    const audit = auditFeature({ sql: database.sql, connect: () => database.connect(), integrity: softKeys(), origin: 'bench', checkpointFile: join(folder, 'checkpoint'), writers })
    await audit.start()
    const rows: AuditBenchRow[] = []
    for (const [what, callers, work] of [
      ['single entries (transient outcomes)', 16, appendOne],
      ['single entries (transient outcomes)', 256, appendOne],
      ['intent and outcome (durable operations)', 16, operate],
      ['intent and outcome (durable operations)', 256, operate],
    ] as const) {
      const { entries, latencies } = await run(audit.log, work, callers, seconds)
      const signed = audit.status().signedSize
      const total = rows.reduce((sum, row) => sum + row.entriesPerSecond * seconds, 0) + entries
      const started = performance.now()
      await audit.flush()
      const at = (share: number): number => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0
      rows.push({
        what,
        callers,
        entriesPerSecond: Math.round(entries / seconds),
        p50Ms: Number(at(0.5).toFixed(1)),
        p99Ms: Number(at(0.99).toFixed(1)),
        signedShare: Number((signed / total).toFixed(2)),
        catchUpMs: Math.round(performance.now() - started),
      })
    }
    await audit.close()
    await database.close()
    return rows
  } finally {
    await postgres.stop()
    rmSync(folder, { recursive: true, force: true })
  }
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

async function run(log: AuditLog, work: (log: AuditLog) => Promise<number>, callers: number, seconds: number): Promise<{ entries: number; latencies: number[] }> {
  const latencies: number[] = []
  let entries = 0
  const until = performance.now() + seconds * 1000
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

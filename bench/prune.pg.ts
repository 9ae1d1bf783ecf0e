import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { mirror } from '../clients/audit-mirror.ts'
import { verifyLog } from '../clients/audit-verify.ts'
import { newOperationId, type OperationId } from '../core/ids.ts'
import type { Sql } from '../core/tx.ts'
import { type AuditFeature, auditFeature } from '../policies/audit/index.ts'
import { softKeys } from '../policies/audit/testing/soft-keys.ts'
import { systemCaller } from '../policies/caller.ts'
import type { AnyOperation, Download } from '../policies/operation.ts'
import { pruneLog } from '../server/cli/log-pruning.ts'
import { openDatabase, sqlOn } from '../server/database.ts'
import { migrateDatabase } from '../server/migrate.ts'
import { startEmbeddedPostgres } from '../server/postgres/launcher.ts'
import { logCeremonies } from '../server/token-succession.ts'
import { fillLog } from './audit-log.ts'
import type { Options } from './options.ts'
import { type Report, result } from './report.ts'

const SIZE = 500_000
/** Of a log, so much is pruned. */
const SHARE = 0.9
/** Those who write to the log meanwhile, and how long each waits between two entries. */
const [CALLERS, PAUSE_MS] = [16, 20]
const ORIGIN = 'bench'

/** By the crash point that the command comes to, what was done until then. */
const PARTS: Readonly<Record<string, string>> = {
  'prune.heads-written': 'the archive verified, row heads made',
  'prune.logged': 'recorded and logged',
  'prune.entries-deleted': 'entries deleted',
  'prune.groups-deleted': 'groups deleted',
  'the end': 'the index of searches',
}

/** A log of `--size` entries is mirrored, and nine tenths of it pruned while callers write. The limit is the verification of the same archive alone. */
export async function benchPrune(say: (line: string) => void, options: Options): Promise<Report> {
  const size = options.count('size') ?? SIZE
  const folder = mkdtempSync(join(tmpdir(), 'gridseal-bench-'))
  const archive = join(folder, 'archive')
  const postgres = await startEmbeddedPostgres({ folder: join(folder, 'postgres') })
  const owner = new pg.Client({ connectionString: postgres.url('owner') })
  try {
    await migrateDatabase({ ownerUrl: postgres.url('owner'), serviceUrl: postgres.url('service') })
    await owner.connect()
    const database = openDatabase({ serviceUrl: postgres.url('service'), answerTimeoutMs: 60_000 })
    const keys = softKeys()
    const audit = auditFeature({
      ...{ sql: database.sql, connect: () => database.connect(), integrity: keys, origin: ORIGIN, checkpointFile: join(folder, 'checkpoint'), writers: 4 },
    })
    await audit.start()
    say(`a log of ${size} entries`)
    await fillLog({ sql: database.sql, keys, audit, size, say })
    say('mirror')
    const mirrored = await secondsOf(() => mirror({ folder: archive, keys: [audit.key.vkey], log: logOf(audit) }))
    say('verify')
    const verified = await secondsOf(() => verifyLog({ log: archive, vkey: audit.key.vkey }))
    say('entries, nothing else')
    const before = Math.floor((size * SHARE) / 256) * 256
    const alone = await p99During(audit, () => sleep(5_000))

    say(`prune before entry ${before}`)
    const log = (): Promise<void> => logCeremonies({ audit, database, sealer: keys, origin: ORIGIN, history: { adoptions: [], recoveries: [] } })
    const looking = setInterval(() => void log().catch((error: unknown) => say(String(error))), 200)
    const parts: string[] = []
    let at = performance.now()
    const reached = (point: string): void => {
      const part = PARTS[point]
      if (part === undefined) return
      parts.push(`${part} ${((performance.now() - at) / 1000).toFixed(1)} s`)
      at = performance.now()
    }
    const started = performance.now()
    const meanwhile = await p99During(audit, () =>
      pruneLog({
        ...{ sql: sqlOn(owner), sealer: keys, key: audit.key, replaced: [], archive, before, receivers: [], faults: reached },
        decide: () => decided(sqlOn(owner), before, size),
      }),
    )
    const pruned = (performance.now() - started) / 1000
    reached('the end')
    clearInterval(looking)
    await audit.close()
    await database.close()
    return {
      bench: 'prune',
      results: [
        result({ metric: 'mirror', value: size / mirrored, unit: 'entries/s', limit: size / verified }),
        result({ metric: 'prune', value: before / pruned, unit: 'entries/s', limit: size / verified }),
        result({ metric: 'p99 while pruned', value: meanwhile, unit: 'ms', limit: alone }),
      ],
      notes: [`of ${pruned.toFixed(1)} s: ${parts.join(', ')}`],
    }
  } finally {
    await owner.end()
    await postgres.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await work()
  return (performance.now() - started) / 1000
}

/** What a mirror reads, without HTTP. */
function logOf({ operations }: AuditFeature): Parameters<typeof mirror>[0]['log'] {
  // They use no key: nothing looks at the permit.
  const answerOf = async (name: string, body: object): Promise<unknown> => {
    const operation = operations.find((one: AnyOperation) => one.name === name)
    if (operation === undefined) throw new Error(`there is no operation ${name}`)
    const target: unknown = await operation.locate(body, { kind: 'auditor', name: 'bench', id: 'bench' })
    return operation.respond(target, await operation.execute(undefined as never, target))
  }
  return {
    checkpoint: async () => (await answerOf('policies.audit.checkpoint', {})) as { readonly note: string },
    bundles: async (index, count, width) => {
      const chunks: Uint8Array[] = []
      for await (const chunk of ((await answerOf('policies.audit.bundle', { index, count, width })) as Download).chunks) chunks.push(chunk)
      return Buffer.concat(chunks)
    },
  }
}

/** What the ceremony and the comparison leave behind. */
async function decided(sql: Sql, before: number, size: number): Promise<OperationId> {
  const id = newOperationId()
  await sql.query('INSERT INTO integrity_passes (started_at, ended_at, entries, rows, findings) VALUES (now(), now(), $1, 0, 0)', [size])
  await sql.query(
    `INSERT INTO ceremony_authorisations (id, ceremony, token, before, authorised_by, authorised_at, expires_at, version, mac)
     VALUES ($1, 'prune-log', 'bench', $2, 'urn:gridseal:officer:bench', now(), now() + interval '1 hour', 1, '\\x00')`,
    [id, before],
  )
  return id
}

/** How long 99 of 100 entries of {@link CALLERS} take at most until they are durable, in milliseconds, while `work` is done. */
async function p99During({ log }: AuditFeature, work: () => Promise<unknown>): Promise<number> {
  const times: number[] = []
  const over = new AbortController()
  const one = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const started = performance.now()
      await log.append({ kind: 'event', id: newOperationId(), operation: 'system.benchmark', caller: systemCaller('bench'), code: 'ok' })
      times.push(performance.now() - started)
      await sleep(PAUSE_MS)
    }
  }
  const working = work().finally(() => over.abort())
  await Promise.all([working, ...Array.from({ length: CALLERS }, one)])
  return times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? 0
}

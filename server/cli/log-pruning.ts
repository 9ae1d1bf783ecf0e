import { setTimeout as sleep } from 'node:timers/promises'
import { sourceAt } from '../../clients/audit-source.ts'
import { verifyLog } from '../../clients/audit-verify.ts'
import { equalBytes } from '../../core/bytes.ts'
import { databaseClock } from '../../core/database-clock.pg.ts'
import type { Faults } from '../../core/fault-point.ts'
import { newOperationId, type OperationId } from '../../core/ids.ts'
import type { RowSealer } from '../../core/row.ts'
import { sealRow } from '../../core/sealed-records.ts'
import type { Sql } from '../../core/tx.ts'
import {
  allowPruning,
  ArchiveError,
  archivedEntries,
  archivedRoot,
  cutSegment,
  deleteEntries,
  deleteGroups,
  deleteSegments,
  insertPrune,
  isSameRoot,
  type LogKey,
  openSuccession,
  PgPruneStore,
  pruneObstacle,
  type PruneRecord,
  pruneRow,
  readStored,
  type ReplacedKey,
  storedRoot,
  youngestBefore,
} from '../../policies/audit/index.ts'
import { addRowHeads, epochsBefore, HeadsDigest, headsIn, NewestHeads, rowHeads } from '../../policies/integrity/index.ts'
import { showProgress } from './progress.ts'

export interface Pruning {
  /** One connection of the tables' owner. */
  readonly sql: Sql
  readonly sealer: RowSealer
  /** Of the log, and those that signed before it. */
  readonly key: LogKey
  readonly replaced: readonly ReplacedKey[]
  /** Folder or URL of a tlog-tiles log. */
  readonly archive: string
  /** The first entry that is kept. */
  readonly before: number
  /** Names of the log's receivers that are in use. */
  readonly receivers: readonly string[]
  /** The decision by two officers that the prune uses up. Throws where there is none. */
  readonly decide: () => Promise<OperationId>
  readonly faults: Faults
  /** How long the service may take to log that it was pruned: it looks every few seconds. Default 60,000. */
  readonly loggedMs?: number
}

/** Why nothing was pruned, or nothing deleted yet. */
export class PruneError extends Error {
  override readonly name = 'PruneError'
}

/** Heads that are held before they go into the table. */
const MOST_HEADS = 50_000
/** How often the event is looked for. */
const LOOK_MS = 100

/**
 * Prunes the log before an index: what the archive has leaves the database. The service may run meanwhile, and must for the event.
 *
 * Order of durable effects, and what a crash after each leaves. The same call again goes on, or begins anew.
 * 1. The archive was verified against the log's keys and the database's tree, and the row heads stand: rows that nothing refers to, made anew by the next run.
 * 2. The sealed record, which uses the decision up, and the cut of the index, in one transaction: what is before is told as archived from now on; nothing is gone.
 * 3. The service's event `system.log-pruned`, under a signed checkpoint: the same.
 * 4. Entries, by partitions and pages; groups; the index of searches; row heads of the prune before: each page for itself. What is left of them nobody reads.
 *
 * Throws a {@link PruneError}, `integrity-failed` where a sealed row is not the token's, and what the database throws.
 */
export async function pruneLog(pruning: Pruning): Promise<void> {
  const { sql, sealer, before } = pruning
  await holdAlone(sql)
  const newest = await new PgPruneStore({ sql, sealer }).newest()
  if (newest !== undefined && newest.before > before)
    throw new PruneError(`The log was pruned before entry ${newest.before} already. To go on with that: gridseal audit prune --before ${newest.before}`)
  const begun = newest?.before === before ? await resumed(pruning, newest) : undefined
  // What costs little is asked first: the archive may take an hour.
  const authorisation = begun === undefined ? await admitted(pruning) : begun.authorisation
  const checkpoint = await verifyArchive(pruning)
  const record = begun ?? (await recordPrune(pruning, { checkpoint, authorisation }))
  await logged(pruning, record)
  await remove(pruning)
}

/** Two that prune at once would take each other's row heads. The lock ends with the connection. */
async function holdAlone(sql: Sql): Promise<void> {
  const [lock] = await sql.query<{ held: boolean }>(`SELECT pg_try_advisory_lock(hashtext('gridseal.prune')) AS held`)
  if (lock?.held !== true) throw new PruneError('Somebody else is pruning this log. Nothing was done.')
}

/** Answers its checkpoint. Throws a {@link PruneError} where the archive is short, damaged, or of another log than the database. */
async function verifyArchive({ sql, key, replaced, archive, before }: Pruning): Promise<string> {
  const progress = showProgress('entries verified')
  const refused = (why: string): PruneError => new PruneError(`The archive ${archive} is not to be relied on: ${why}. Nothing was pruned.`)
  try {
    const older = replaced.map((one) => one.key.vkey)
    const report = await verifyLog({ log: archive, vkey: key.vkey, replaced: older, onProgress: progress.add }).catch((error: unknown) => {
      throw refused(error instanceof Error ? error.message : String(error))
    })
    const [finding] = report.findings
    if (finding !== undefined) throw refused(`${report.findingCount} findings, the first ${finding.code}: ${finding.detail}`)
    if (report.size < before) throw refused(`it ends after ${report.size} entries. Bring it up to date: gridseal audit mirror`)
    const source = sourceAt(archive)
    for (const size of new Set([before, report.size]))
      if (!isSameRoot(await archivedRoot(source, size, report.size), await storedRoot(sql, size)))
        throw refused(`its first ${size} entries are not those of the database's tree, or the database has not so many`)
    const note = await source.read('checkpoint')
    if (note === undefined) throw refused('its checkpoint is gone')
    return Buffer.from(note).toString('utf8')
  } finally {
    progress.end()
  }
}

/** What a run before has recorded is still so. */
async function resumed({ sql, before }: Pruning, record: PruneRecord): Promise<PruneRecord> {
  if (!equalBytes(await digestHeads(sql, before), record.heads))
    throw new PruneError('The table audit_row_heads is not what the prune was recorded with: somebody changed it. Nothing more was deleted.')
  if (!isSameRoot(await storedRoot(sql, before), record.root))
    throw new PruneError('The tree of the database is not what the prune was recorded with: somebody changed it. Nothing more was deleted.')
  return record
}

/** The decision, where nothing needs the entries any more: and so it stays. */
async function admitted({ sql, key, before, receivers, decide }: Pruning): Promise<OperationId> {
  const authorisation = await decide()
  const obstacle = await pruneObstacle(sql, { before, receivers, origin: key.name })
  if (obstacle !== undefined) throw new PruneError(`${obstacle} Nothing was pruned.`)
  return authorisation
}

async function recordPrune(
  pruning: Pruning,
  { checkpoint, authorisation }: { readonly checkpoint: string; readonly authorisation: OperationId },
): Promise<PruneRecord> {
  const { sql, sealer, faults, before } = pruning
  const root = await writeHeads(pruning)
  const record: PruneRecord = {
    ...{ before, operationId: newOperationId(), root, heads: await digestHeads(sql, before), checkpoint, authorisation },
    youngestAt: await youngestBefore(sql, await epochsBefore(sql, before)),
    prunedAt: await databaseClock(sql)(),
  }
  faults('prune.heads-written')
  const mac = await sealRow(sealer, pruneRow(record))
  await sql.query('BEGIN')
  await insertPrune(sql, record, mac)
  await cutSegment(sql, before, (from, to) => readStored(sql, from, to))
  await sql.query('COMMIT')
  faults('prune.recorded')
  return record
}

/** Makes the row heads of the archive's entries, whose root is made again of what was read. Answers it. */
async function writeHeads({ sql, archive, before }: Pruning): Promise<Uint8Array> {
  const now = await databaseClock(sql)()
  const progress = showProgress('entries read')
  await sql.query('DELETE FROM audit_row_heads WHERE before = $1', [before])
  try {
    const heads = new NewestHeads()
    const entries = archivedEntries(sourceAt(archive), before)
    for (;;) {
      const next = await entries.next()
      if (next.done === true) {
        await addRowHeads(sql, before, heads.take())
        if (!isSameRoot(next.value, await storedRoot(sql, before))) throw new ArchiveError('it changed while it was read')
        return next.value
      }
      for (const { index, entry } of next.value) for (const head of headsIn(entry, index, now)) heads.add(head)
      if (heads.size > MOST_HEADS) await addRowHeads(sql, before, heads.take())
      progress.add(next.value.length)
    }
  } catch (error) {
    throw error instanceof ArchiveError ? new PruneError(`The archive ${archive} is not to be relied on: ${error.message}. Nothing was pruned.`) : error
  } finally {
    progress.end()
  }
}

async function digestHeads(sql: Sql, before: number): Promise<Uint8Array> {
  const digest = new HeadsDigest()
  for await (const page of rowHeads(sql, before)) for (const head of page) digest.add(head)
  return digest.finish()
}

/** Until the event is under a checkpoint that the log's key signed. Throws a {@link PruneError} where nobody logs it. */
async function logged({ sql, key, replaced, faults, before, loggedMs = 60_000 }: Pruning, { operationId }: PruneRecord): Promise<void> {
  const deadline = performance.now() + loggedMs
  for (;;) {
    const [event] = await sql.query<{ index: string }>('SELECT index FROM audit_entries WHERE operation_id = $1', [operationId])
    const [last] = await sql.query<{ note: string }>('SELECT note FROM audit_checkpoints ORDER BY size DESC LIMIT 1')
    if (event !== undefined && last !== undefined) {
      const { size } = openSuccession(last.note, key, replaced)
      if (size > Number(event.index)) return faults('prune.logged')
    }
    if (performance.now() > deadline)
      throw new PruneError(
        `The log has no event of it yet, and so nothing was deleted: the service logs it once it runs. Then the same command goes on: gridseal audit prune --before ${before} --archive ...`,
      )
    await sleep(LOOK_MS)
  }
}

async function remove({ sql, faults, before }: Pruning): Promise<void> {
  const epochs = await epochsBefore(sql, before)
  await allowPruning(sql)
  await deleteEntries(sql, before, () => faults('prune.entries-page'))
  faults('prune.entries-deleted')
  await deleteGroups(sql, epochs)
  faults('prune.groups-deleted')
  await deleteSegments(sql, before)
  await sql.query('DELETE FROM audit_row_heads WHERE before <> $1', [before])
}

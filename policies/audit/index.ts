import { utf8 } from '../../core/bytes.ts'
import type { RowSealer } from '../../core/row.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import type { Sql } from '../../core/tx.ts'
import type { AnyOperation } from '../operation.ts'
import { type CheckpointAlgorithm, checkpointText, type LogKey, logKey, type ReplacedKey, signedNote } from './checkpoint.ts'
import { checkpointFile as fileAt } from './checkpoint-file.ts'
import { PgCosignatureStore } from './cosignature-store.pg.ts'
import { EarlyFailures } from './early-failures.ts'
import type { AuditLog } from './log.ts'
import { PgAuditLog } from './log.pg.ts'
import { type GroupTable, groupTable } from './group-table.pg.ts'
import type { LogFault } from './log-fault.ts'
import { findLoss, type KeptNote, type Loss } from './loss.ts'
import { EMPTY_ROOT } from './merkle.ts'
import { auditOperations } from './operations/index.ts'
import type { MinimumIndex } from './prune/prune-record.ts'
import { PgPruneStore, pruneTable, unverifiedMinimumIndex } from './prune/prune-store.pg.ts'
import { type PublicTiles, publicTiles } from './public-tiles.ts'
import type { LogReader } from './reader.ts'
import { PgLogReader, readStored } from './reader.pg.ts'
import { Indexer } from './search/indexer.ts'
import { type IndexUpkeep, indexUpkeep } from './search/index-upkeep.ts'
import { OpenSegments } from './search/open-segments.ts'
import { Searcher } from './search/searcher.ts'
import type { ReadEntries } from './search/segment-reader.ts'
import { PgTermStore } from './search/term-store.pg.ts'
import { recoveryTable } from './recovery-store.pg.ts'
import { Reconciler, type ReconcileReport, type Resolver } from './reconcile.ts'
import { PgOpenIntentStore } from './reconcile.pg.ts'
import { Sequencer, type SequencerStatus } from './sequencer.ts'
import { PgSequencerStore } from './sequencer.pg.ts'
import type { Connect } from './session.pg.ts'
import type { CheckGroups } from './take-over.ts'
import { type HeadKeeper, tokenHead } from './token-head.ts'
import { Witnessing, type WitnessingSettings, type WitnessStatus } from './witnessing.ts'

export { CHECKPOINT_FILE } from './checkpoint-file.ts'
export type { KeptNote, Loss } from './loss.ts'
export type { GroupTable, PlacedGroup } from './group-table.pg.ts'
export { NoteError } from './note.ts'
export { ArchiveError, archivedEntries, archivedEntry, archivedRoot, isSameRoot } from './prune/archive.ts'
export { allowPruning, cutSegment, deleteEntries, deleteGroups, deleteSegments, youngestBefore } from './prune/deletion.pg.ts'
export { pruneObstacle } from './prune/prune-conditions.pg.ts'
export { pruneFacts, type PruneRecord, pruneRow } from './prune/prune-record.ts'
export { insertPrune, PgPruneStore } from './prune/prune-store.pg.ts'
export { parseTilePath } from './tile-path.ts'
export { TILE_WIDTH } from './tiles.ts'
export type { PublicTiles } from './public-tiles.ts'
export { type CheckpointAlgorithm, type LogKey, logKey, openSuccession, parseLogKey, type ReplacedKey } from './checkpoint.ts'
export { LOG_RECOVERED } from './entry-digest.ts'
export { type Floors, floorsOf, type LogRecovery, newOrigin, recoveryRow } from './recovery.ts'
export { insertRecovery, loadRecoveries } from './recovery-store.pg.ts'
export { storedRoot } from './stored-root.pg.ts'
export { readStored } from './reader.pg.ts'
export { parseWitnessPolicy, quorumHolds, type WitnessPolicy, WitnessPolicyError } from './witness-policy.ts'
export type { WitnessStatus } from './witnessing.ts'

/** What the log needs of the token: functions that main.ts hands in. */
export interface AuditKeys {
  macGroup(message: Uint8Array): Promise<Uint8Array>
  checkGroups: CheckGroups
  signCheckpoint(text: Uint8Array): Promise<Uint8Array>
  readonly checkpointKey: { readonly algorithm: CheckpointAlgorithm; readonly publicKey: Uint8Array }
  blindIndex(values: readonly { readonly name: string; readonly value: string }[]): Promise<Uint8Array[]>
  /** As a {@link RowSealer} does: of the records of what was pruned. */
  assertRows: RowSealer['assertRows']
}

export interface AuditSettings {
  /** Pooled, for reads. */
  readonly sql: Sql
  /** Dedicated connections: one for each writer slot, one for the sequencer. */
  readonly connect: Connect
  readonly integrity: AuditKeys
  /** As `integrity` checks rows, where something remembers those that are right. Default `integrity`. */
  readonly sealer?: Pick<RowSealer, 'assertRows'>
  /** The log's name. Only a recovery changes it. */
  readonly origin: string
  /** Keys that signed checkpoints before the token's under this origin, the oldest first. Default none. */
  readonly replaced?: readonly ReplacedKey[]
  /** Path of the file that keeps the last signed checkpoint outside the database. The last one that satisfies the policy of witnesses stands beside it, as `...-witnessed`. */
  readonly checkpointFile: string
  /** Default: the log has no witnesses. */
  readonly witnesses?: Pick<WitnessingSettings, 'policy' | 'mustAnswer' | 'onChange' | 'intervalMs' | 'timeoutMs' | 'behindMs'>
  /** The token, where it keeps the last signed checkpoint too, and how often it is written at most. Default: it does not. */
  readonly tokenHead?: { readonly keeper: HeadKeeper; readonly everyMs: number }
  /** Writer slots, at least 2: one for the group commits of single entries, from 8 on two. Default 6. */
  readonly writers?: number
  /** Of the product, as exports name it. Default `0`. */
  readonly version?: string
  readonly now?: () => Date
  /** How operations that a crash left open are closed, by operation name. Default: `abandoned`. */
  readonly resolvers?: ReadonlyMap<string, Resolver>
  /** URNs of all registrations that a person, by name or id, ever had: for searches by persons. Default: of nobody. */
  readonly callersOf?: (person: string) => Promise<readonly string[]>
  /** Told when the log has stopped for good: a person has to look. */
  readonly onFault?: (fault: LogFault) => void
  /** Told of what will be tried again. */
  readonly onError?: (error: unknown) => void
  readonly onReconciled?: (report: ReconcileReport) => void
}

export interface AuditFeature {
  readonly log: AuditLog
  readonly key: LogKey
  /** Keys that signed before it, the oldest first. */
  readonly replaced: readonly ReplacedKey[]
  /** The last signed checkpoints that are kept outside the database, and where: each place has one, or none yet. */
  keptCheckpoints(): Promise<readonly KeptNote[]>
  /**
   * What the database lacks of what the log has signed, as file, token and witnesses say, and `others`. Throws a {@link LogFault} where it is not the beginning of that.
   * `unasked`: witnesses that do not answer, and why. For a log that is not started.
   */
  findLoss(others: readonly KeptNote[]): Promise<Loss & { readonly unasked: readonly { readonly name: string; readonly problem: string }[] }>
  readonly operations: readonly AnyOperation[]
  /** Its tables whose rows bear MACs. */
  readonly sealedTables: readonly SealedTable[]
  /** What was pruned of the log. */
  readonly prunes: PgPruneStore
  readonly earlyFailures: EarlyFailures
  readonly reader: LogReader
  /** What anybody may have of the log. */
  readonly publicTiles: PublicTiles
  /** Finds entries by what they say. */
  readonly searcher: Searcher
  /** The index that is searched, for who compares or renews it. */
  readonly index: IndexUpkeep
  /** The MACs of the log's groups, for who replaces their key. */
  readonly groups: GroupTable
  /** Sequences, signs and publishes all that is committed now. Without {@link start} too. */
  flush(): Promise<void>
  status(): SequencerStatus
  /** Of each witness that this process asks, as far as it leads. */
  witnesses(): readonly WitnessStatus[]
  /** The newest checkpoint that satisfies the policy of witnesses, with their cosignatures; without a policy, or before the first, undefined. */
  newestWitnessed(): Promise<string | undefined>
  /** Begins sequencing, reconciling and the minute's aggregates. Throws a {@link LogFault} when the service must not run on this database. */
  start(): Promise<void>
  /** Writes what is under way, signs it as far as it can, and gives every connection back. */
  close(): Promise<void>
}

/**
 * The index that is searched, for who has the database and nothing else. `minimumIndex`: default what the database says, unchecked: where that is made up, the index
 * lacks entries, and the integrity check tells of the record.
 */
export const auditIndex = (sql: Sql, minimumIndex: MinimumIndex = unverifiedMinimumIndex(sql)): IndexUpkeep =>
  indexUpkeep({ store: new PgTermStore(sql, minimumIndex), read: (from, to) => readStored(sql, from, to) })

/** Writing works at once, and before {@link AuditFeature.start}. */
export function auditFeature(settings: AuditSettings): AuditFeature {
  const {
    sql,
    connect,
    integrity,
    origin,
    checkpointFile,
    tokenHead: inToken,
    witnesses,
    replaced = [],
    writers = 6,
    version = '0',
    now = () => new Date(),
    resolvers = new Map(),
    onFault,
    onError,
    onReconciled,
  } = settings
  const key = logKey(origin, integrity.checkpointKey.algorithm, integrity.checkpointKey.publicKey)
  const anchors = [fileAt(checkpointFile), ...(inToken === undefined ? [] : [tokenHead({ ...inToken, origin, onError: (error) => onError?.(error) })])]
  const appenders = writers < 8 ? 1 : 2
  const log = new PgAuditLog({
    connect,
    macGroup: (message) => integrity.macGroup(message),
    blindIndex: (values) => integrity.blindIndex(values),
    writers: Math.max(1, writers - appenders),
    appenders,
    now,
  })
  const prunes = new PgPruneStore({ sql, sealer: settings.sealer ?? integrity })
  const minimumIndex: MinimumIndex = async () => (await prunes.newest())?.before ?? 0
  const reader = new PgLogReader(sql, { checkGroups: (groups) => integrity.checkGroups(groups), minimumIndex })
  const witnessedFile = fileAt(`${checkpointFile}-witnessed`)
  const witnessing: Witnessing | undefined =
    witnesses &&
    new Witnessing({
      ...witnesses,
      store: new PgCosignatureStore(sql),
      tiles: (places) => reader.tiles(places),
      key,
      replaced,
      leads: () => sequencer.status.leading,
      signEmpty: async () => {
        const text = checkpointText({ origin, size: 0, root: EMPTY_ROOT })
        return signedNote(text, key, await integrity.signCheckpoint(utf8(text)))
      },
      onFault: (fault) => sequencer.halt(fault),
      onWitnessed: (note) => witnessedFile.write(note),
      ...(onError === undefined ? {} : { onError }),
    })
  const sequencerStore = new PgSequencerStore({ connect, sql })
  const checkGroups: CheckGroups = (groups) => integrity.checkGroups(groups)
  const sequencer: Sequencer = new Sequencer({
    store: sequencerStore,
    anchors,
    admit: (signed) => witnessing?.admit(signed) ?? Promise.resolve(),
    key,
    replaced,
    checkGroups,
    signCheckpoint: (text) => integrity.signCheckpoint(text),
    ...(onFault === undefined ? {} : { onFault }),
    ...(onError === undefined ? {} : { onError }),
  })
  const reconciler = new Reconciler({
    log,
    store: new PgOpenIntentStore(sql, { checkGroups }),
    resolvers,
    givenUp: log.givenUp,
    leads: () => sequencer.status.leading,
    ...(onReconciled === undefined ? {} : { onReport: onReconciled }),
    ...(onError === undefined ? {} : { onError }),
  })
  const terms = new PgTermStore(sql, minimumIndex)
  const read: ReadEntries = (from, to) => reader.read(from, to)
  const blindIndex: AuditKeys['blindIndex'] = (values) => integrity.blindIndex(values)
  const searcher = new Searcher({ store: terms, open: new OpenSegments(read), log: reader, blindIndex, callersOf: settings.callersOf })
  const indexer = new Indexer({ store: terms, read, leads: () => sequencer.status.leading, ...(onError === undefined ? {} : { onError }) })
  const newestWitnessed = (): Promise<string | undefined> => witnessing?.newest() ?? Promise.resolve(undefined)
  const signedLog = { reader, key, replaced, newestWitnessed }
  const earlyFailures = new EarlyFailures({ log, now })
  const keptCheckpoints = async (): Promise<KeptNote[]> => {
    const notes = await Promise.all(anchors.map(async (anchor) => ({ where: anchor.name, note: await anchor.read() })))
    return notes.flatMap(({ where, note }) => (note === undefined ? [] : [{ where, note }]))
  }
  let isStarted = false
  return {
    log,
    key,
    replaced,
    keptCheckpoints,
    findLoss: async (others) => {
      if (!(await sequencerStore.lead())) throw new Error('another process leads the log: the service is running')
      const unasked: { readonly name: string; readonly problem: string }[] = []
      const loss = await findLoss({
        ...{ store: sequencerStore, key, replaced, checkGroups, kept: [...(await keptCheckpoints()), ...others] },
        tell: async (signed) => {
          const asked = (await witnessing?.askSizes(signed)) ?? []
          unasked.push(...asked.flatMap((one) => ('size' in one ? [] : [one])))
          return asked.flatMap((one) => ('size' in one ? [{ where: `the witness ${one.name}`, size: one.size }] : []))
        },
      })
      return { ...loss, unasked }
    },
    reader,
    searcher,
    index: auditIndex(sql, minimumIndex),
    prunes,
    operations: auditOperations({ ...signedLog, searcher, version, placesOfTime: (range, size) => searcher.placesOfTime(range, size) }),
    publicTiles: publicTiles(signedLog, async ({ note }) => (await newestWitnessed()) ?? note),
    earlyFailures,
    sealedTables: [recoveryTable(sql), pruneTable(sql)],
    groups: groupTable(sql),
    flush: () => sequencer.flush(),
    status: () => sequencer.status,
    witnesses: () => witnessing?.statuses ?? [],
    newestWitnessed,
    start: async () => {
      await sequencer.start()
      witnessing?.start()
      reconciler.start()
      indexer.start()
      earlyFailures.start(onError)
      isStarted = true
    },
    close: async () => {
      await witnessing?.stop()
      if (isStarted) {
        await indexer.stop()
        await reconciler.stop()
        await earlyFailures.stop()
      }
      await log.close()
      if (isStarted) await sequencer.flush({ timeoutMs: 5000 }).catch((error: unknown) => onError?.(error))
      await sequencer.stop()
    },
  }
}

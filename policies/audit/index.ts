import type { Sql } from '../../core/tx.ts'
import type { AnyOperation } from '../operation.ts'
import { type CheckpointAlgorithm, type LogKey, logKey, type ReplacedKey } from './checkpoint.ts'
import { checkpointFile as fileAt } from './checkpoint-file.ts'
import { EarlyFailures } from './early-failures.ts'
import type { AuditLog } from './log.ts'
import { PgAuditLog } from './log.pg.ts'
import { type GroupTable, groupTable } from './group-table.pg.ts'
import type { LogFault } from './log-fault.ts'
import { auditOperations } from './operations/index.ts'
import type { LogReader } from './reader.ts'
import { PgLogReader } from './reader.pg.ts'
import { Reconciler, type ReconcileReport, type Resolver } from './reconcile.ts'
import { PgOpenIntentStore } from './reconcile.pg.ts'
import { Sequencer, type SequencerStatus } from './sequencer.ts'
import { PgSequencerStore } from './sequencer.pg.ts'
import type { Connect } from './session.pg.ts'
import type { CheckGroups } from './take-over.ts'

export type { GroupTable, PlacedGroup } from './group-table.pg.ts'
export { type CheckpointAlgorithm, type LogKey, logKey, openSuccession } from './checkpoint.ts'

/** What the log needs of the token: functions that main.ts hands in. */
export interface AuditKeys {
  macGroup(message: Uint8Array): Promise<Uint8Array>
  checkGroups: CheckGroups
  signCheckpoint(text: Uint8Array): Promise<Uint8Array>
  readonly checkpointKey: { readonly algorithm: CheckpointAlgorithm; readonly publicKey: Uint8Array }
  blindIndex(values: readonly { readonly name: string; readonly value: string }[]): Promise<Uint8Array[]>
}

export interface AuditSettings {
  /** Pooled, for reads. */
  readonly sql: Sql
  /** Dedicated connections: one for each writer slot, one for the sequencer. */
  readonly connect: Connect
  readonly integrity: AuditKeys
  /** The log's name. It never changes. */
  readonly origin: string
  /** Checkpoint keys that signed before the token's, with the size of their last checkpoints. Default none. */
  readonly replaced?: readonly { readonly algorithm: CheckpointAlgorithm; readonly publicKey: Uint8Array; readonly lastSize: number }[]
  /** Path of the file that keeps the last signed checkpoint outside the database. */
  readonly checkpointFile: string
  /** Writer slots, at least 2: one for the group commits of single entries, from 8 on two. Default 6. */
  readonly writers?: number
  readonly now?: () => Date
  /** How operations that a crash left open are closed, by operation name. Default: `abandoned`. */
  readonly resolvers?: ReadonlyMap<string, Resolver>
  /** Told when the log has stopped for good: a person has to look. */
  readonly onFault?: (fault: LogFault) => void
  /** Told of what will be tried again. */
  readonly onError?: (error: unknown) => void
  readonly onReconciled?: (report: ReconcileReport) => void
}

export interface AuditFeature {
  readonly log: AuditLog
  readonly key: LogKey
  /** Keys that signed before it. */
  readonly replaced: readonly ReplacedKey[]
  /** The last signed checkpoint that is kept outside the database, a note. */
  keptCheckpoint(): Promise<string | undefined>
  readonly operations: readonly AnyOperation[]
  readonly earlyFailures: EarlyFailures
  readonly reader: LogReader
  /** The MACs of the log's groups, for who replaces their key. */
  readonly groups: GroupTable
  /** Sequences, signs and publishes all that is committed now. Without {@link start} too. */
  flush(): Promise<void>
  status(): SequencerStatus
  /** Begins sequencing, reconciling and the minute's aggregates. Throws a {@link LogFault} when the service must not run on this database. */
  start(): Promise<void>
  /** Writes what is under way, signs it as far as it can, and gives every connection back. */
  close(): Promise<void>
}

/** Writing works at once, and before {@link AuditFeature.start}. */
export function auditFeature(settings: AuditSettings): AuditFeature {
  const {
    sql,
    connect,
    integrity,
    origin,
    checkpointFile,
    replaced: replacedKeys = [],
    writers = 6,
    now = () => new Date(),
    resolvers = new Map(),
    onFault,
    onError,
    onReconciled,
  } = settings
  const key = logKey(origin, integrity.checkpointKey.algorithm, integrity.checkpointKey.publicKey)
  const replaced = replacedKeys.map(({ algorithm, publicKey, lastSize }) => ({ key: logKey(origin, algorithm, publicKey), lastSize }))
  const file = fileAt(checkpointFile)
  const appenders = writers < 8 ? 1 : 2
  const log = new PgAuditLog({
    connect,
    macGroup: (message) => integrity.macGroup(message),
    blindIndex: (values) => integrity.blindIndex(values),
    writers: Math.max(1, writers - appenders),
    appenders,
    now,
  })
  const sequencer = new Sequencer({
    store: new PgSequencerStore({ connect, sql }),
    file,
    key,
    replaced,
    checkGroups: (groups) => integrity.checkGroups(groups),
    signCheckpoint: (text) => integrity.signCheckpoint(text),
    ...(onFault === undefined ? {} : { onFault }),
    ...(onError === undefined ? {} : { onError }),
  })
  const reconciler = new Reconciler({
    log,
    store: new PgOpenIntentStore(sql),
    resolvers,
    leads: () => sequencer.status.leading,
    ...(onReconciled === undefined ? {} : { onReport: onReconciled }),
    ...(onError === undefined ? {} : { onError }),
  })
  const reader = new PgLogReader(sql, (groups) => integrity.checkGroups(groups))
  const earlyFailures = new EarlyFailures({ log, now })
  let isStarted = false
  return {
    log,
    key,
    replaced,
    keptCheckpoint: () => file.read(),
    reader,
    operations: auditOperations({ reader, key, replaced }),
    earlyFailures,
    groups: groupTable(sql),
    flush: () => sequencer.flush(),
    status: () => sequencer.status,
    start: async () => {
      await sequencer.start()
      reconciler.start()
      earlyFailures.start(onError)
      isStarted = true
    },
    close: async () => {
      if (isStarted) {
        await reconciler.stop()
        await earlyFailures.stop()
      }
      await log.close()
      if (isStarted) await sequencer.flush({ timeoutMs: 5000 }).catch((error: unknown) => onError?.(error))
      await sequencer.stop()
    },
  }
}

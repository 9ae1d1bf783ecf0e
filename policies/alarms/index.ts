import { databaseClock } from '../../core/database-clock.pg.ts'
import type { RowSealer } from '../../core/row.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import type { Sql } from '../../core/tx.ts'
import type { LogFault } from '../audit/log-fault.ts'
import type { AuditLog } from '../audit/log.ts'
import type { WitnessStatus } from '../audit/witnessing.ts'
import type { AnyOperation } from '../operation.ts'
import { alarmTable, PgAlarmStore } from './alarm-store.pg.ts'
import type { AlarmKind } from './kinds.ts'
import { lateCheckpoint, openIntents } from './log-state.pg.ts'
import { AlarmMonitor, type Condition, type MonitorSettings } from './monitor.ts'
import { acknowledgeAlarm } from './operations/acknowledge-alarm.ts'
import { listAlarms } from './operations/list-alarms.ts'

export { ClockWatch } from '../clock-watch.ts'
export { alarmKinds } from './kinds.ts'
export { databaseTime } from './log-state.pg.ts'
export type { ActiveAlarm } from './monitor.ts'

/** What the log says of itself. */
interface LogStatus {
  readonly leading: boolean
  readonly fault: LogFault | undefined
}

/** Conditions that the feature does not look at itself. */
type Own = 'open-intent' | 'checkpoint-late' | 'writer-gap' | 'group-forged' | 'history-changed' | 'witness-behind' | 'witness-other-history'
type Others = Exclude<AlarmKind, Own>

export interface AlarmParts extends Pick<MonitorSettings, 'onChange' | 'onFailure' | 'now' | 'lookMs' | 'steadyNow'> {
  readonly sql: Sql
  readonly sealer: RowSealer
  readonly log: AuditLog
  readonly logStatus: () => LogStatus
  /** As the leader knows them: of other nodes, and without witnesses, none is behind. */
  readonly witnesses: () => readonly WitnessStatus[]
  readonly conditions: Readonly<Record<Others, Condition>>
  /** How long an operation may be open, a checkpoint late, and a condition gone. */
  readonly seconds: number
}

const FAULT_KINDS = {
  'group-gap': 'writer-gap',
  'group-mac': 'group-forged',
  'group-chain': 'group-forged',
  'group-malformed': 'group-forged',
  'database-behind': 'history-changed',
  'history-changed': 'history-changed',
  'checkpoint-invalid': 'history-changed',
  'head-inconsistent': 'history-changed',
} as const satisfies Readonly<Record<LogFault['code'], AlarmKind>>

/** What is wrong with the site, told in health, metrics, the service's own log and, by the leader, the audit log. */
export function alarmFeature({ sql, sealer, log, logStatus, witnesses, conditions, seconds, ...parts }: AlarmParts): {
  readonly monitor: AlarmMonitor
  readonly operations: readonly AnyOperation[]
  readonly sealedTables: readonly SealedTable[]
} {
  const alarms = new PgAlarmStore({ sql, sealer })
  const databaseNow = databaseClock(sql)
  const stopped =
    (kind: AlarmKind): Condition =>
    () => {
      const { fault } = logStatus()
      return fault !== undefined && FAULT_KINDS[fault.code] === kind ? fault.message : undefined
    }
  const witnessIs =
    (state: WitnessStatus['state']): Condition =>
    () => {
      const those = witnesses().filter((one) => one.state === state)
      if (those.length === 0) return undefined
      return those
        .map(({ name, lag, since, problem }) => `${name}: ${String(lag)} entries since ${since.toISOString()}${problem === undefined ? '' : ` (${problem})`}`)
        .join('; ')
    }
  const monitor = new AlarmMonitor({
    ...{ ...parts, store: alarms, log, databaseNow, quietMs: seconds * 1000, everyMs: Math.min(3000, seconds * 500) },
    writes: () => logStatus().leading || logStatus().fault !== undefined,
    conditions: {
      ...conditions,
      'open-intent': () => openIntents(sql, seconds),
      'checkpoint-late': () => lateCheckpoint(sql, seconds),
      'writer-gap': stopped('writer-gap'),
      'group-forged': stopped('group-forged'),
      'history-changed': stopped('history-changed'),
      'witness-behind': witnessIs('behind'),
      'witness-other-history': witnessIs('other-history'),
    },
  })
  return { monitor, operations: [listAlarms({ alarms }), acknowledgeAlarm({ alarms, databaseNow })], sealedTables: [alarmTable(sql)] }
}

import { newOperationId, newUuid } from '../../core/ids.ts'
import { PollLoop } from '../../core/poll-loop.ts'
import { Problem } from '../../core/problem.ts'
import { digestRow, type Row } from '../../core/row.ts'
import type { AuditLog } from '../audit/log.ts'
import { systemCaller } from '../caller.ts'
import type { Alarm } from './alarm.ts'
import type { AlarmStore } from './alarm-store.ts'
import { type AlarmKind, alarmKinds, kindOf, type Severity } from './kinds.ts'
import { type Sight, Tracker } from './tracker.ts'

/** Looks at one condition: what is wrong, or undefined. What it throws, and no answer in time, means that nobody knows. */
export type Condition = () => Promise<string | undefined> | string | undefined

/** An alarm as this node sees it, whether or not it could be written down. */
export interface ActiveAlarm {
  readonly kind: AlarmKind
  readonly severity: Severity
  readonly detail: string
  readonly since: Date
}

export interface MonitorSettings {
  readonly conditions: Readonly<Record<AlarmKind, Condition>>
  readonly store: AlarmStore
  readonly log: AuditLog
  readonly databaseNow: () => Promise<Date>
  /** Whether this node writes alarms down: the leader does, and one whose log has stopped. */
  readonly writes: () => boolean
  /** Told when an alarm begins or ends here. */
  readonly onChange: (alarm: ActiveAlarm, is: 'raised' | 'cleared') => void
  /** Told once of each time that alarms cannot be written down: until they can, it is tried again. */
  readonly onFailure: (error: unknown) => void
  /** How long a condition must be gone before its alarm ends, in milliseconds. */
  readonly quietMs: number
  /** Default 3000. */
  readonly everyMs?: number
  /** How long a look may take. Default 2000. */
  readonly lookMs?: number
  /** Milliseconds of a clock that never jumps. Default the process's. */
  readonly steadyNow?: () => number
  readonly now: () => Date
}

/**
 * Looks at every condition again and again. What it finds is in memory at once, for health, metrics and the service's own log; the leader also writes it down, as a
 * sealed row and an event of the log, in one transaction. It stands in nobody's way: it uses the log as any caller does, and what fails is tried again the next time.
 *
 * A crash between a condition and its row: the next leader finds the condition. After the row: the next leader finds the row, and raises nothing.
 */
export class AlarmMonitor {
  readonly #settings: MonitorSettings
  readonly #trackers: ReadonlyMap<AlarmKind, Tracker>
  readonly #active = new Map<AlarmKind, ActiveAlarm>()
  /** Rows that this process has raised or taken over. */
  readonly #known = new Set<string>()
  readonly #loop: PollLoop
  #isFailing = false

  constructor(settings: MonitorSettings) {
    this.#settings = settings
    this.#trackers = new Map(alarmKinds().map((kind) => [kind, new Tracker({ lastsMs: kindOf(kind).lastsMs ?? 0, quietMs: settings.quietMs })]))
    this.#loop = new PollLoop(async () => {
      await this.turn()
      return settings.everyMs ?? 3000
    })
  }

  start(): void {
    this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  get active(): readonly ActiveAlarm[] {
    return [...this.#active.values()]
  }

  /** One look at everything. Never throws. */
  async turn(): Promise<void> {
    const { conditions, steadyNow = () => performance.now(), writes, onFailure } = this.#settings
    const sights = await Promise.all([...this.#trackers].map(async ([kind, tracker]) => [tracker, await this.#look(conditions[kind])] as const))
    const nowMs = steadyNow()
    for (const [tracker, sight] of sights) tracker.step(sight, nowMs)
    this.#tell()
    if (!writes()) return
    try {
      await this.#writeDown(nowMs)
      this.#isFailing = false
    } catch (error) {
      if (!this.#isFailing) onFailure(error)
      this.#isFailing = true
    }
  }

  async #look(condition: Condition): Promise<Sight> {
    const unknown: Sight = { is: 'unknown' }
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<Sight>((resolve) => (timer = setTimeout(() => resolve(unknown), this.#settings.lookMs ?? 2000)))
    const looked = (async () => condition())().then(
      (detail): Sight => (detail === undefined ? { is: 'well' } : { is: 'wrong', detail }),
      () => unknown,
    )
    const sight = await Promise.race([looked, late])
    clearTimeout(timer)
    return sight
  }

  /** Brings what this node tells in line with its trackers. `old`: an alarm that was raised before, by who went before. */
  #tell(old?: Alarm): void {
    const { now, onChange } = this.#settings
    for (const [kind, { detail }] of this.#trackers) {
      const before = this.#active.get(kind)
      const since = old?.kind === kind ? old.raisedAt : (before?.since ?? now())
      if (detail === undefined) {
        if (before === undefined) continue
        this.#active.delete(kind)
        onChange(before, 'cleared')
      } else if (before === undefined) {
        const alarm = { kind, severity: kindOf(kind).severity, detail, since }
        this.#active.set(kind, alarm)
        onChange(alarm, 'raised')
      } else this.#active.set(kind, { ...before, detail, since })
    }
  }

  /** Brings the rows in line with the trackers. An open row that this process does not know of is somebody else's from before: it is taken over, not raised again. */
  async #writeDown(nowMs: number): Promise<void> {
    const { store } = this.#settings
    const open = new Map((await store.open()).map((alarm) => [alarm.kind, alarm]))
    for (const [kind, tracker] of this.#trackers) {
      const row = open.get(kind)
      if (row === undefined) {
        if (tracker.detail !== undefined) await this.#raise(kind, tracker.detail)
      } else if (!this.#known.has(row.id)) {
        if (tracker.detail === undefined) tracker.adopt(row.detail, nowMs)
        this.#tell(row)
        this.#known.add(row.id)
      } else if (tracker.detail === undefined) await this.#clear(row)
    }
  }

  async #raise(kind: AlarmKind, detail: string): Promise<void> {
    const { databaseNow, store } = this.#settings
    const alarm: Alarm = { id: newUuid(), kind, detail, raisedAt: await databaseNow(), version: 1 }
    await this.#write('alarm.raised', alarm, (tx) => store.insert(tx, alarm))
    this.#known.add(alarm.id)
  }

  async #clear(before: Alarm): Promise<void> {
    const { databaseNow, store } = this.#settings
    const alarm: Alarm = { ...before, clearedAt: await databaseNow(), version: before.version + 1 }
    await this.#write('alarm.cleared', alarm, (tx) => store.update(tx, alarm))
    this.#known.delete(alarm.id)
  }

  /** A row and its event. Another node that was first is no failure: its row is found the next time. */
  async #write(operation: string, { id, kind, detail }: Alarm, write: (tx: Parameters<AlarmStore['insert']>[0]) => Promise<Row>): Promise<void> {
    try {
      await this.#settings.log.transact(async ({ tx, append }) => {
        const row = await write(tx)
        append({
          ...{ kind: 'event', id: newOperationId(), operation, caller: systemCaller('alarms') },
          facts: { public: { alarm: id, alarmKind: kind, severity: kindOf(kind).severity, detail }, rows: [digestRow(row)] },
        })
      })
    } catch (error) {
      if (!(error instanceof Problem && error.code === 'conflict')) throw error
    }
  }
}

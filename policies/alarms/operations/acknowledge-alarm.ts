import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { type Caller, callerUrn } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import { REASON } from '../../reason.ts'
import type { Alarm } from '../alarm.ts'
import type { AlarmStore } from '../alarm-store.ts'
import { ALARM, ALARM_ID, type AlarmView, viewAlarm } from '../view.ts'

const INPUT = z.strictObject({ alarmId: ALARM_ID, reason: REASON.meta({ description: 'What is being done about it.' }) })
interface Target extends z.infer<typeof INPUT> {
  readonly alarm: Alarm | undefined
  readonly by: Caller
  readonly now: Date
}

/** Somebody looks after it. It stays open until its condition is gone. */
export const acknowledgeAlarm = ({
  alarms,
  databaseNow,
}: {
  readonly alarms: AlarmStore
  readonly databaseNow: () => Promise<Date>
}): Operation<z.infer<typeof INPUT>, Target, Alarm, AlarmView> =>
  operation<z.infer<typeof INPUT>, Target, Alarm, AlarmView>({
    name: 'policies.alarm.acknowledge',
    summary: 'Says that somebody looks after an alarm, and what they do. It stays until its condition is gone.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/policies/alarms/{alarmId}/acknowledge' },
    input: INPUT,
    output: ALARM,
    locate: async (input, by) => ({ ...input, by, alarm: await alarms.find(input.alarmId), now: await databaseNow() }),
    uses: () => [],
    facts: ({ alarmId, alarm, reason }) => ({ public: { alarm: alarmId, reason, ...(alarm === undefined ? {} : { alarmKind: alarm.kind }) } }),
    admit: ({ alarm }) => {
      if (alarm === undefined) return new Problem('not-found', 'There is no alarm of that id.')
      return alarm.acknowledged === undefined ? undefined : new Problem('conflict', `It was acknowledged already, by ${alarm.acknowledged.by}.`)
    },
    execute: (_permit, { alarm, by, now, reason }) =>
      Promise.resolve({ ...found(alarm), acknowledged: { by: callerUrn(by), at: now, reason }, version: found(alarm).version + 1 }),
    record: async (tx, _target, alarm) => ({ facts: { rows: [digestRow(await alarms.update(tx, alarm))] } }),
    respond: (_target, alarm) => viewAlarm(alarm),
  })

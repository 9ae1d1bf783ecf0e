import { type AskOptions as Options, show, uuidOf } from './api-command.ts'

const ALARMS = '/v1/policies/alarms'

interface Alarm {
  readonly alarmId: string
  readonly kind: string
  readonly severity: string
  readonly detail: string
  readonly meaning: string
  readonly remedy: string
  readonly state: string
  readonly raisedAt: string
  readonly acknowledged?: { readonly by: string; readonly at: string; readonly reason: string }
  readonly clearedAt?: string
}

const describe = (a: Alarm): readonly string[] => [
  `${a.alarmId}  ${a.severity} ${a.kind}, ${a.state}: ${a.detail}`,
  `  since ${a.raisedAt}${a.clearedAt === undefined ? '' : ` until ${a.clearedAt}`}`,
  `  ${a.meaning}`,
  ...(a.acknowledged === undefined ? [] : [`  ${a.acknowledged.by} at ${a.acknowledged.at}: ${a.acknowledged.reason}`]),
  ...(a.clearedAt === undefined ? [`  what to do: ${a.remedy}`] : []),
]

export const listAlarmsCommand = ({ all, ...options }: Options & { readonly all?: boolean }): Promise<unknown> =>
  show<{ alarms: readonly Alarm[] }>(options, ['GET', `${ALARMS}?open=${String(all !== true)}`], ({ alarms }) =>
    alarms.length === 0 ? ['None.'] : alarms.flatMap(describe),
  )

export const acknowledgeAlarmCommand = (alarmId: string, { reason, ...options }: Options & { readonly reason: string }): Promise<unknown> =>
  show<Alarm>(options, ['POST', `${ALARMS}/${uuidOf(alarmId, 'an alarm')}/acknowledge`, { reason }], describe)

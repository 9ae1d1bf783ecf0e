import { z } from 'zod'
import { UUID_PATTERN } from '../../core/ids.ts'
import type { Alarm } from './alarm.ts'
import { kindOf } from './kinds.ts'

export const ALARM_ID = z.string().regex(UUID_PATTERN, 'an id is a UUID in lower case').meta({ description: 'Id of the alarm.' })

export const ALARM = z
  .strictObject({
    alarmId: z.string(),
    kind: z.string(),
    severity: z.enum(['critical', 'warning']),
    detail: z.string().meta({ description: 'What it was about when it was raised.' }),
    meaning: z.string(),
    remedy: z.string().meta({ description: 'What to do.' }),
    state: z.enum(['raised', 'acknowledged', 'cleared']),
    raisedAt: z.string(),
    acknowledged: z.strictObject({ by: z.string(), at: z.string(), reason: z.string() }).optional(),
    clearedAt: z.string().optional(),
  })
  .meta({ id: 'Alarm' })
export type AlarmView = z.infer<typeof ALARM>

export function viewAlarm(a: Alarm): AlarmView {
  const { severity, meaning, remedy } = kindOf(a.kind)
  return {
    ...{ alarmId: a.id, kind: a.kind, severity, detail: a.detail, meaning, remedy, raisedAt: a.raisedAt.toISOString() },
    state: a.clearedAt !== undefined ? 'cleared' : a.acknowledged === undefined ? 'raised' : 'acknowledged',
    ...(a.acknowledged === undefined ? {} : { acknowledged: { ...a.acknowledged, at: a.acknowledged.at.toISOString() } }),
    ...(a.clearedAt === undefined ? {} : { clearedAt: a.clearedAt.toISOString() }),
  }
}

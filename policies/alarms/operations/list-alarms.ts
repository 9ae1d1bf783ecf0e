import { z } from 'zod'
import { type Operation, operation } from '../../operation.ts'
import type { Alarm } from '../alarm.ts'
import type { AlarmStore } from '../alarm-store.ts'
import { ALARM, ALARM_ID, type AlarmView, viewAlarm } from '../view.ts'

interface Input {
  readonly open: boolean
  readonly before?: string | undefined
  readonly limit: number
}

export const listAlarms = ({ alarms }: { readonly alarms: AlarmStore }): Operation<Input, Input, readonly Alarm[], { alarms: AlarmView[] }> =>
  operation({
    name: 'policies.alarm.list',
    summary: 'Lists alarms, the newest first: what each means, what to do, and who looks after it.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/alarms' },
    input: z.strictObject({
      open: z
        .enum(['true', 'false'])
        .default('false')
        .transform((text) => text === 'true')
        .meta({ description: 'Only those that are not cleared.' }),
      before: ALARM_ID.optional().meta({ description: 'The last id of the page before.' }),
      limit: z.coerce.number().int().min(1).max(100).default(50),
    }),
    output: z.strictObject({ alarms: z.array(ALARM) }),
    locate: (input) => Promise.resolve(input),
    uses: () => [],
    facts: () => ({}),
    execute: (_permit, page) => alarms.list(page),
    outcomeFacts: (_target, { length }) => ({ public: { count: length } }),
    respond: (_target, found) => ({ alarms: found.map(viewAlarm) }),
  })

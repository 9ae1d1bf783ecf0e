import type { Row } from '../../core/row.ts'
import type { AlarmKind } from './kinds.ts'

/** One alarm, from when it was raised until it was cleared; acknowledged once, by somebody who looks after it. */
export interface Alarm {
  readonly id: string
  readonly kind: AlarmKind
  /** What it was about when it was raised. */
  readonly detail: string
  readonly raisedAt: Date
  readonly acknowledged?: { readonly by: string; readonly at: Date; readonly reason: string }
  readonly clearedAt?: Date
  readonly version: number
}

export const alarmRow = (a: Alarm): Row => ({
  ...{ table: 'alarms', schema: 1, id: a.id, version: a.version },
  columns: {
    ...{ kind: a.kind, detail: a.detail, raised_at: a.raisedAt.toISOString() },
    ...{ acknowledged_by: a.acknowledged?.by, acknowledged_at: a.acknowledged?.at.toISOString(), acknowledged_for: a.acknowledged?.reason },
    cleared_at: a.clearedAt?.toISOString(),
  },
})

import type { Row } from '../../core/row.ts'

/** How much of a quota is used up in one of its periods. */
export interface QuotaUse {
  /** Of the quota: its rule, or its rule and the caller. */
  readonly key: string
  /** `2026-11-26`, `2026-11-23` (a week's Monday) or `2026-11`. */
  readonly period: string
  readonly used: number
  readonly version: number
}

export const quotaRow = ({ key, period, used, version }: QuotaUse): Row => ({
  ...{ table: 'quotas', schema: 1, id: `${period} ${key}`, version },
  columns: { key, period, used },
})

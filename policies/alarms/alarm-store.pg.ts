import type { Row, RowSealer } from '../../core/row.ts'
import { assertWritten, openRecords, sealRow } from '../../core/sealed-records.ts'
import { pgSealedTable } from '../../core/sealed-table.pg.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../../core/tx.ts'
import { type Alarm, alarmRow } from './alarm.ts'
import type { AlarmStore } from './alarm-store.ts'
import { isAlarmKind } from './kinds.ts'

interface AlarmColumns {
  readonly id: string
  readonly kind: string
  readonly detail: string
  readonly raised_at: Date
  readonly acknowledged_by: string | null
  readonly acknowledged_at: Date | null
  readonly acknowledged_for: string | null
  readonly cleared_at: Date | null
  readonly version: number
  readonly mac: Uint8Array
}

const COLUMNS = 'id, kind, detail, raised_at, acknowledged_by, acknowledged_at, acknowledged_for, cleared_at, version, mac'

export class PgAlarmStore implements AlarmStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async find(id: string): Promise<Alarm | undefined> {
    return (await this.#read(`SELECT ${COLUMNS} FROM alarms WHERE id = $1`, [id]))[0]
  }

  open(): Promise<Alarm[]> {
    return this.#read(`SELECT ${COLUMNS} FROM alarms WHERE cleared_at IS NULL ORDER BY id`, [])
  }

  list({ open, before, limit }: { readonly open: boolean; readonly before?: string | undefined; readonly limit: number }): Promise<Alarm[]> {
    return this.#read(
      `SELECT ${COLUMNS} FROM alarms WHERE (NOT $1::boolean OR cleared_at IS NULL) AND ($2::uuid IS NULL OR id < $2::uuid) ORDER BY id DESC LIMIT $3`,
      [open, before ?? null, limit],
    )
  }

  async insert(tx: Tx, a: Alarm): Promise<Row> {
    const row = alarmRow(a)
    const written = await sqlOf(tx).query(
      `INSERT INTO alarms (id, kind, detail, raised_at, version, mac) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING 1`,
      [a.id, a.kind, a.detail, a.raisedAt, a.version, await sealRow(this.#sealer, row)],
    )
    assertWritten(written, 'alarm')
    return row
  }

  async update(tx: Tx, a: Alarm): Promise<Row> {
    const row = alarmRow(a)
    const written = await sqlOf(tx).query(
      `UPDATE alarms SET acknowledged_by = $2, acknowledged_at = $3, acknowledged_for = $4, cleared_at = $5, version = $6, mac = $7
       WHERE id = $1 AND version = $6 - 1 RETURNING 1`,
      [
        ...[a.id, a.acknowledged?.by ?? null, a.acknowledged?.at ?? null, a.acknowledged?.reason ?? null, a.clearedAt ?? null, a.version],
        await sealRow(this.#sealer, row),
      ],
    )
    assertWritten(written, 'alarm')
    return row
  }

  async #read(text: string, values: readonly unknown[]): Promise<Alarm[]> {
    return openRecords(this.#sealer, await this.#sql.query<AlarmColumns>(text, values), toAlarm, alarmRow)
  }
}

function toAlarm(row: AlarmColumns): Alarm {
  const { kind } = row
  if (!isAlarmKind(kind)) throw new Error(`the alarm ${row.id} is of a kind that this version does not have`)
  return {
    ...{ id: row.id, kind, detail: row.detail, raisedAt: row.raised_at, version: row.version },
    ...(row.acknowledged_by === null || row.acknowledged_at === null
      ? {}
      : { acknowledged: { by: row.acknowledged_by, at: row.acknowledged_at, reason: row.acknowledged_for ?? '' } }),
    ...(row.cleared_at === null ? {} : { clearedAt: row.cleared_at }),
  }
}

export const alarmTable = (sql: Sql): SealedTable =>
  pgSealedTable<AlarmColumns>(sql, { name: 'alarms', key: [['id', 'uuid']], columns: COLUMNS, toRow: (row) => alarmRow(toAlarm(row)) })

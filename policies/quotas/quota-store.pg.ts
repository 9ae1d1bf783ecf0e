import { Problem } from '../../core/problem.ts'
import type { Row, RowSealer } from '../../core/row.ts'
import { openRecords, sealRow } from '../../core/sealed-records.ts'
import { pgSealedTable } from '../../core/sealed-table.pg.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../../core/tx.ts'
import type { QuotaClaim } from '../firewall/decide.ts'
import { quotaRow, type QuotaUse } from './quota.ts'
import type { QuotaStore } from './quota-store.ts'

interface QuotaColumns {
  key: string
  period: string
  /** bigint. */
  used: string
  version: number
  mac: Uint8Array
}

const COLUMNS = 'key, period, used, version, mac'

export class PgQuotaStore implements QuotaStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async find(key: string, period: string): Promise<QuotaUse | undefined> {
    return (await this.#open(await this.#sql.query<QuotaColumns>(`SELECT ${COLUMNS} FROM quotas WHERE key = $1 AND period = $2`, [key, period])))[0]
  }

  async take(tx: Tx, claim: QuotaClaim, least = claim.amount): Promise<{ readonly taken: number; readonly row: Row }> {
    const { key, period, amount, most } = claim
    // Of two first ones the second waits here, and then finds the row.
    const first: QuotaUse = { key, period, used: 0, version: 1 }
    await sqlOf(tx).query(`INSERT INTO quotas (${COLUMNS}) VALUES ($1, $2, 0, 1, $3) ON CONFLICT DO NOTHING`, [
      ...[key, period, await sealRow(this.#sealer, quotaRow(first))],
    ])
    const locked = await sqlOf(tx).query<QuotaColumns>(`SELECT ${COLUMNS} FROM quotas WHERE key = $1 AND period = $2 FOR UPDATE`, [key, period])
    const [before] = await this.#open(locked)
    if (before === undefined) throw new Error('the row was just written')
    const taken = Math.min(amount, most - before.used)
    if (taken < least) throw exceeded(claim, before.used, least)
    const after = { ...before, used: before.used + taken, version: before.version + 1 }
    const row = quotaRow(after)
    await sqlOf(tx).query('UPDATE quotas SET used = $3, version = $4, mac = $5 WHERE key = $1 AND period = $2', [
      ...[key, period, after.used, after.version, await sealRow(this.#sealer, row)],
    ])
    return { taken, row }
  }

  #open(rows: readonly QuotaColumns[]): Promise<QuotaUse[]> {
    return openRecords(this.#sealer, rows, toUse, quotaRow)
  }
}

const toUse = ({ key, period, used, version }: QuotaColumns): QuotaUse => ({ key, period, used: Number(used), version })

const exceeded = ({ most, period }: QuotaClaim, used: number, least: number): Problem =>
  new Problem(
    'quota-exceeded',
    `The policy allows ${String(most)} in the period that began ${period}; ${String(used)} are used, and this would take ${String(least)}. The next period begins anew.`,
  )

export const quotaTable = (sql: Sql): SealedTable =>
  pgSealedTable<QuotaColumns>(sql, {
    name: 'quotas',
    key: [
      ['key', 'text'],
      ['period', 'text'],
    ],
    columns: COLUMNS,
    keyOf: ({ id }) => [id.slice(id.indexOf(' ') + 1), id.slice(0, id.indexOf(' '))],
    toRow: (row) => quotaRow(toUse(row)),
  })

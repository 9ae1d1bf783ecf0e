import { operationId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import type { RowSealer } from '../../core/row.ts'
import { openRecords, sealRow } from '../../core/sealed-records.ts'
import { pgSealedTable } from '../../core/sealed-table.pg.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import type { Sql } from '../../core/tx.ts'
import { decodeRanges, encodeRanges, type LogRecovery, recoveryRow } from './recovery.ts'

interface Columns {
  readonly number: number
  readonly operation_id: string
  readonly adoptions: number
  readonly old_key: string
  readonly new_key: string
  readonly log_size: string
  readonly lost_size: string
  readonly lost_root: Uint8Array | null
  readonly crl_number: string
  readonly iccids: string
  readonly reason: string
  readonly recovered_at: string
  readonly mac: Uint8Array
}

const COLUMNS = 'number, operation_id, adoptions, old_key, new_key, log_size, lost_size, lost_root, crl_number, iccids, reason, recovered_at, mac'
const ALL = `SELECT ${COLUMNS} FROM log_recoveries ORDER BY number`
const INSERT = `INSERT INTO log_recoveries (${COLUMNS}, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1)`
/** Writers go on far above what lost groups may have been numbered with: none of those fits in behind the recovery. Slots without a row are new ones. */
const RAISE_EPOCHS = `INSERT INTO audit_writers (writer, epoch)
  SELECT slot, coalesce((SELECT max(epoch) FROM audit_writers WHERE writer = slot), 0) + 1000000 FROM generate_series(0, greatest(63, (SELECT max(writer) FROM audit_writers))) AS slot`
/** What receivers had under the old origin they need not get again. */
const GO_ON_FORWARDING = `INSERT INTO audit_forwarding (origin, receiver, position)
  SELECT $2, receiver, position FROM audit_forwarding WHERE origin = $1 ON CONFLICT DO NOTHING`

/** All recoveries of the log, in their order. Throws `integrity-failed`. */
export async function loadRecoveries(sql: Sql, sealer: RowSealer): Promise<LogRecovery[]> {
  const recoveries = await openRecords(sealer, await sql.query<Columns>(ALL), toRecovery, recoveryRow)
  recoveries.forEach(({ number, oldKey }, at) => {
    const before = recoveries[at - 1]
    if (number !== at + 1 || (before !== undefined && originIn(before.newKey) !== originIn(oldKey)))
      throw new Problem('integrity-failed', `The recovery ${number} of the log does not follow from the one before it: rows of log_recoveries were changed.`)
  })
  return recoveries
}

const originIn = (vkey: string): string => vkey.slice(0, vkey.indexOf('+'))

/** As the owner of the tables, in a transaction. */
export async function insertRecovery(sql: Sql, sealer: RowSealer, recovery: LogRecovery): Promise<void> {
  const { number, operationId: id, adoptions, oldKey, newKey, logSize, lostSize, lostRoot, floors, reason, recoveredAt } = recovery
  const values = [
    number,
    id,
    adoptions,
    oldKey,
    newKey,
    logSize,
    lostSize,
    lostRoot ?? null,
    floors.crlNumber,
    encodeRanges(floors.iccids),
    reason,
    recoveredAt,
  ]
  await sql.query(INSERT, [...values, await sealRow(sealer, recoveryRow(recovery))])
  await sql.query(RAISE_EPOCHS)
  await sql.query(GO_ON_FORWARDING, [originIn(oldKey), originIn(newKey)])
}

const toRecovery = (row: Columns): LogRecovery => ({
  number: row.number,
  operationId: operationId(row.operation_id),
  adoptions: row.adoptions,
  oldKey: row.old_key,
  newKey: row.new_key,
  logSize: Number(row.log_size),
  lostSize: Number(row.lost_size),
  ...(row.lost_root === null ? {} : { lostRoot: row.lost_root }),
  floors: { crlNumber: Number(row.crl_number), iccids: decodeRanges(row.iccids) },
  reason: row.reason,
  recoveredAt: row.recovered_at,
})

export const recoveryTable = (sql: Sql): SealedTable =>
  pgSealedTable<Columns>(sql, { name: 'log_recoveries', key: [['number', 'int']], columns: COLUMNS, toRow: (row) => recoveryRow(toRecovery(row)) })

import { Problem } from '../../core/problem.ts'
import type { RowSealer } from '../../core/row.ts'
import { assertWritten, openRecords, sealRow } from '../../core/sealed-records.ts'
import { pgSealedTable } from '../../core/sealed-table.pg.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../../core/tx.ts'
import type { RotatedKey } from '../../pkcs11/index.ts'
import { type Rotation, rotationRow, type RotationState } from './rotation.ts'
import type { RotationStore } from './rotation-store.ts'

interface Columns {
  readonly id: string
  readonly key: RotatedKey
  readonly from_generation: number
  readonly to_generation: number
  readonly reason: string
  readonly salt: Uint8Array
  readonly state: RotationState
  readonly requested_by: string
  readonly requested_at: Date
  readonly decided_by: string | null
  readonly decided_at: Date | null
  readonly pass: number
  readonly cursor_table: string | null
  readonly cursor_key: string | null
  readonly rows_total: string
  readonly rows_seen: string
  readonly rows_found: string
  readonly rows_refused: string
  readonly rows_refused_before: string
  readonly refused_accepted: string
  readonly rows_renewed: string
  readonly began_at: Date | null
  readonly pass_began_at: Date | null
  readonly ended_at: Date | null
  readonly version: number
  readonly mac: Uint8Array
}

const COLUMNS =
  'id, key, from_generation, to_generation, reason, salt, state, requested_by, requested_at, decided_by, decided_at, pass, cursor_table, cursor_key, rows_total, rows_seen, rows_found, rows_refused, rows_refused_before, refused_accepted, rows_renewed, began_at, pass_began_at, ended_at, version, mac'
const SELECT = `SELECT ${COLUMNS} FROM root_key_rotations`
const INSERT = `INSERT INTO root_key_rotations (${COLUMNS})
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26) ON CONFLICT DO NOTHING RETURNING id`
const UPDATE = `UPDATE root_key_rotations SET state = $2, decided_by = $3, decided_at = $4, pass = $5, cursor_table = $6, cursor_key = $7, rows_total = $8,
  rows_seen = $9, rows_found = $10, rows_refused = $11, rows_refused_before = $12, refused_accepted = $13, rows_renewed = $14, began_at = $15, pass_began_at = $16, ended_at = $17,
  version = $18, mac = $19 WHERE id = $1 AND version = $18 - 1 RETURNING id`

/** {@link RotationStore} in the table `root_key_rotations`. */
export class PgRotationStore implements RotationStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async find(id: string): Promise<Rotation | undefined> {
    return (await this.#open(await this.#sql.query<Columns>(`${SELECT} WHERE id = $1`, [id])))[0]
  }

  async findOpen(): Promise<Rotation | undefined> {
    return (await this.#open(await this.#sql.query<Columns>(`${SELECT} WHERE state NOT IN ('retired', 'cancelled')`)))[0]
  }

  async list({ before, limit }: { readonly before?: string; readonly limit: number }): Promise<Rotation[]> {
    return this.#open(await this.#sql.query<Columns>(`${SELECT} WHERE $1::text IS NULL OR id < $1 ORDER BY id DESC LIMIT $2`, [before ?? null, limit]))
  }

  async insert(tx: Tx, rotation: Rotation): Promise<void> {
    const values = [
      ...[rotation.id, rotation.key, rotation.from, rotation.to, rotation.reason, rotation.salt, rotation.state],
      ...[rotation.requestedBy, rotation.requestedAt, ...changing(rotation)],
      ...[rotation.version, await this.#seal(rotation)],
    ]
    if ((await sqlOf(tx).query(INSERT, values)).length === 0)
      throw new Problem('conflict', 'Another root key is being rotated. One rotation goes on at a time.')
  }

  async update(tx: Tx, rotation: Rotation): Promise<void> {
    const values = [rotation.id, rotation.state, ...changing(rotation), rotation.version, await this.#seal(rotation)]
    assertWritten(await sqlOf(tx).query(UPDATE, values), 'rotation')
  }

  #seal(rotation: Rotation): Promise<Uint8Array> {
    return sealRow(this.#sealer, rotationRow(rotation))
  }

  #open(rows: readonly Columns[]): Promise<Rotation[]> {
    return openRecords(this.#sealer, rows, toRotation, rotationRow)
  }
}

/** From `decided_by` to `ended_at`. */
const changing = (r: Rotation): unknown[] => [
  ...[r.decidedBy ?? null, r.decidedAt ?? null, r.pass, r.cursor?.table ?? null, r.cursor?.key ?? null],
  ...[
    r.rows.total,
    r.rows.seen,
    r.rows.found,
    r.rows.refused,
    r.rows.refusedBefore,
    r.accepted,
    r.rows.renewed,
    r.beganAt ?? null,
    r.passBeganAt ?? null,
    r.endedAt ?? null,
  ],
]

const toRotation = (row: Columns): Rotation => ({
  id: row.id,
  key: row.key,
  from: row.from_generation,
  to: row.to_generation,
  reason: row.reason,
  salt: row.salt,
  state: row.state,
  requestedBy: row.requested_by,
  requestedAt: row.requested_at,
  ...(row.decided_by === null ? {} : { decidedBy: row.decided_by }),
  ...(row.decided_at === null ? {} : { decidedAt: row.decided_at }),
  pass: row.pass,
  ...(row.cursor_table === null ? {} : { cursor: { table: row.cursor_table, key: row.cursor_key ?? undefined } }),
  rows: {
    total: Number(row.rows_total),
    seen: Number(row.rows_seen),
    found: Number(row.rows_found),
    refused: Number(row.rows_refused),
    refusedBefore: Number(row.rows_refused_before),
    renewed: Number(row.rows_renewed),
  },
  accepted: Number(row.refused_accepted),
  ...(row.began_at === null ? {} : { beganAt: row.began_at }),
  ...(row.pass_began_at === null ? {} : { passBeganAt: row.pass_began_at }),
  ...(row.ended_at === null ? {} : { endedAt: row.ended_at }),
  version: row.version,
})

export const rotationTable = (sql: Sql): SealedTable =>
  pgSealedTable<Columns>(sql, { name: 'root_key_rotations', key: [['id', 'text']], columns: COLUMNS, toRow: (row) => rotationRow(toRotation(row)) })

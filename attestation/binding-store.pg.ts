import type { RowSealer } from '../core/row.ts'
import { pgSealedTable } from '../core/sealed-table.pg.ts'
import type { SealedTable } from '../core/sealed-table.ts'
import { type Sql, sqlOf, type Tx } from '../core/tx.ts'
import { type Binding, type BindingConflict, bindingRow, conflictRow, type Level, type Pair } from './binding.ts'
import type { BindingName, BindingStore } from './binding-store.ts'
import { assertWritten, losing, openRecords, sealRow } from '../core/sealed-records.ts'

interface BindingColumns {
  id: string
  iccid: string
  imei: string
  udid: string | null
  level: Level
  state: 'bound' | 'conflict'
  since: Date
  until: Date | null
  last_proved_at: Date
  evidence: Uint8Array
  bound_by: string
  ended_by: string | null
  version: number
  mac: Uint8Array
}

const COLUMNS = 'id, iccid, imei, udid, level, state, lower(valid) AS since, upper(valid) AS until, last_proved_at, evidence, bound_by, ended_by, version, mac'
const SELECT = `SELECT ${COLUMNS} FROM bindings`
const BY = { iccid: `${SELECT} WHERE iccid = $1`, imei: `${SELECT} WHERE imei = $1`, udid: `${SELECT} WHERE udid = $1` } as const
/** Live ones by card, by IMEI and by UDID, each by its own index: of an OR of the three a small table is read as a whole. */
const touching = (live: (key: keyof typeof BY, at: number) => string): string =>
  `SELECT DISTINCT ON (id) * FROM (${live('iccid', 1)} UNION ALL ${live('imei', 2)} UNION ALL ${live('udid', 3)}) AS b ORDER BY id`
const TOUCHING = touching((key, at) => `${SELECT} WHERE ${key} = $${at} AND upper_inf(valid)`)
/** By joins, so that with no plan each row is compared with a whole list. */
const TOUCHING_EACH = touching((key, at) => `SELECT ${COLUMNS} FROM unnest($${at}::text[]) AS n (name) JOIN bindings ON ${key} = n.name WHERE upper_inf(valid)`)

const THING = 'binding of this card or device'

export class PgBindingStore implements BindingStore {
  readonly #sql: Sql
  readonly #sealer: RowSealer

  constructor({ sql, sealer }: { readonly sql: Sql; readonly sealer: RowSealer }) {
    this.#sql = sql
    this.#sealer = sealer
  }

  async find(id: string): Promise<Binding | undefined> {
    return (await this.#open(await this.#sql.query<BindingColumns>(`${SELECT} WHERE id = $1`, [id])))[0]
  }

  async findAt(name: BindingName, at: Date): Promise<Binding | undefined> {
    const [key, value] = keyOf(name)
    return (await this.#open(await this.#sql.query<BindingColumns>(`${BY[key]} AND valid @> $2::timestamptz`, [value, at])))[0]
  }

  async history(name: BindingName): Promise<Binding[]> {
    const [key, value] = keyOf(name)
    return this.#open(await this.#sql.query<BindingColumns>(`${BY[key]} ORDER BY lower(valid) LIMIT 1000`, [value]))
  }

  async touching({ iccid, imei, udid }: Pair): Promise<Binding[]> {
    return this.#open(await this.#sql.query<BindingColumns>(TOUCHING, [iccid, imei, udid ?? null]))
  }

  async touchingEach(pairs: readonly Pair[]): Promise<Binding[][]> {
    const [pair] = pairs
    if (pair === undefined) return []
    // One pair has a plan of its own, which is half the work.
    if (pairs.length === 1) return [await this.touching(pair)]
    const names = [pairs.map(({ iccid }) => iccid), pairs.map(({ imei }) => imei), pairs.flatMap(({ udid }) => udid ?? [])]
    const bindings = await this.#open(await this.#sql.query<BindingColumns>(TOUCHING_EACH, names))
    return pairs.map(({ iccid, imei, udid }) => bindings.filter((b) => b.iccid === iccid || b.imei === imei || (udid !== undefined && b.udid === udid)))
  }

  async insert(tx: Tx, b: Binding): Promise<void> {
    const mac = await sealRow(this.#sealer, bindingRow(b))
    const inserted = await losing(
      THING,
      sqlOf(tx).query(
        `INSERT INTO bindings (id, iccid, imei, udid, level, state, valid, last_proved_at, evidence, bound_by, version, mac)
         VALUES ($1, $2, $3, $4, $5, $6, tstzrange($7, NULL, '[)'), $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING RETURNING 1`,
        [b.id, b.iccid, b.imei, b.udid ?? null, b.level, b.state, b.from, b.lastProvedAt, b.evidence, b.boundBy, b.version, mac],
      ),
    )
    assertWritten(inserted, THING)
  }

  async update(tx: Tx, b: Binding): Promise<void> {
    const mac = await sealRow(this.#sealer, bindingRow(b))
    const written = await losing(
      THING,
      sqlOf(tx).query(
        `UPDATE bindings SET state = $2, valid = tstzrange(lower(valid), $3, '[)'), last_proved_at = $4, evidence = $5, ended_by = $6, version = $7, mac = $8
         WHERE id = $1 AND version = $7 - 1 RETURNING 1`,
        [b.id, b.state, b.until ?? null, b.lastProvedAt, b.evidence, b.endedBy ?? null, b.version, mac],
      ),
    )
    assertWritten(written, 'binding')
  }

  async insertConflict(tx: Tx, c: BindingConflict): Promise<void> {
    await sqlOf(tx).query(
      `INSERT INTO binding_conflicts (id, binding_id, standing_evidence, iccid, imei, udid, evidence, claimed_by, claimed_at, version, mac)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
      [
        ...[c.id, c.bindingId, c.standingEvidence, c.iccid, c.imei, c.udid ?? null, c.evidence, c.claimedBy, c.claimedAt, c.version],
        await sealRow(this.#sealer, conflictRow(c)),
      ],
    )
  }

  #open(rows: readonly BindingColumns[]): Promise<Binding[]> {
    return openRecords(this.#sealer, rows, toBinding, bindingRow)
  }
}

const keyOf = (name: BindingName): readonly [key: 'iccid' | 'imei' | 'udid', value: string] => {
  if ('iccid' in name) return ['iccid', name.iccid]
  return 'imei' in name ? ['imei', name.imei] : ['udid', name.udid]
}

const toBinding = (row: BindingColumns): Binding => ({
  id: row.id,
  iccid: row.iccid,
  imei: row.imei,
  ...(row.udid === null ? {} : { udid: row.udid }),
  level: row.level,
  state: row.state,
  from: row.since,
  ...(row.until === null ? {} : { until: row.until }),
  lastProvedAt: row.last_proved_at,
  evidence: row.evidence,
  boundBy: row.bound_by,
  ...(row.ended_by === null ? {} : { endedBy: row.ended_by }),
  version: row.version,
})

interface ConflictColumns {
  readonly id: string
  readonly binding_id: string
  readonly standing_evidence: Uint8Array
  readonly iccid: string
  readonly imei: string
  readonly udid: string | null
  readonly evidence: Uint8Array
  readonly claimed_by: string
  readonly claimed_at: Date
  readonly version: number
}

const toConflict = (row: ConflictColumns): BindingConflict => ({
  id: row.id,
  bindingId: row.binding_id,
  standingEvidence: row.standing_evidence,
  iccid: row.iccid,
  imei: row.imei,
  ...(row.udid === null ? {} : { udid: row.udid }),
  evidence: row.evidence,
  claimedBy: row.claimed_by,
  claimedAt: row.claimed_at,
  version: row.version,
})

export const bindingTables = (sql: Sql): readonly SealedTable[] => [
  pgSealedTable<BindingColumns>(sql, { name: 'bindings', key: [['id', 'text']], columns: COLUMNS, toRow: (row) => bindingRow(toBinding(row)) }),
  pgSealedTable<ConflictColumns>(sql, {
    name: 'binding_conflicts',
    key: [['id', 'text']],
    columns: 'id, binding_id, standing_evidence, iccid, imei, udid, evidence, claimed_by, claimed_at, version, mac',
    toRow: (row) => conflictRow(toConflict(row)),
  }),
]

import type { Row } from './row.ts'
import type { Placed, SealedTable } from './sealed-table.ts'
import { type Sql, sqlOf, type Tx } from './tx.ts'

type KeyType = 'text' | 'int' | 'bigint' | 'uuid' | 'bytea'

export interface PgSealedTable<Columns> {
  readonly name: string
  /** The columns of the primary key, in its order, and their types. */
  readonly key: readonly (readonly [column: string, type: KeyType])[]
  /** Of the select list: what {@link toRow} reads, and `mac`. */
  readonly columns: string
  /** What of a row is sealed. */
  toRow(columns: Columns): Row
  /** The primary key of a sealed row, as text (of bytea as hex), in its order. Default: the id. */
  keyOf?(row: Pick<Row, 'id' | 'version'>): readonly string[]
  /** See {@link SealedTable.holdsKeys}. Default false. */
  readonly holdsKeys?: boolean
}

/** Above this the number of rows is taken from PostgreSQL's statistics: counting them would take longer than anybody waits. */
const MOST_COUNTED = 1_000_000

/** {@link SealedTable} of one table, whose primary key the cursor is: a JSON array of its values as text. */
export function pgSealedTable<Columns>(
  sql: Sql,
  { name, key, columns, toRow, keyOf = ({ id }) => [id], holdsKeys = false }: PgSealedTable<Columns>,
): SealedTable {
  const names = key.map(([column]) => column).join(', ')
  const texts = key.map(([column, type]) => (type === 'bytea' ? `encode(${column}, 'hex')` : `${column}::text`)).join(', ')
  const valueOf = (at: number, type: KeyType): string => (type === 'bytea' ? `decode($${at + 1}, 'hex')` : `$${at + 1}::text::${type}`)
  const after = key.map(([, type], at) => valueOf(at, type)).join(', ')
  const select = `SELECT ${columns}, ARRAY[${texts}] AS "placedAt" FROM ${name}`
  const first = `${select} ORDER BY ${names} LIMIT $1`
  const next = `${select} WHERE (${names}) > (${after}) ORDER BY ${names} LIMIT $${key.length + 1}`

  // Rows that someone else is writing are passed over, so that two transactions never wait for each other here.
  const given = key.map(([, type], at) => (type === 'bytea' ? `decode(n.k${at}, 'hex')` : `n.k${at}::${type}`))
  const arrays = key.map((_, at) => `$${at + 1}::text[]`).join(', ')
  const aliases = key.map((_, at) => `k${at}`).join(', ')
  const isSame = key.map(([column], at) => `t.${column} = ${given[at] ?? ''}`).join(' AND ')
  const some = `SELECT ${columns}, ARRAY[${texts}] AS "placedAt" FROM ${name} t JOIN unnest(${arrays}) AS n (${aliases}) ON ${isSame}`
  const isLocked = key.map(([column]) => `t.${column} = l.${column}`).join(' AND ')
  const at = key.length
  const locked = (list: string, types: string): string =>
    `WITH locked AS (
       SELECT ${key.map(([column]) => `t.${column}`).join(', ')}, ${list} FROM unnest(${arrays}, ${types}) AS n (${aliases}, old, mac, wrapped)
       JOIN ${name} t ON ${isSame} WHERE t.mac = n.old ORDER BY ${key.map(([column]) => `t.${column}`).join(', ')} FOR NO KEY UPDATE OF t SKIP LOCKED)`
  const types = `$${at + 1}::bytea[], $${at + 2}::bytea[], $${at + 3}::bytea[]`
  const reseal = `${locked('n.mac', types)} UPDATE ${name} t SET mac = l.mac FROM locked l WHERE ${isLocked} RETURNING 1`
  const rewrap = `${locked('n.mac, n.wrapped', types)} UPDATE ${name} t SET mac = l.mac, wrapped = l.wrapped, version = t.version + 1
    FROM locked l WHERE ${isLocked} RETURNING ARRAY[${key.map(([column, type]) => (type === 'bytea' ? `encode(t.${column}, 'hex')` : `t.${column}::text`)).join(', ')}] AS "placedAt"`

  const values = (rows: readonly { readonly placed: Placed; readonly mac: Uint8Array; readonly wrapped?: Uint8Array }[]): unknown[] => {
    const keys = rows.map(({ placed }) => JSON.parse(placed.key) as string[])
    return [
      ...key.map((_, column) => keys.map((parts) => parts[column])),
      ...[rows.map(({ placed }) => placed.mac), rows.map(({ mac }) => mac), rows.map(({ wrapped }) => wrapped ?? null)],
    ]
  }
  const placed = (row: Read): Placed => ({ key: JSON.stringify(row.placedAt), row: toRow(row), mac: row.mac })
  type Read = Columns & { readonly mac: Uint8Array; readonly placedAt: readonly string[] }
  return {
    name,
    holdsKeys,
    count: async () => {
      const [row] = await sql.query<{ count: string }>(
        `SELECT CASE WHEN reltuples > ${MOST_COUNTED} THEN reltuples::bigint ELSE (SELECT count(*) FROM ${name}) END AS count FROM pg_class WHERE oid = $1::regclass`,
        [name],
      )
      return Number(row?.count ?? 0)
    },
    page: async (cursor, limit) => {
      const rows = cursor === undefined ? await sql.query<Read>(first, [limit]) : await sql.query<Read>(next, [...(JSON.parse(cursor) as string[]), limit])
      return rows.map(placed)
    },
    find: async (rows) => {
      const keys = rows.map(keyOf)
      return (await sql.query<Read>(some, [...key.map((_, column) => keys.map((parts) => parts[column]))])).map(placed)
    },
    reseal: async (tx: Tx, rows) => (rows.length === 0 ? 0 : (await sqlOf(tx).query(reseal, values(rows))).length),
    rewrap: async (tx: Tx, rows) => {
      if (!holdsKeys) throw new Error(`${name} holds no keys`)
      if (rows.length === 0) return new Set()
      const written = await sqlOf(tx).query<{ placedAt: readonly string[] }>(rewrap, values(rows))
      return new Set(written.map(({ placedAt }) => JSON.stringify(placedAt)))
    },
  }
}

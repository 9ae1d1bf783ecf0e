import { type Sql, sqlOf, type Tx } from '../../core/tx.ts'
import { groupMessage } from './group.ts'

/** A group's MAC, and what it is over. */
export interface PlacedGroup {
  /** Its place, as {@link GroupTable.page} takes it. */
  readonly key: string
  readonly message: Uint8Array
  readonly mac: Uint8Array
}

/** The groups of the log, for who replaces the key of their MACs. What is sequenced keeps its MAC too: by it an entry that is read is known to be what was committed. */
export interface GroupTable {
  readonly name: 'audit_groups'
  count(): Promise<number>
  /** In the order of writer, epoch and sequence, after `after`. */
  page(after: string | undefined, limit: number): Promise<PlacedGroup[]>
  /** Another MAC over the same group, where the old one still stands. Answers how many were written. */
  reseal(tx: Tx, groups: readonly { readonly placed: PlacedGroup; readonly mac: Uint8Array }[]): Promise<number>
}

interface Columns {
  readonly writer: number
  readonly epoch: number
  readonly first_seq: string
  readonly count: number
  readonly chain: Uint8Array
  readonly mac: Uint8Array
}

/** Above this their number is taken from PostgreSQL's statistics. */
const MOST_COUNTED = 1_000_000
const COUNT = `SELECT CASE WHEN reltuples > ${MOST_COUNTED} THEN reltuples::bigint ELSE (SELECT count(*) FROM audit_groups) END AS count
  FROM pg_class WHERE oid = 'audit_groups'::regclass`
const PAGE = `SELECT writer, epoch, first_seq, count, chain, mac FROM audit_groups WHERE (writer, epoch, first_seq) > ($1::int, $2::int, $3::bigint)
  ORDER BY writer, epoch, first_seq LIMIT $4`
const RESEAL = `UPDATE audit_groups g SET mac = n.mac FROM unnest($1::int[], $2::int[], $3::bigint[], $4::bytea[], $5::bytea[]) AS n (writer, epoch, first_seq, old, mac)
  WHERE g.writer = n.writer AND g.epoch = n.epoch AND g.first_seq = n.first_seq AND g.mac = n.old RETURNING 1`
const BEFORE_ALL = '[-1,0,0]'

export const groupTable = (sql: Sql): GroupTable => ({
  name: 'audit_groups',
  count: async () => Number((await sql.query<{ count: string }>(COUNT))[0]?.count ?? 0),
  page: async (after = BEFORE_ALL, limit) => {
    const rows = await sql.query<Columns>(PAGE, [...(JSON.parse(after) as number[]), limit])
    return rows.map(({ writer, epoch, first_seq: seq, count, chain, mac }) => {
      const firstSeq = Number(seq)
      return { key: JSON.stringify([writer, epoch, firstSeq]), message: groupMessage({ writer, epoch, firstSeq, count, chain }), mac }
    })
  },
  reseal: async (tx, groups) => {
    const places = groups.map(({ placed }) => JSON.parse(placed.key) as readonly [number, number, number])
    const values = [places.map(([writer]) => writer), places.map(([, epoch]) => epoch), places.map(([, , seq]) => seq)]
    return (await sqlOf(tx).query(RESEAL, [...values, groups.map(({ placed }) => placed.mac), groups.map(({ mac }) => mac)])).length
  },
})

import type { SealedRow } from '../../core/row.ts'
import type { Sql } from '../../core/tx.ts'
import { pruneRow } from '../audit/prune/prune-record.ts'
import { storedPrunes } from '../audit/prune/prune-store.pg.ts'
import type { EntryRow } from '../audit/sequencer-store.ts'
import { GROUP_COLUMNS, groupOf, type GroupRow } from '../audit/stored-group.pg.ts'
import { placesAsked, type TileRow, tileOf, TILES_AT } from '../audit/tiles.pg.ts'
import type { EpochSequence, LogSource, StoredPersonal, TreeState } from './log-source.ts'
import { rowHeads } from './row-heads.pg.ts'

interface EntryColumns {
  readonly index: string
  readonly operation_id: string
  readonly writer: number
  readonly epoch: number
  readonly seq: string
  readonly group_seq: string
}

const ENTRIES = `SELECT index, operation_id, writer, epoch, seq, group_seq FROM audit_entries WHERE index >= $1 AND index < $2 ORDER BY index`
const GROUPS = `SELECT ${GROUP_COLUMNS},
    (SELECT first_seq FROM audit_groups n WHERE n.writer = g.writer AND n.epoch = g.epoch AND n.first_seq > g.first_seq ORDER BY n.first_seq LIMIT 1) AS next_seq
  FROM unnest($1::int[], $2::int[], $3::bigint[]) AS p (writer, epoch, first_seq) JOIN audit_groups g USING (writer, epoch, first_seq)`
const PERSONAL = `SELECT v.writer, v.epoch, v.seq, v.name, v.value, v.salt FROM unnest($1::int[], $2::int[], $3::bigint[]) AS p (writer, epoch, seq)
  JOIN audit_personal v USING (writer, epoch, seq)`
const ERASED = `SELECT v.writer, v.epoch, v.seq, v.name FROM unnest($1::int[], $2::int[], $3::bigint[]) AS p (writer, epoch, seq)
  JOIN audit_erasures v USING (writer, epoch, seq)`
/** One statement: head and tiles of one moment. */
const TREE_COLUMNS = `h.size, h.root, h.edge,
  (SELECT coalesce(json_agg(json_build_object('level', level, 'index', index::text, 'hashes', encode(hashes, 'hex'))), '[]') FROM audit_partial_tiles) AS partials`
const TREE = `SELECT ${TREE_COLUMNS} FROM audit_head h`
const SEQUENCED_TREE = `SELECT ${TREE_COLUMNS},
  (SELECT coalesce(json_agg(json_build_object('writer', writer, 'epoch', epoch, 'seq', next_seq)), '[]') FROM audit_sequenced) AS sequenced FROM audit_head h`
/** Every epoch that has groups, whatever other tables say: one look into the primary key each. */
const EPOCHS = `RECURSIVE epochs AS (
    (SELECT writer, epoch FROM audit_groups ORDER BY writer, epoch LIMIT 1)
    UNION ALL SELECT n.writer, n.epoch FROM epochs e
    CROSS JOIN LATERAL (SELECT writer, epoch FROM audit_groups g WHERE (g.writer, g.epoch) > (e.writer, e.epoch) ORDER BY writer, epoch LIMIT 1) n
  )`
const UNSEQUENCED = `WITH ${EPOCHS} SELECT ${GROUP_COLUMNS} FROM epochs LEFT JOIN audit_sequenced s USING (writer, epoch) CROSS JOIN LATERAL (
    SELECT * FROM audit_groups u WHERE u.writer = epochs.writer AND u.epoch = epochs.epoch AND u.first_seq >= coalesce(s.next_seq, 0) ORDER BY first_seq LIMIT $1
  ) g ORDER BY g.created_at, g.writer, g.epoch, g.first_seq LIMIT $1`
const HIDDEN = `WITH ${EPOCHS} SELECT writer, epoch, g.first_seq AS seq FROM epochs LEFT JOIN audit_sequenced s USING (writer, epoch) CROSS JOIN LATERAL (
    SELECT first_seq FROM audit_groups u WHERE u.writer = epochs.writer AND u.epoch = epochs.epoch AND u.first_seq >= coalesce(s.next_seq, 0) ORDER BY first_seq LIMIT 1
  ) g WHERE s.drained OR NOT EXISTS (SELECT FROM audit_writers w WHERE w.writer = epochs.writer AND w.epoch = epochs.epoch) LIMIT $1`
const WITHIN = `SELECT p.writer, p.epoch, g.first_seq AS seq FROM unnest($1::int[], $2::int[], $3::bigint[], $4::bigint[]) AS p (writer, epoch, first, last)
  JOIN audit_groups g ON g.writer = p.writer AND g.epoch = p.epoch AND g.first_seq >= p.first AND g.first_seq < p.last LIMIT 10`
const GROUPS_BEFORE = `SELECT ${GROUP_COLUMNS} FROM unnest($1::int[], $2::int[], $3::bigint[]) AS p (writer, epoch, seq)
  CROSS JOIN LATERAL (
    SELECT * FROM audit_groups b WHERE b.writer = p.writer AND b.epoch = p.epoch AND b.first_seq < p.seq AND b.first_seq + b.count <= p.seq
    ORDER BY b.first_seq DESC LIMIT 1
  ) g`
const CHECKPOINTS = 'SELECT size, note FROM audit_checkpoints WHERE size > $1 AND ($2::bigint IS NULL OR size <= $2) ORDER BY size'

/** {@link LogSource} in the tables of the log. `reviewRows`: whose MAC each row's is; `nobody`: not the token's. */
export const pgLogSource = (sql: Sql, reviewRows: (rows: readonly SealedRow[]) => Promise<readonly string[]>): LogSource => ({
  tree: async () => treeOf((await sql.query<TreeColumns>(TREE))[0]),
  sequencedTree: async () => {
    const [row] = await sql.query<TreeColumns & { readonly sequenced: EpochSequence[] }>(SEQUENCED_TREE)
    return { ...treeOf(row), sequenced: row?.sequenced ?? [] }
  },
  entries: async (from, to) => (await sql.query<EntryColumns>(ENTRIES, [from, to])).map(entryOf),
  groups: async (places) => {
    const values = [places.map(({ writer }) => writer), places.map(({ epoch }) => epoch), places.map(({ groupSeq }) => groupSeq)]
    const rows = await sql.query<GroupRow & { readonly next_seq: string | null }>(GROUPS, values)
    return rows.map((row) => ({ ...groupOf(row), nextSeq: row.next_seq === null ? undefined : Number(row.next_seq) }))
  },
  personal: async (places) => {
    const rows = await sql.query<Omit<StoredPersonal, 'seq'> & { readonly seq: string }>(PERSONAL, placesOf(places))
    return rows.map((row) => ({ ...row, seq: Number(row.seq) }))
  },
  erased: async (places) => {
    const rows = await sql.query<Omit<StoredPersonal, 'seq' | 'value' | 'salt'> & { readonly seq: string }>(ERASED, placesOf(places))
    return rows.map((row) => ({ ...row, seq: Number(row.seq) }))
  },
  tiles: async (places) => (await sql.query<TileRow>(TILES_AT, placesAsked(places))).map(tileOf),
  checkpoints: async (from, to) => {
    const rows = await sql.query<{ size: string; note: string }>(CHECKPOINTS, [from, to ?? null])
    return rows.map(({ size, note }) => ({ size: Number(size), note }))
  },
  hiddenEpochs: async (limit) => (await sql.query<SequenceColumns>(HIDDEN, [limit])).map(sequenceOf),
  unsequenced: async (limit) => (await sql.query<GroupRow>(UNSEQUENCED, [limit])).map(groupOf),
  groupsWithin: async (ranges) => {
    const values = [ranges.map(({ writer }) => writer), ranges.map(({ epoch }) => epoch), ranges.map(({ from }) => from), ranges.map(({ to }) => to)]
    return (await sql.query<SequenceColumns>(WITHIN, values)).map(sequenceOf)
  },
  groupsBefore: async (epochs) => (await sql.query<GroupRow>(GROUPS_BEFORE, placesOf(epochs))).map(groupOf),
  pruned: async () => {
    const stored = await storedPrunes(sql)
    if (stored.length === 0) return undefined
    const sealedBy = await reviewRows(stored.map(({ record, mac }) => ({ row: pruneRow(record), mac })))
    return stored.find((_, at) => sealedBy[at] !== 'nobody')?.record
  },
  heads: (before) => rowHeads(sql, before),
  strayEntries: async (size) => {
    const rows = await sql.query<{ index: string }>('SELECT index FROM audit_entries WHERE index >= $1 OR index < 0 ORDER BY index LIMIT 10', [size])
    return rows.map(({ index }) => Number(index))
  },
})

interface TreeColumns {
  readonly size: string
  readonly root: Uint8Array
  readonly edge: Uint8Array
  readonly partials: readonly { readonly level: number; readonly index: string; readonly hashes: string }[]
}

function treeOf(row: TreeColumns | undefined): TreeState {
  if (row === undefined) throw new Error('the table audit_head is empty')
  const nodes = Array.from({ length: Math.floor(row.edge.length / 32) }, (_, at) => row.edge.subarray(at * 32, (at + 1) * 32))
  return {
    head: { root: row.root, edge: { size: Number(row.size), nodes } },
    partialTiles: row.partials.map(({ level, index, hashes }) => ({ level, index: Number(index), hashes: Buffer.from(hashes, 'hex') })),
  }
}

const entryOf = (row: EntryColumns): EntryRow => ({
  ...{ index: Number(row.index), operationId: row.operation_id, writer: row.writer, epoch: row.epoch, seq: Number(row.seq), groupSeq: Number(row.group_seq) },
})

interface SequenceColumns {
  readonly writer: number
  readonly epoch: number
  readonly seq: string
}
const sequenceOf = ({ writer, epoch, seq }: SequenceColumns): EpochSequence => ({ writer, epoch, seq: Number(seq) })

type EntryPlace = { readonly writer: number; readonly epoch: number; readonly seq: number }
const placesOf = (places: readonly EntryPlace[]): readonly unknown[] => [
  places.map(({ writer }) => writer),
  places.map(({ epoch }) => epoch),
  places.map(({ seq }) => seq),
]

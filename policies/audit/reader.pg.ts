import { Problem } from '../../core/problem.ts'
import type { Sql } from '../../core/tx.ts'
import { EntryError, parseEntry } from './entry.ts'
import { decodeBundle } from './group.ts'
import { intactGroups, type LinkedGroup } from './intact-groups.ts'
import { archived, type MinimumIndex } from './prune/prune-record.ts'
import type { EntryFilter, FoundEntry, LogReader } from './reader.ts'
import type { PersonalPlace, SearchedLog } from './search/planner.ts'
import { CHAIN_BEFORE, GROUP_COLUMNS, groupOf, type GroupRow } from './stored-group.pg.ts'
import type { CheckGroups } from './take-over.ts'
import { placesAsked, type TileRow, tileOf, TILES_AT } from './tiles.pg.ts'
import type { Tile } from './tiles.ts'

interface IndexRow {
  readonly index: string
  readonly operation_id: string
  readonly writer: number
  readonly epoch: number
  readonly seq: string
  readonly group_seq: string
}

const COLUMNS = 'index, operation_id, writer, epoch, seq, group_seq'
/** Materialized, so that nothing is looked for along the whole log, whatever the planner believes. */
const OF_OPERATIONS = `WITH found AS MATERIALIZED (SELECT ${COLUMNS} FROM audit_entries WHERE operation_id = ANY($1::uuid[])) SELECT ${COLUMNS} FROM found`
const PERSONAL = `
  WITH found AS MATERIALIZED (
    SELECT e.index, p.salt FROM audit_personal p JOIN audit_entries e USING (operation_id, writer, epoch, seq) WHERE p.name = $1 AND p.blind_index = $2
  )
  SELECT index, salt FROM found`

const missing = (index: string): Problem =>
  new Problem('integrity-failed', `The audit log's entry ${index} is not what was committed. Verify an export, and keep the database as it is.`)

export class PgLogReader implements LogReader, SearchedLog {
  readonly #sql: Sql
  readonly #checkGroups: CheckGroups
  readonly minimumIndex: MinimumIndex

  constructor(sql: Sql, { checkGroups, minimumIndex }: { readonly checkGroups: CheckGroups; readonly minimumIndex: MinimumIndex }) {
    this.#sql = sql
    this.#checkGroups = checkGroups
    this.minimumIndex = minimumIndex
  }

  async search({ operationId, from, limit }: EntryFilter): Promise<FoundEntry[]> {
    const first = Math.max(from, await this.minimumIndex())
    if (operationId === undefined && first > from) throw archived(first)
    const rows =
      operationId === undefined
        ? await this.#sql.query<IndexRow>(`SELECT ${COLUMNS} FROM audit_entries WHERE index >= $1 ORDER BY index LIMIT $2`, [from, limit])
        : await this.#sql.query<IndexRow>(`${OF_OPERATIONS} WHERE index >= $2 ORDER BY index LIMIT $3`, [[operationId], first, limit])
    return this.#orArchived(Number(rows[0]?.index ?? from), () => this.#entries(rows))
  }

  async at(indexes: readonly number[]): Promise<FoundEntry[]> {
    if (indexes.length === 0) return []
    const rows = await this.#sql.query<IndexRow>(
      `SELECT ${COLUMNS} FROM unnest($1::bigint[]) WITH ORDINALITY AS a (index, at) JOIN audit_entries e USING (index) ORDER BY a.at`,
      [indexes],
    )
    return this.#orArchived(Math.min(...indexes), async () => {
      indexes.forEach((index, at) => {
        if (Number(rows[at]?.index) !== index) throw missing(String(index))
      })
      return this.#entries(rows)
    })
  }

  async indexesOf(operationIds: readonly string[], from: number, to: number): Promise<number[]> {
    return (await this.#sql.query<IndexRow>(`${OF_OPERATIONS} WHERE index >= $2 AND index < $3`, [operationIds, from, to])).map(({ index }) => Number(index))
  }

  async personalPlaces(name: string, blindIndex: Uint8Array, from: number, to: number): Promise<PersonalPlace[]> {
    const rows = await this.#sql.query<{ index: string; salt: Buffer }>(`${PERSONAL} WHERE index >= $3 AND index < $4`, [name, blindIndex, from, to])
    return rows.map(({ index, salt }) => ({ index: Number(index), salt }))
  }

  read(from: number, to: number): ReturnType<LogReader['read']> {
    return this.#orArchived(from, () => readStored(this.#sql, from, to))
  }

  async lastCheckpoint(): Promise<string | undefined> {
    return (await this.#sql.query<{ note: string }>('SELECT note FROM audit_checkpoints ORDER BY size DESC LIMIT 1'))[0]?.note
  }

  async checkpoints(from: number, to: number): Promise<{ readonly size: number; readonly note: string }[]> {
    const rows = await this.#sql.query<{ size: string; note: string }>(
      'SELECT size, note FROM audit_checkpoints WHERE size > $1 AND size <= $2 ORDER BY size',
      [from, to],
    )
    return rows.map(({ size, note }) => ({ size: Number(size), note }))
  }

  async tiles(places: readonly { readonly level: number; readonly index: number }[]): Promise<Tile[]> {
    return (await this.#sql.query<TileRow>(TILES_AT, placesAsked(places))).map(tileOf)
  }

  /** What is missing may have been pruned meanwhile, or long ago: that is nobody's fault. `first`: the lowest index that `work` reads. */
  async #orArchived<Result>(first: number, work: () => Promise<Result>): Promise<Result> {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof Problem && error.code === 'integrity-failed')) throw error
      const minimum = await this.minimumIndex()
      throw first < minimum ? archived(minimum) : error
    }
  }

  /** The entries behind index rows, checked. */
  async #entries(rows: readonly IndexRow[]): Promise<FoundEntry[]> {
    const bytesOf = await bytesBehind(this.#sql, rows, (groups) => intactGroups(groups, this.#checkGroups))
    return rows.map((row) => {
      const bytes = bytesOf(row)
      const entry = parse(bytes, row)
      const { slot, epoch, seq } = entry.writer
      if (entry.id !== row.operation_id || slot !== row.writer || epoch !== row.epoch || seq !== Number(row.seq)) throw missing(row.index)
      return { index: Number(row.index), bytes, entry }
    })
  }
}

/**
 * Entries from..to (to not included), as they stand: an export is for a verifier that believes nothing, and shows what was done to the log.
 * Throws `integrity-failed` for one that is not there.
 */
export async function readStored(sql: Sql, from: number, to: number): ReturnType<LogReader['read']> {
  const rows = await sql.query<IndexRow>(`SELECT ${COLUMNS} FROM audit_entries WHERE index >= $1 AND index < $2 ORDER BY index`, [from, to])
  const bytesOf = await bytesBehind(sql, rows, (groups) => Promise.resolve(groups))
  rows.forEach((row, at) => {
    if (Number(row.index) !== from + at) throw missing(String(from + at))
  })
  if (rows.length !== to - from) throw missing(String(from + rows.length))
  return rows.map((row) => ({ index: Number(row.index), bytes: bytesOf(row) }))
}

/** The entries behind index rows, out of their groups' bundles. The function throws `integrity-failed` for one that is not among those that `pick` leaves. */
async function bytesBehind(
  sql: Sql,
  rows: readonly IndexRow[],
  pick: (groups: readonly LinkedGroup[]) => Promise<readonly LinkedGroup[]>,
): Promise<(row: IndexRow) => Uint8Array> {
  const wanted = new Map<string, IndexRow[]>()
  for (const row of rows) {
    const of = wanted.get(groupKey(row))
    if (of === undefined) wanted.set(groupKey(row), [row])
    else of.push(row)
  }
  const parts = await partsOf(
    sql,
    [...wanted.values()].flatMap(([row]) => row ?? []),
  )
  const found = new Map<string, Uint8Array>()
  for (const part of parts) {
    const groups = await sql.query<GroupRow & { readonly before: Buffer | null }>(
      `SELECT ${GROUP_COLUMNS}, ${CHAIN_BEFORE} AS before FROM ${PLACES} JOIN audit_groups g USING (writer, epoch, first_seq)`,
      placesOf(part),
    )
    for (const group of await pick(groups.map((row) => ({ ...groupOf(row), before: row.before })))) {
      const entries = split(group.bundle)
      for (const { index, seq } of wanted.get(groupKey({ ...group, group_seq: group.firstSeq })) ?? []) {
        const bytes = entries[Number(seq) - group.firstSeq]
        // A part of the bundle would hold all of it.
        if (bytes !== undefined) found.set(index, parts.length === 1 ? bytes : Uint8Array.from(bytes))
      }
    }
  }
  return ({ index }) => {
    const bytes = found.get(index)
    if (bytes === undefined) throw missing(index)
    return bytes
  }
}

type GroupPlace = Pick<IndexRow, 'writer' | 'epoch' | 'group_seq'>

const PLACES = 'unnest($1::int[], $2::int[], $3::bigint[]) AS h (writer, epoch, first_seq)'
const placesOf = (places: readonly GroupPlace[]): readonly unknown[] => [
  places.map(({ writer }) => writer),
  places.map(({ epoch }) => epoch),
  places.map(({ group_seq: seq }) => seq),
]

/** Groups that are read at once without asking how long they are, and else so many bytes and one group: entries that are found here and there may lie in a group of 8 MiB each. */
const FEW_GROUPS = 8
const PART_BYTES = 8 * 1024 * 1024

async function partsOf(sql: Sql, places: readonly GroupPlace[]): Promise<(readonly GroupPlace[])[]> {
  if (places.length <= FEW_GROUPS) return [places]
  const sized = await sql.query<GroupPlace & { readonly bytes: number }>(
    `SELECT g.writer, g.epoch, g.first_seq AS group_seq, octet_length(g.bundle) AS bytes FROM ${PLACES} JOIN audit_groups g USING (writer, epoch, first_seq)`,
    placesOf(places),
  )
  const parts: GroupPlace[][] = []
  let left = 0
  for (const place of sized) {
    const last = left > 0 ? parts.at(-1) : undefined
    if (last === undefined) {
      parts.push([place])
      left = PART_BYTES
    } else last.push(place)
    left -= place.bytes
  }
  return parts
}

const groupKey = ({ writer, epoch, group_seq }: { readonly writer: number; readonly epoch: number; readonly group_seq: string | number }): string =>
  `${writer}/${epoch}/${group_seq}`

const split = (bundle: Uint8Array): Uint8Array[] => {
  try {
    return decodeBundle(bundle)
  } catch {
    return []
  }
}

const parse = (bytes: Uint8Array, row: IndexRow): FoundEntry['entry'] => {
  try {
    return parseEntry(bytes)
  } catch (error) {
    throw error instanceof EntryError ? missing(row.index) : error
  }
}

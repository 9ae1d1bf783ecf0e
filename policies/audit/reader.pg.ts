import { equalBytes } from '../../core/bytes.ts'
import { Problem } from '../../core/problem.ts'
import type { Sql } from '../../core/tx.ts'
import { callerUrn } from '../caller.ts'
import { EntryError, parseEntry } from './entry.ts'
import { decodeBundle, groupMessage, nextChain, startChain } from './group.ts'
import type { EntryFilter, FoundEntry, LogReader } from './reader.ts'
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
  readonly operation: string
  readonly caller: string
  readonly code: string | null
  /** Null where there was no decision, and in rows from before there were grants. */
  readonly rule: string | null
}

interface GroupRow extends Pick<IndexRow, 'writer' | 'epoch' | 'group_seq'> {
  readonly count: number
  readonly bundle: Buffer
  readonly chain: Buffer
  readonly mac: Buffer
  /** The chain of the group before it; null for the first of its epoch. */
  readonly before: Buffer | null
}

const COLUMNS = 'index, operation_id, writer, epoch, seq, group_seq, operation, caller, code, rule'
const FILTERS = [
  ['operationId', 'operation_id = ?::uuid'],
  ['operation', 'operation = ?'],
  ['caller', 'caller = ?'],
  ['code', 'code = ?'],
  ['rule', 'rule = ?'],
] as const

const missing = (index: string): Problem =>
  new Problem('integrity-failed', `The audit log's entry ${index} is not what was committed. Verify an export, and keep the database as it is.`)

export class PgLogReader implements LogReader {
  readonly #sql: Sql
  readonly #checkGroups: CheckGroups

  constructor(sql: Sql, checkGroups: CheckGroups) {
    this.#sql = sql
    this.#checkGroups = checkGroups
  }

  async search(filter: EntryFilter): Promise<FoundEntry[]> {
    // One text for each set of filters, so that each has its own plan.
    const values: unknown[] = [filter.from, filter.limit]
    const conditions = FILTERS.flatMap(([name, condition]) => (filter[name] === undefined ? [] : [condition.replace('?', `$${values.push(filter[name])}`)]))
    // Of grants there is an index, which PostgreSQL takes where the text says so itself.
    if (filter.rule?.startsWith('grant:') === true) conditions.push(`rule LIKE 'grant:%'`)
    const rows = await this.#sql.query<IndexRow>(
      `SELECT ${COLUMNS} FROM audit_entries WHERE ${['index >= $1', ...conditions].join(' AND ')} ORDER BY index LIMIT $2`,
      values,
    )
    const bytesOf = await this.#bytes(rows, (groups) => this.#intact(groups))
    return rows.map((row) => {
      const bytes = bytesOf(row)
      const entry = parse(bytes, row)
      const isSame = entry.id === row.operation_id && entry.operation === row.operation && callerUrn(entry.caller) === row.caller
      if (!isSame || (entry.code ?? null) !== row.code || (row.rule !== null && row.rule !== entry.decision?.rule)) throw missing(row.index)
      return { index: Number(row.index), bytes, entry }
    })
  }

  async read(from: number, to: number): Promise<{ readonly index: number; readonly bytes: Uint8Array }[]> {
    const rows = await this.#sql.query<IndexRow>(`SELECT ${COLUMNS} FROM audit_entries WHERE index >= $1 AND index < $2 ORDER BY index`, [from, to])
    // As they stand: an export is for a verifier that believes nothing, and shows what was done to the log.
    const bytesOf = await this.#bytes(rows, (groups) => Promise.resolve(groups))
    rows.forEach((row, at) => {
      if (Number(row.index) !== from + at) throw missing(String(from + at))
    })
    if (rows.length !== to - from) throw missing(String(from + rows.length))
    return rows.map((row) => ({ index: Number(row.index), bytes: bytesOf(row) }))
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

  /** The groups that are as they were committed: the MAC is the token's, and the bundle leads from the chain before it to the one that is MACed. */
  async #intact(groups: readonly GroupRow[]): Promise<readonly GroupRow[]> {
    const valid = await this.#checkGroups(groups.map((group) => ({ message: groupMessage({ ...group, firstSeq: Number(group.group_seq) }), mac: group.mac })))
    return groups.filter(
      ({ writer, epoch, bundle, chain, before }, at) => valid[at] === true && equalBytes(nextChain(before ?? startChain(writer, epoch), bundle), chain),
    )
  }

  /** The entries behind index rows, out of their groups' bundles. The function throws `integrity-failed` for one that is not among those that `pick` leaves. */
  async #bytes(rows: readonly IndexRow[], pick: (groups: readonly GroupRow[]) => Promise<readonly GroupRow[]>): Promise<(row: IndexRow) => Uint8Array> {
    const wanted = new Map(rows.map((row) => [groupKey(row), row]))
    const groups = await this.#sql.query<GroupRow>(
      `SELECT g.writer, g.epoch, g.first_seq AS group_seq, g.count, g.bundle, g.chain, g.mac, p.chain AS before
       FROM unnest($1::int[], $2::int[], $3::bigint[]) AS h (writer, epoch, first_seq)
       JOIN audit_groups g USING (writer, epoch, first_seq)
       LEFT JOIN LATERAL (SELECT chain FROM audit_groups b WHERE b.writer = g.writer AND b.epoch = g.epoch AND b.first_seq < g.first_seq ORDER BY b.first_seq DESC LIMIT 1) p ON true`,
      [
        [...wanted.values()].map(({ writer }) => writer),
        [...wanted.values()].map(({ epoch }) => epoch),
        [...wanted.values()].map(({ group_seq }) => group_seq),
      ],
    )
    const bundles = new Map((await pick(groups)).map((group) => [groupKey(group), split(group.bundle)]))
    return (row) => {
      const bytes = bundles.get(groupKey(row))?.[Number(row.seq) - Number(row.group_seq)]
      if (bytes === undefined) throw missing(row.index)
      return bytes
    }
  }
}

const groupKey = ({ writer, epoch, group_seq }: { readonly writer: number; readonly epoch: number; readonly group_seq: string }): string =>
  `${writer}/${epoch}/${group_seq}`

const split = (bundle: Buffer): Uint8Array[] => {
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

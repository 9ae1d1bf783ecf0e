import type { Sql } from '../../core/tx.ts'
import type { GroupHead } from './group.ts'
import type { EntryRow, Head, PendingEpoch, PendingGroup, Round, SequencerStore, StoredGroup } from './sequencer-store.ts'
import { type Connect, SEQUENCER_LOCK, Session, tryLock } from './session.pg.ts'
import { GROUP_COLUMNS, groupOf, type GroupRow } from './stored-group.pg.ts'
import { placesAsked, type TileRow, tileOf, TILES_AT } from './tiles.pg.ts'
import type { Tile } from './tiles.ts'

/** Groups of one epoch that are read at once. */
const MAX_GROUPS = 2000
/** Rows of one INSERT: making its arrays holds the event loop. */
const CHUNK_ROWS = 1000

const PENDING = `
  SELECT w.writer, w.epoch, coalesce(s.next_seq, 0) AS next_seq, s.chain,
    w.epoch < max(w.epoch) OVER (PARTITION BY w.writer) AS superseded,
    g.first_seq, g.count, octet_length(g.bundle) AS bytes, (extract(epoch FROM g.created_at) * 1000000)::bigint AS created_at_us
  FROM audit_writers w
  LEFT JOIN audit_sequenced s USING (writer, epoch)
  LEFT JOIN LATERAL (
    SELECT * FROM audit_groups g WHERE g.writer = w.writer AND g.epoch = w.epoch AND g.first_seq >= coalesce(s.next_seq, 0)
    AND NOT coalesce(s.drained, false) ORDER BY g.first_seq LIMIT ${MAX_GROUPS + 1}
  ) g ON true
  WHERE NOT coalesce(s.drained, false)
  ORDER BY w.writer, w.epoch, g.first_seq`

const HAS_PENDING = `
  SELECT EXISTS (
    SELECT FROM audit_writers w LEFT JOIN audit_sequenced s USING (writer, epoch)
    WHERE NOT coalesce(s.drained, false)
    AND EXISTS (SELECT FROM audit_groups g WHERE g.writer = w.writer AND g.epoch = w.epoch AND g.first_seq >= coalesce(s.next_seq, 0))
  ) OR (SELECT size FROM audit_head) > coalesce((SELECT max(size) FROM audit_checkpoints), 0) AS pending`

/** How often the leader gives the server a sign of life, and how long the server waits for one before it ends the session and with it the lock. */
const HEARTBEAT_MS = 1000
const SILENCE_MS = 3000
/** A leader that hears nothing for so long gives up by itself. */
const ANSWER_TIMEOUT_MS = 15_000

/**
 * The server ends the session of a leader that is dead, frozen or cut off, whatever its socket says: idle or inside a transaction, with an answer that nobody
 * fetches, or running for one that is gone. (PostgreSQL 18 documentation, 19.3.2 and 19.11.1. Over a Unix socket the settings of TCP do nothing.)
 */
const SESSION_LIMITS = `
  SET idle_session_timeout = ${SILENCE_MS}; SET idle_in_transaction_session_timeout = ${SILENCE_MS}; SET client_connection_check_interval = 1000;
  SET tcp_user_timeout = ${SILENCE_MS}; SET tcp_keepalives_idle = 1; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 2`

/**
 * On PostgreSQL: the leader's connection holds the lock, and the head's row the epoch that every commit and every checkpoint compares.
 * A standby keeps its connection, and asks for the lock on it each time.
 */
export class PgSequencerStore implements SequencerStore {
  readonly #connect: Connect
  readonly #sql: Sql
  #candidate: Session | undefined
  #leader: { readonly session: Session; readonly epoch: string; readonly heartbeat: NodeJS.Timeout } | undefined

  /** `sql`: for what does not need the leader's connection. */
  constructor({ connect, sql }: { readonly connect: Connect; readonly sql: Sql }) {
    this.#connect = connect
    this.#sql = sql
  }

  async lead(): Promise<boolean> {
    await this.#abdicate()
    const session = await this.#standBy()
    this.#candidate = undefined
    try {
      if (!(await tryLock(session, { class: SEQUENCER_LOCK, key: 0 }))) {
        this.#candidate = session
        return false
      }
      const { rows } = await session.query<{ leader_epoch: string }>(
        'UPDATE audit_head SET leader_epoch = leader_epoch + 1 WHERE id = 1 RETURNING leader_epoch',
      )
      const heartbeat = setInterval(() => void session.query('SELECT 1').catch(() => undefined), HEARTBEAT_MS).unref()
      this.#leader = { session, epoch: String(rows[0]?.leader_epoch), heartbeat }
      return true
    } catch (error) {
      await session.end()
      throw error
    }
  }

  get isLeading(): boolean {
    return this.#leader?.session.lost === false
  }

  async yield(): Promise<void> {
    await this.#abdicate()
    await this.#candidate?.end()
    this.#candidate = undefined
  }

  async #abdicate(): Promise<void> {
    const leader = this.#leader
    this.#leader = undefined
    clearInterval(leader?.heartbeat)
    await leader?.session.end()
  }

  async #standBy(): Promise<Session> {
    if (this.#candidate?.lost === false) return this.#candidate
    await this.#candidate?.end()
    const client = await this.#connect()
    const session = new Session(client, { answerTimeoutMs: ANSWER_TIMEOUT_MS })
    try {
      await client.query(SESSION_LIMITS)
      return session
    } catch (error) {
      await session.end()
      throw error
    }
  }

  async head(): Promise<Head> {
    const [row] = await this.#query<{ size: string; root: Buffer; edge: Buffer }>('SELECT size, root, edge FROM audit_head WHERE id = 1')
    if (row === undefined) throw new Error('the table audit_head is empty')
    return { root: row.root, edge: { size: Number(row.size), nodes: split(row.edge) } }
  }

  async pending(): Promise<PendingEpoch[]> {
    interface Row {
      readonly writer: number
      readonly epoch: number
      readonly next_seq: string
      readonly chain: Buffer | null
      readonly superseded: boolean
      readonly first_seq: string | null
      readonly count: number
      readonly bytes: number
      readonly created_at_us: string
    }
    const epochs: (PendingEpoch & { groups: PendingGroup[]; more: boolean })[] = []
    for (const row of await this.#query<Row>(PENDING)) {
      const { writer, epoch, superseded } = row
      let last = epochs.at(-1)
      if (last === undefined || last.writer !== writer || last.epoch !== epoch) {
        last = { writer, epoch, superseded, nextSeq: Number(row.next_seq), chain: row.chain ?? undefined, groups: [], more: false }
        epochs.push(last)
      }
      if (row.first_seq === null) continue
      if (last.groups.length === MAX_GROUPS) last.more = true
      else last.groups.push({ writer, epoch, firstSeq: Number(row.first_seq), count: row.count, bytes: row.bytes, createdAtUs: Number(row.created_at_us) })
    }
    return epochs
  }

  async groups(heads: readonly Pick<GroupHead, 'writer' | 'epoch' | 'firstSeq'>[]): Promise<StoredGroup[]> {
    if (heads.length === 0) return []
    const rows = await this.#query<GroupRow>(
      `SELECT ${GROUP_COLUMNS} FROM unnest($1::int[], $2::int[], $3::bigint[]) WITH ORDINALITY AS h (writer, epoch, first_seq, at)
       JOIN audit_groups g USING (writer, epoch, first_seq) ORDER BY h.at`,
      [heads.map(({ writer }) => writer), heads.map(({ epoch }) => epoch), heads.map(({ firstSeq }) => firstSeq)],
    )
    return rows.map(groupOf)
  }

  async partialTiles(): Promise<Tile[]> {
    return (await this.#query<TileRow>('SELECT level, index, hashes FROM audit_partial_tiles')).map(tileOf)
  }

  async tiles(places: readonly { readonly level: number; readonly index: number }[]): Promise<Tile[]> {
    return (await this.#query<TileRow>(TILES_AT, placesAsked(places))).map(tileOf)
  }

  async commit({ from, to, entries, fullTiles, partialTiles, sequenced }: Round): Promise<boolean> {
    const { session, epoch } = this.#leading()
    await session.command('BEGIN')
    const swapped = await session.query(
      'UPDATE audit_head SET size = $1, root = $2, edge = $3 WHERE id = 1 AND leader_epoch = $4 AND size = $5 AND root = $6',
      [to.edge.size, to.root, Buffer.concat(to.edge.nodes), epoch, from.edge.size, from.root],
    )
    if (swapped.rowCount !== 1) {
      await session.command('ROLLBACK')
      return false
    }
    for (let at = 0; at < entries.length; at += CHUNK_ROWS) await this.#insertEntries(session, entries.slice(at, at + CHUNK_ROWS))
    await insertTiles(session, 'INSERT INTO audit_tiles (level, index, hashes) SELECT * FROM unnest($1::int[], $2::bigint[], $3::bytea[])', fullTiles)
    await insertTiles(
      session,
      `INSERT INTO audit_partial_tiles (level, index, hashes) SELECT * FROM unnest($1::int[], $2::bigint[], $3::bytea[])
       ON CONFLICT (level) DO UPDATE SET index = excluded.index, hashes = excluded.hashes`,
      partialTiles,
    )
    // A level whose right-most tile became full and has no successor yet starts the next one empty.
    const ended = fullTiles.filter((tile) => !partialTiles.some(({ level }) => level === tile.level))
    const next = new Map(ended.map((tile) => [tile.level, { level: tile.level, index: tile.index + 1, hashes: new Uint8Array() }]))
    await insertTiles(
      session,
      `INSERT INTO audit_partial_tiles (level, index, hashes) SELECT * FROM unnest($1::int[], $2::bigint[], $3::bytea[])
       ON CONFLICT (level) DO UPDATE SET index = excluded.index, hashes = excluded.hashes`,
      [...next.values()],
    )
    await session.query(
      `INSERT INTO audit_sequenced (writer, epoch, next_seq, chain, drained) SELECT * FROM unnest($1::int[], $2::int[], $3::bigint[], $4::bytea[], $5::boolean[])
       ON CONFLICT (writer, epoch) DO UPDATE SET next_seq = excluded.next_seq, chain = excluded.chain, drained = excluded.drained`,
      [column(sequenced, 'writer'), column(sequenced, 'epoch'), column(sequenced, 'nextSeq'), column(sequenced, 'chain'), column(sequenced, 'drained')],
    )
    const command = await session.command('COMMIT')
    if (command !== 'COMMIT') throw new Error('the round was rolled back by the database')
    return true
  }

  async lastCheckpoint(): Promise<string | undefined> {
    return (await this.#query<{ note: string }>('SELECT note FROM audit_checkpoints ORDER BY size DESC LIMIT 1'))[0]?.note
  }

  async assertLeading(): Promise<void> {
    const { epoch } = this.#leading()
    if ((await this.#query('SELECT FROM audit_head WHERE id = 1 AND leader_epoch = $1', [epoch])).length === 0) throw deposed()
  }

  /** The head's row is held meanwhile: no other leader can begin between the look and the insertion. */
  async publish(size: number, note: string): Promise<void> {
    const { session, epoch } = this.#leading()
    await session.command('BEGIN')
    const held = await session.query('SELECT FROM audit_head WHERE id = 1 AND leader_epoch = $1 FOR SHARE', [epoch])
    if (held.rowCount === 1) await session.query('INSERT INTO audit_checkpoints (size, note) VALUES ($1, $2) ON CONFLICT (size) DO NOTHING', [size, note])
    const command = await session.command('COMMIT')
    if (held.rowCount !== 1) throw deposed()
    if (command !== 'COMMIT') throw new Error('the checkpoint was rolled back by the database')
  }

  async sequencedGroups(from: number, to: number): ReturnType<SequencerStore['sequencedGroups']> {
    const rows = await this.#query<GroupRow & { previous: Buffer | null; skip: string; take: string }>(
      `SELECT ${GROUP_COLUMNS}, e.skip, e.take,
         (SELECT p.chain FROM audit_groups p WHERE p.writer = g.writer AND p.epoch = g.epoch AND p.first_seq < g.first_seq ORDER BY p.first_seq DESC LIMIT 1) AS previous
       FROM (SELECT writer, epoch, group_seq AS first_seq, min(index) AS first_index, min(seq) - group_seq AS skip, count(*) AS take
             FROM audit_entries WHERE index >= $1 AND index < $2 GROUP BY writer, epoch, group_seq) e
       JOIN audit_groups g USING (writer, epoch, first_seq) ORDER BY e.first_index`,
      [from, to],
    )
    return rows.map((row) => ({ group: groupOf(row), previousChain: row.previous ?? undefined, skip: Number(row.skip), take: Number(row.take) }))
  }

  async hasPending(): Promise<boolean> {
    return (await this.#sql.query<{ pending: boolean }>(HAS_PENDING))[0]?.pending === true
  }

  async #insertEntries(session: Session, rows: readonly EntryRow[]): Promise<void> {
    await session.query(
      `INSERT INTO audit_entries (index, operation_id, writer, epoch, seq, group_seq)
       SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::int[], $4::int[], $5::bigint[], $6::bigint[])`,
      (['index', 'operationId', 'writer', 'epoch', 'seq', 'groupSeq'] as const).map((key) => column(rows, key)),
    )
  }

  #leading(): { readonly session: Session; readonly epoch: string } {
    if (this.#leader === undefined) throw deposed()
    return this.#leader
  }

  async #query<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]> {
    return (await this.#leading().session.query<Row>(text, values)).rows
  }
}

const deposed = (): Error => new Error('this process does not lead the audit log any more')

async function insertTiles(session: Session, text: string, tiles: readonly Tile[]): Promise<void> {
  if (tiles.length > 0) await session.query(text, [column(tiles, 'level'), column(tiles, 'index'), column(tiles, 'hashes')])
}

const column = <Row, Key extends keyof Row>(rows: readonly Row[], key: Key): (Row[Key] | null)[] => rows.map((row) => row[key] ?? null)

const split = (bytes: Buffer): Uint8Array[] => Array.from({ length: bytes.length / 32 }, (_, at) => bytes.subarray(at * 32, at * 32 + 32))

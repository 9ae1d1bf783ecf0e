import { setTimeout as sleep } from 'node:timers/promises'
import { Problem } from '../../core/problem.ts'
import { closeTx, type Sql, Tx } from '../../core/tx.ts'
import { type EncodedEntry, EntryError, encodeEntry } from './entry.ts'
import { encodeBundle, groupMessage, MAX_GROUP_BYTES, MAX_GROUP_ENTRIES, nextChain, startChain } from './group.ts'
import type { EntryDraft, LogTx } from './log.ts'
import { type Connect, Session, tryLock, WRITER_LOCK } from './session.pg.ts'

export interface WriterSettings {
  readonly connect: Connect
  /** The token's MAC over a group's message. */
  readonly macGroup: (message: Uint8Array) => Promise<Uint8Array>
  /** The token's blind index of personal values. */
  readonly blindIndex: (values: readonly { readonly name: string; readonly value: string }[]) => Promise<Uint8Array[]>
  readonly now: () => Date
  /** 16 new random bytes. */
  readonly salt: () => Uint8Array
  /** How long to look for the answer of a commit whose connection was lost. */
  readonly settleMs: number
}

/** A slot that is held: its lock lives as long as the session, and its epoch is in the database. */
interface Held {
  readonly session: Session
  readonly slot: number
  readonly epoch: number
  seq: number
  chain: Uint8Array
}

interface Group {
  readonly entries: readonly EncodedEntry[]
  readonly drafts: readonly EntryDraft[]
  readonly firstSeq: number
  readonly bundle: Uint8Array
  readonly chain: Uint8Array
}

interface Queued {
  readonly draft: EntryDraft
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

const MAX_SLOT = 1023
const INSERT_GROUP = `INSERT INTO audit_groups (writer, epoch, first_seq, count, bundle, chain, mac) VALUES ($1, $2, $3, $4, $5, $6, $7)`
const INSERT_GROUP_WITH_PERSONAL = `
  WITH personal AS (
    INSERT INTO audit_personal (writer, epoch, seq, name, operation_id, value, salt, blind_index)
    SELECT $1, $2, p.* FROM unnest($8::bigint[], $9::text[], $10::uuid[], $11::text[], $12::bytea[], $13::bytea[]) AS p)
  ${INSERT_GROUP}`
const OPEN_INTENTS = `INSERT INTO open_intents (operation_id, writer, epoch, seq) SELECT i.id, $1, $2, i.seq FROM unnest($3::uuid[], $4::bigint[]) AS i (id, seq)`
const CLOSE_INTENTS = 'DELETE FROM open_intents WHERE operation_id = ANY($1::uuid[])'

const unavailable = (detail: string, cause?: unknown): Problem => new Problem('log-unavailable', detail, { cause })

/**
 * One connection slot of the log. It serves one transaction or one group at a time; who owns it sees to that.
 *
 * INVARIANT: sequence and chain advance only after a COMMIT that is known. One whose answer was lost is looked up on a new connection, once the slot's
 * lock is free or newly taken: the old backend is then gone, and the answer is final. If it cannot be looked up, the caller gets `log-unavailable`.
 */
export class Writer {
  readonly #settings: WriterSettings
  #held: Held | undefined

  constructor(settings: WriterSettings) {
    this.#settings = settings
  }

  /** Runs `work` in a transaction, and commits its rows with its entries. */
  async transact<Result>(work: (log: LogTx) => Promise<Result>): Promise<Result> {
    const held = await this.#hold()
    const drafts: EntryDraft[] = []
    let group: Group
    let result: Result
    try {
      await held.session.command('BEGIN')
      result = await this.#work(held.session, drafts, work)
      group = this.#encode(held, drafts, 'durable')
      await this.#write(held, group)
    } catch (error) {
      await this.#rollBack(held)
      throw held.session.lost && !(error instanceof Problem)
        ? new Problem('database-unavailable', 'The database was lost before anything was committed. Try again in a few seconds.', { cause: error })
        : error
    }
    await this.#commit(held, group, async () => {
      const command = await held.session.command('COMMIT')
      if (command !== 'COMMIT') throw new Error('a statement of the transaction had failed, so nothing was committed')
    })
    return result
  }

  /** Commits the drafts as one group, and answers each. A draft that cannot be written is told so and takes no number. Never throws. */
  async append(queue: readonly Queued[]): Promise<void> {
    let waiting: readonly Queued[] = queue
    try {
      const held = await this.#hold()
      const taken: Queued[] = []
      const group = this.#encode(
        held,
        queue.map(({ draft }) => draft),
        'transient',
        (at, error) => (error === undefined ? taken.push(queue[at] as Queued) : queue[at]?.reject(error)),
      )
      waiting = taken
      if (group.entries.length === 0) return
      const insert = await this.#insertion(held, group)
      await this.#commit(held, group, async () => void (await held.session.query(insert.text, insert.values)))
      for (const { resolve } of taken) resolve()
    } catch (error) {
      const problem = error instanceof Problem ? error : unavailable('The audit log could not be written. Nothing was answered; try again.', error)
      for (const { reject } of waiting) reject(problem)
    }
  }

  async close(): Promise<void> {
    await this.#held?.session.end()
    this.#held = undefined
  }

  async #work<Result>(session: Session, drafts: EntryDraft[], work: (log: LogTx) => Promise<Result>): Promise<Result> {
    let live = true
    const assertLive = (): void => {
      if (!live) throw new Error('the transaction is over')
    }
    const sql: Sql = {
      query: async <Row extends object>(text: string, values?: readonly unknown[]) => {
        assertLive()
        return (await session.query<Row>(text, values)).rows
      },
    }
    const tx = new Tx(sql)
    try {
      const append = (draft: EntryDraft): void => {
        assertLive()
        drafts.push(draft)
      }
      return await work({ tx, append })
    } finally {
      live = false
      closeTx(tx)
    }
  }

  /** Numbers and encodes the drafts. With `onDraft`, each draft's fate is told to it and a bad one is left out; without, a bad one throws. */
  #encode(held: Held, drafts: readonly EntryDraft[], effect: 'durable' | 'transient', onDraft?: (at: number, error?: EntryError) => void): Group {
    const { now, salt } = this.#settings
    const entries: EncodedEntry[] = []
    const kept: EntryDraft[] = []
    drafts.forEach((draft, at) => {
      try {
        const writer = { slot: held.slot, epoch: held.epoch, seq: held.seq + entries.length }
        entries.push(encodeEntry(draft, { time: now(), writer, effect, salt }))
        kept.push(draft)
        onDraft?.(at)
      } catch (error) {
        if (onDraft === undefined || !(error instanceof EntryError)) throw error
        onDraft(at, error)
      }
    })
    const bundle = encodeBundle(entries.map(({ bytes }) => bytes))
    if (onDraft === undefined) {
      if (entries.length === 0) throw new EntryError('a transaction on the log has no entry: nothing is committed without one')
      if (entries.length > MAX_GROUP_ENTRIES || bundle.length > MAX_GROUP_BYTES) {
        throw new EntryError(`a transaction has ${entries.length} entries of ${bundle.length} bytes: at most ${MAX_GROUP_ENTRIES} and ${MAX_GROUP_BYTES}`)
      }
    }
    return { entries, drafts: kept, firstSeq: held.seq, bundle, chain: nextChain(held.chain, bundle) }
  }

  /** Everything of a transaction's group but its COMMIT. */
  async #write(held: Held, group: Group): Promise<void> {
    const insertion = this.#insertion(held, group)
    const opened = group.drafts.flatMap(({ kind, id }, at) => (kind === 'intent' ? [{ id, seq: group.firstSeq + at }] : []))
    const closed = group.drafts.flatMap(({ kind, id }) => (kind === 'outcome' ? [id] : []))
    const statements: Promise<unknown>[] = [insertion]
    if (opened.length > 0) {
      statements.push(held.session.query(OPEN_INTENTS, [held.slot, held.epoch, opened.map(({ id }) => id), opened.map(({ seq }) => seq)]))
    }
    if (closed.length > 0) {
      statements.push(
        held.session.query(CLOSE_INTENTS, [closed]).then(({ rowCount }) => {
          if (rowCount === closed.length) return
          throw new Problem('conflict', 'The operation was closed as abandoned before its outcome could be recorded. Ask for it by its id.')
        }),
      )
    }
    await Promise.all(statements)
    const { text, values } = await insertion
    try {
      await held.session.query(text, values)
    } catch (error) {
      if (held.session.lost) throw error
      // The database does not take this number: the slot starts again with a new epoch.
      await held.session.end()
      throw unavailable('The audit log did not take the entry. Nothing was committed; try again.', error)
    }
  }

  /** The one statement that makes a group durable, with its MAC. */
  async #insertion(held: Held, { entries, drafts, firstSeq, bundle, chain }: Group): Promise<{ readonly text: string; readonly values: readonly unknown[] }> {
    const { slot, epoch } = held
    const personal = entries.flatMap((entry, at) => entry.personal.map((one) => ({ ...one, seq: firstSeq + at, id: drafts[at]?.id })))
    const [mac, blind] = await Promise.all([
      this.#settings.macGroup(groupMessage({ writer: slot, epoch, firstSeq, count: entries.length, chain })),
      personal.length === 0 ? [] : this.#settings.blindIndex(personal.map(({ name, value }) => ({ name, value }))),
    ])
    const values = [slot, epoch, firstSeq, entries.length, bundle, chain, mac]
    if (personal.length === 0) return { text: INSERT_GROUP, values }
    const column = <Key extends keyof (typeof personal)[number]>(key: Key) => personal.map((one) => one[key])
    return { text: INSERT_GROUP_WITH_PERSONAL, values: [...values, column('seq'), column('name'), column('id'), column('value'), column('salt'), blind] }
  }

  /** Runs what commits the group, and advances once it is known. Throws `log-unavailable` when it stays unknown. */
  async #commit(held: Held, group: Group, run: () => Promise<void>): Promise<void> {
    try {
      await run()
    } catch (error) {
      if (!held.session.lost) {
        await held.session.end()
        throw error
      }
      if (!(await this.#wasCommitted(held, group))) throw unavailable('The audit log was lost while it was written. Whether that was in time is being looked up; ask by the id.', error)
      return
    }
    held.seq += group.entries.length
    held.chain = group.chain
  }

  /** Looks a lost commit up, when the backend that ran it is gone for certain. False also when it could not be found out. */
  async #wasCommitted(lost: Held, group: Group): Promise<boolean> {
    await this.close()
    const deadline = performance.now() + this.#settings.settleMs
    for (let pauseMs = 10; ; pauseMs *= 2) {
      try {
        const held = await this.#open({ lost, deadline })
        if (held === undefined) return false
        this.#held = held
        const { rows } = await held.session.query<{ chain: Buffer }>('SELECT chain FROM audit_groups WHERE writer = $1 AND epoch = $2 AND first_seq = $3', [
          lost.slot,
          lost.epoch,
          group.firstSeq,
        ])
        return rows[0]?.chain.equals(group.chain) === true
      } catch {
        await this.close()
        if (performance.now() + pauseMs >= deadline) return false
        await sleep(pauseMs)
      }
    }
  }

  async #rollBack(held: Held): Promise<void> {
    try {
      if (!held.session.lost) await held.session.command('ROLLBACK')
    } catch {
      await held.session.end()
    }
  }

  /** The slot, taken anew when its connection is gone. Throws `database-unavailable`, or `log-unavailable` when every slot is taken. */
  async #hold(): Promise<Held> {
    if (this.#held !== undefined && !this.#held.session.lost) return this.#held
    await this.close()
    try {
      this.#held = await this.#open()
    } catch (error) {
      throw error instanceof Problem ? error : new Problem('database-unavailable', 'The database cannot be reached. Try again in a few seconds.', { cause: error })
    }
    if (this.#held === undefined) throw unavailable('Every writer slot of the audit log is taken. Stop a service, or lower its number of writers.')
    return this.#held
  }

  /** Takes a slot that is free, and a new epoch. With `lost`: only once nobody can commit under the lost epoch any more. Undefined when there was none in time. */
  async #open(after?: { readonly lost: Held; readonly deadline: number }): Promise<Held | undefined> {
    const session = new Session(await this.#settings.connect())
    try {
      const slot = after === undefined ? 'any' : await this.#fence(session, after.lost, after.deadline)
      const taken = slot === 'any' ? await this.#anySlot(session) : slot
      if (taken === undefined) {
        await session.end()
        return undefined
      }
      const { rows } = await session.query<{ epoch: number }>(
        'INSERT INTO audit_writers (writer, epoch) SELECT $1::int, coalesce(max(epoch), 0) + 1 FROM audit_writers WHERE writer = $1::int RETURNING epoch',
        [taken],
      )
      const epoch = Number(rows[0]?.epoch)
      return { session, slot: taken, epoch, seq: 0, chain: startChain(taken, epoch) }
    } catch (error) {
      await session.end()
      throw error
    }
  }

  /** Waits until the lost epoch is over: its lock is ours (the slot), or somebody has taken a newer epoch of it (any slot will do). Undefined when neither in time. */
  async #fence(session: Session, lost: Held, deadline: number): Promise<number | 'any' | undefined> {
    for (;;) {
      if (await tryLock(session, { class: WRITER_LOCK, key: lost.slot })) return lost.slot
      const newer = await session.query('SELECT FROM audit_writers WHERE writer = $1 AND epoch > $2', [lost.slot, lost.epoch])
      if (newer.rowCount !== 0) return 'any'
      if (performance.now() >= deadline) return undefined
      await sleep(20)
    }
  }

  async #anySlot(session: Session): Promise<number | undefined> {
    for (let slot = 0; slot <= MAX_SLOT; slot += 1) if (await tryLock(session, { class: WRITER_LOCK, key: slot })) return slot
    return undefined
  }
}

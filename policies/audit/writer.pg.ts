import { setTimeout as sleep } from 'node:timers/promises'
import { Problem } from '../../core/problem.ts'
import { closeTx, type Sql, Tx } from '../../core/tx.ts'
import { type EncodedEntry, EntryError, encodeEntry } from './entry.ts'
import { encodeBundle, groupMessage, MAX_GROUP_BYTES, MAX_GROUP_ENTRIES, nextChain, startChain } from './group.ts'
import { type Insertion, insertGroup, isNotOpen } from './group-insert.pg.ts'
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

type Work = (log: LogTx) => Promise<unknown>

/** A transaction that waits. `resolve` takes what its work gave. */
export interface QueuedWork {
  readonly work: Work
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

interface Queued {
  readonly draft: EntryDraft
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

const MAX_SLOT = 1023

/** A failure that is no single work's: all that share the transaction get its cause, and none is run again. */
class OfAll extends Error {
  constructor(cause: unknown) {
    super('the transaction failed', { cause })
  }
}
const ofAll = (error: unknown): never => {
  throw new OfAll(error)
}

const unavailable = (detail: string, cause?: unknown): Problem => new Problem('log-unavailable', detail, { cause })

/**
 * One connection slot of the log. It serves one transaction at a time; who owns it sees to that.
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

  /**
   * Runs the works one after another in one transaction, commits their rows and entries as one group, and answers each. Where that fails before the commit,
   * nothing of it stands, and each runs again in a transaction of its own: so one that fails fails alone. Never throws.
   */
  async transactAll(works: readonly QueuedWork[]): Promise<void> {
    try {
      const answers = await this.#transact(works.map(({ work }) => work))
      works.forEach(({ resolve }, at) => resolve(answers[at]))
    } catch (error) {
      if (error instanceof OfAll || works.length === 1) for (const { reject } of works) reject(error instanceof OfAll ? error.cause : error)
      else for (const one of works) await this.transactAll([one])
    }
  }

  async #transact(works: readonly Work[]): Promise<unknown[]> {
    const held = await this.#hold().catch(ofAll)
    const drafts: EntryDraft[] = []
    let begun: Promise<string> | undefined
    let group: Group
    let insertion: Insertion
    const results: unknown[] = []
    try {
      for (const work of works) results.push(await this.#work(held.session, drafts, () => (begun ??= held.session.command('BEGIN')), work))
      group = this.#encode(held, drafts, 'durable')
      insertion = await this.#insertion(held, group, 'durable').catch(ofAll)
      // Before COMMIT is sent: one that follows an insertion which pg itself refused would commit rows without their entries.
      if (begun !== undefined) await this.#insert(held, insertion)
    } catch (error) {
      if (begun !== undefined) await this.#rollBack(held)
      if (!held.session.lost || error instanceof Problem || error instanceof OfAll) throw error
      throw new OfAll(new Problem('database-unavailable', 'The database was lost before anything was committed. Try again in a few seconds.', { cause: error }))
    }
    await this.#commit(held, group, async () => {
      if (begun === undefined) return this.#insert(held, insertion)
      if ((await held.session.command('COMMIT')) !== 'COMMIT') throw new Error('a statement of the transaction had failed, so nothing was committed')
    })
    return results
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
      const insertion = await this.#insertion(held, group, 'transient')
      await this.#commit(held, group, () => this.#insert(held, insertion))
      for (const { resolve } of taken) resolve()
    } catch (error) {
      const cause = error instanceof OfAll ? error.cause : error
      const problem = cause instanceof Problem ? cause : unavailable('The audit log could not be written. Nothing was answered; try again.', cause)
      for (const { reject } of waiting) reject(problem)
    }
  }

  async close(): Promise<void> {
    await this.#held?.session.end()
    this.#held = undefined
  }

  async #work(session: Session, drafts: EntryDraft[], begin: () => Promise<unknown>, work: Work): Promise<unknown> {
    let live = true
    const assertLive = (): void => {
      if (!live) throw new Error('the transaction is over')
    }
    const sql: Sql = {
      query: async <Row extends object>(text: string, values?: readonly unknown[]) => {
        assertLive()
        const [, { rows }] = await Promise.all([begin(), session.query<Row>(text, values)])
        return rows
      },
    }
    const tx = new Tx(sql)
    try {
      const append = (draft: EntryDraft): void => {
        assertLive()
        drafts.push(draft)
      }
      const before = drafts.length
      const result = await work({ tx, append })
      if (drafts.length === before) throw new EntryError('a transaction on the log has no entry: nothing is committed without one')
      return result
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
      if (entries.length > MAX_GROUP_ENTRIES || bundle.length > MAX_GROUP_BYTES) {
        throw new EntryError(`a transaction has ${entries.length} entries of ${bundle.length} bytes: at most ${MAX_GROUP_ENTRIES} and ${MAX_GROUP_BYTES}`)
      }
    }
    return { entries, drafts: kept, firstSeq: held.seq, bundle, chain: nextChain(held.chain, bundle) }
  }

  /** The one statement that writes a group, with its MAC. */
  async #insertion({ slot, epoch }: Held, { entries, drafts, firstSeq, bundle, chain }: Group, effect: 'durable' | 'transient'): Promise<Insertion> {
    const head = { writer: slot, epoch, firstSeq, count: entries.length, chain }
    const personal = entries.flatMap((entry, at) => entry.personal.map((one) => ({ ...one, seq: firstSeq + at, operationId: drafts[at]?.id ?? '' })))
    const [mac, blind] = await Promise.all([
      this.#settings.macGroup(groupMessage(head)),
      personal.length === 0 ? [] : this.#settings.blindIndex(personal.map(({ name, value }) => ({ name, value }))),
    ])
    const intents = effect === 'durable' ? idsOf(drafts, 'intent') : new Map<string, number>()
    const outcomes = effect === 'durable' ? idsOf(drafts, 'outcome') : new Map<string, number>()
    return insertGroup(
      { ...head, bundle, mac },
      {
        personal: personal.map((one, at) => ({ ...one, blindIndex: blind[at] ?? new Uint8Array() })),
        opened: [...intents].filter(([id]) => !outcomes.has(id)).map(([operationId, at]) => ({ operationId, seq: firstSeq + at })),
        closed: [...outcomes.keys()].filter((id) => !intents.has(id)),
      },
    )
  }

  /** When the database does not take the group, the slot starts again with a new epoch, unless that says that an intent is not open. */
  async #insert({ session }: Held, { text, values }: Insertion): Promise<void> {
    try {
      await session.query(text, values)
    } catch (error) {
      if (session.lost) throw error
      if (isNotOpen(error))
        throw new Problem('conflict', 'The operation was closed as abandoned before its outcome could be recorded. Ask for it by its id.', { cause: error })
      await session.end()
      throw unavailable('The audit log did not take the entry. Nothing was committed; try again.', error)
    }
  }

  /** Runs what commits the group, and advances once it is known. When it stays unknown nothing is tried again: an {@link OfAll}. */
  async #commit(held: Held, group: Group, run: () => Promise<void>): Promise<void> {
    try {
      await run()
    } catch (error) {
      if (error instanceof Problem) throw error
      if (!held.session.lost) {
        await held.session.end()
        throw error
      }
      if (!(await this.#wasCommitted(held, group)))
        throw new OfAll(unavailable('The audit log was lost while it was written. Whether that was in time is being looked up; ask by the id.', error))
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
      throw error instanceof Problem
        ? error
        : new Problem('database-unavailable', 'The database cannot be reached. Try again in a few seconds.', { cause: error })
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

/** Operation ids of the drafts of a kind, with their places. One that begins and ends in one transaction is never open. */
const idsOf = (drafts: readonly EntryDraft[], kind: EntryDraft['kind']): Map<string, number> =>
  new Map(drafts.flatMap((draft, at) => (draft.kind === kind ? [[draft.id, at] as const] : [])))

import { breather } from '../../core/breather.ts'
import { utf8 } from '../../core/bytes.ts'
import { checkpointText, type LogKey, NoteError, openCheckpoint, type ReplacedKey, signedNote } from './checkpoint.ts'
import { groupMessage } from './group.ts'
import type { HeadAnchor } from './head-anchor.ts'
import { LogFault } from './log-fault.ts'
import { append, leafHash, rootOf } from './merkle.ts'
import { entriesOf, followChain, macFault, planRound } from './round.ts'
import type { EntryRow, Head, PendingEpoch, SequencedEpoch, SequencerStore } from './sequencer-store.ts'
import { type CheckGroups, checkTree, type SignedHead } from './take-over.ts'
import { TileWriter } from './tiles.ts'

export interface SequencerSettings {
  readonly store: SequencerStore
  /** Where else the last signed checkpoint is kept. All are compared before a leader builds on the database. */
  readonly anchors: readonly HeadAnchor[]
  readonly key: LogKey
  /** Keys that signed before it. Default none. */
  readonly replaced?: readonly ReplacedKey[]
  readonly checkGroups: CheckGroups
  readonly signCheckpoint: (text: Uint8Array) => Promise<Uint8Array>
  /** Asked by the first leader of a process, before it signs: whether others know of more. Throws a {@link LogFault} then. */
  readonly admit?: (signed: SignedHead | undefined) => Promise<void>
  /** Told once, when the log stops. The same is in {@link Sequencer.status}. */
  readonly onFault?: (fault: LogFault) => void
  /** Told of what went wrong and will be tried again: a lost database, a token away. */
  readonly onError?: (error: unknown) => void
  /** Default 1000. */
  readonly intervalMs?: number
  /** The most of one round. Default 10,000 entries and 16 MiB. */
  readonly roundEntries?: number
  readonly roundBytes?: number
}

export interface SequencerStatus {
  readonly leading: boolean
  /** Entries in the tree, and in the last signed checkpoint, as far as this process knows. */
  readonly size: number
  readonly signedSize: number
  readonly fault: LogFault | undefined
}

/**
 * Puts committed groups in order, builds the tree and signs it. One leader: a session lock, fenced by an epoch in the head's row.
 *
 * Order of durable effects of a round, and what a crash after each leaves:
 * 1. entries, tiles and head in one transaction, by compare-and-swap: a tree that is not signed; the next leader checks it and signs it;
 * 2. the signature over exactly that root, published in the database: auditors may see it; the anchors are behind, which is allowed;
 * 3. the anchors.
 * Before 2 and 3 the epoch is asked again: a leader that was frozen and deposed signs nothing, and puts nothing old into an anchor.
 */
export class Sequencer {
  readonly #settings: SequencerSettings
  #head: Head | undefined
  #signedSize = 0
  #admitted = false
  #fault: LogFault | undefined
  #timer: NodeJS.Timeout | undefined
  #running: Promise<unknown> = Promise.resolve()
  #stopped = true

  constructor(settings: SequencerSettings) {
    this.#settings = settings
  }

  get status(): SequencerStatus {
    return {
      leading: this.#head !== undefined && this.#settings.store.isLeading,
      size: this.#head?.edge.size ?? 0,
      signedSize: this.#signedSize,
      fault: this.#fault,
    }
  }

  /**
   * Takes the leadership if it is free, and checks the stored tree: throws a {@link LogFault} when the service must not start on this database.
   * From then on rounds run by themselves.
   */
  async start(): Promise<void> {
    await this.#exclusively(() => this.#lead())
    this.#stopped = false
    this.#schedule()
  }

  /** Sequences, signs and publishes all that is committed now, here or by the leader elsewhere. Throws the fault when the log has stopped. */
  async flush({ timeoutMs = 30_000 }: { readonly timeoutMs?: number } = {}): Promise<void> {
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const leads = await this.#exclusively(() => this.#catchUp())
      if (leads || !(await this.#settings.store.hasPending())) return
      if (performance.now() > deadline) throw new Error('the audit log was not sequenced in time: another process leads, or the database is busy')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  /** Finishes the round that runs, and gives the leadership up. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await this.#running
    for (const anchor of this.#settings.anchors) await anchor.flush?.()
    await this.#yield()
  }

  /** Stops the log for good: somebody else found that it must not go on. */
  halt(fault: LogFault): void {
    void this.#exclusively(() => Promise.reject(fault)).catch(() => undefined)
  }

  #schedule(): void {
    this.#timer = setTimeout(() => {
      void this.#exclusively(() => this.#catchUp())
        .catch((error: unknown) => (error instanceof LogFault ? undefined : this.#settings.onError?.(error)))
        .finally(() => {
          if (!this.#stopped && this.#fault === undefined) this.#schedule()
        })
    }, this.#settings.intervalMs ?? 1000)
    this.#timer.unref()
  }

  /** One after another: rounds, flushes and stops do not overlap. */
  async #exclusively<Result>(work: () => Promise<Result>): Promise<Result> {
    const mine = this.#running.then(async () => {
      if (this.#fault !== undefined) throw this.#fault
      try {
        return await work()
      } catch (error) {
        // Whatever happened, what this process thinks of the head may be wrong: it is read and checked again.
        await this.#yield()
        if (error instanceof LogFault) {
          this.#fault = error
          this.#settings.onFault?.(error)
        }
        throw error
      }
    })
    this.#running = mine.catch(() => undefined)
    return mine
  }

  async #yield(): Promise<void> {
    this.#head = undefined
    await this.#settings.store.yield()
  }

  /** The head to build on, or undefined when another process leads. */
  async #lead(): Promise<Head | undefined> {
    if (this.#head !== undefined && this.#settings.store.isLeading) return this.#head
    this.#head = undefined
    const { store, anchors, key, replaced = [], checkGroups, admit } = this.#settings
    if (!(await store.lead())) return undefined
    const { head, signed } = await checkTree({ store, anchors, key, replaced, checkGroups })
    if (!this.#admitted) await admit?.(signed)
    this.#admitted = true
    this.#head = head
    this.#signedSize = signed?.size ?? 0
    // A crash between commit and signature left a tree that is checked but not signed.
    if (head.edge.size > this.#signedSize) await this.#sign(head)
    return head
  }

  /** Sequences all that was committed before the call; what comes meanwhile is left for the next time. False when another process leads. */
  async #catchUp(): Promise<boolean> {
    try {
      return await this.#rounds()
    } catch (error) {
      // A session that was lost meanwhile is begun anew, once: what it committed is read again, and the rest is done.
      if (error instanceof LogFault || this.#settings.store.isLeading) throw error
      await this.#yield()
      return this.#rounds()
    }
  }

  async #rounds(): Promise<boolean> {
    for (;;) {
      const head = await this.#lead()
      if (head === undefined) return false
      const round = await this.#round(head)
      if (round === undefined) return false
      if (round.to !== head) {
        this.#head = round.to
        await this.#sign(round.to)
      }
      if (round.isAll) return true
    }
  }

  /** One bounded round: the head after it (the same when there was nothing), and whether it took all there was. Undefined when another leader has taken over. */
  async #round(head: Head): Promise<{ readonly to: Head; readonly isAll: boolean } | undefined> {
    const { store, checkGroups, roundEntries = 10_000, roundBytes = 16 * 1024 * 1024 } = this.#settings
    const epochs = await store.pending()
    const plan = planRound(epochs, { entries: roundEntries, bytes: roundBytes })
    const drained = epochs.filter(({ superseded, groups }) => superseded && groups.length === 0)
    const isAll = epochs.every(({ more }) => !more) && plan.length === epochs.reduce((sum, { groups }) => sum + groups.length, 0)
    if (plan.length === 0 && drained.length === 0) return { to: head, isAll }

    const groups = await store.groups(plan)
    if (groups.length !== plan.length) throw new LogFault('group-gap', 'a group was deleted from audit_groups between two reads')
    const valid = await checkGroups(groups.map((group) => ({ message: groupMessage(group), mac: group.mac })))
    const chains = new Map(epochs.map((one) => [keyOf(one), one.chain]))
    const nextSeqs = new Map<string, SequencedEpoch>()
    const breathe = breather()
    const rows: EntryRow[] = []
    const tiles = new TileWriter(await store.partialTiles())
    let { edge } = head
    for (const [at, group] of groups.entries()) {
      if (valid[at] !== true) throw macFault(group)
      const chain = followChain(group, chains.get(keyOf(group)))
      chains.set(keyOf(group), chain)
      nextSeqs.set(keyOf(group), { writer: group.writer, epoch: group.epoch, nextSeq: group.firstSeq + group.count, chain, drained: false })
      const entries = entriesOf(group, head.edge.size + rows.length)
      edge = append(
        edge,
        entries.map(({ bytes }) => leafHash(bytes)),
        tiles.visit,
      )
      for (const { row } of entries) rows.push(row)
      await breathe()
    }
    const to = plan.length === 0 ? head : { edge, root: rootOf(edge) }
    const sequenced = [...nextSeqs.values(), ...drained.map(asDrained)]
    const committed = await store.commit({ from: head, to, entries: rows, fullTiles: tiles.takeFull(), partialTiles: tiles.partial(), sequenced })
    if (!committed) {
      await this.#yield()
      return undefined
    }
    return { to, isAll }
  }

  async #sign(head: Head): Promise<void> {
    const { store, anchors, key, signCheckpoint } = this.#settings
    await store.assertLeading()
    const text = checkpointText({ origin: key.name, size: head.edge.size, root: head.root })
    const note = signedNote(text, key, await signCheckpoint(utf8(text)))
    try {
      openCheckpoint(note, key)
    } catch (error) {
      if (!(error instanceof NoteError)) throw error
      throw new LogFault('checkpoint-invalid', 'the token signs with another key than the log\u2019s', { cause: error })
    }
    await store.publish(head.edge.size, note)
    await store.assertLeading()
    for (const anchor of anchors) await anchor.write(note)
    this.#signedSize = head.edge.size
  }
}

const keyOf = ({ writer, epoch }: { readonly writer: number; readonly epoch: number }): string => `${writer}/${epoch}`

const asDrained = ({ writer, epoch, nextSeq, chain }: PendingEpoch): SequencedEpoch => ({
  writer,
  epoch,
  nextSeq,
  chain: chain ?? new Uint8Array(),
  drained: true,
})

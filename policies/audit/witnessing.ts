import { PollLoop } from '../../core/poll-loop.ts'
import { type Checkpoint, type LogKey, NoteError, openSuccession, type ReplacedKey } from './checkpoint.ts'
import { type Cosignature, openCosignatures, withSignatures } from './cosignature.ts'
import type { CosignatureStore } from './cosignature-store.ts'
import { LogFault } from './log-fault.ts'
import { consistencyProof } from './merkle.ts'
import { type ReadTiles, storedNodes } from './stored-nodes.ts'
import { behind, type SignedHead } from './take-over.ts'
import { submitCheckpoint, WitnessError } from './witness-client.ts'
import { judgeCheckpoint, type PolicyWitness, type WitnessPolicy } from './witness-policy.ts'

export interface WitnessingSettings {
  readonly policy: WitnessPolicy
  readonly store: CosignatureStore
  readonly tiles: ReadTiles
  readonly key: LogKey
  /** Keys that signed before it. Default none. */
  readonly replaced?: readonly ReplacedKey[]
  /** Whether this process leads the log: others send nothing. */
  readonly leads: () => boolean
  /** A checkpoint over the empty tree, signed: what a log that has signed nothing shows. */
  readonly signEmpty: () => Promise<string>
  /** Whether a start fails where a witness cannot be asked. Default false: it is asked later, and {@link onFault} told then. */
  readonly mustAnswer?: boolean
  /** A witness knows of more than the database, or of another history. */
  readonly onFault: (fault: LogFault) => void
  /** A witness became or ceased to be well. */
  readonly onChange?: (status: WitnessStatus) => void
  /** Told of each new checkpoint that satisfies the policy, with its cosignatures. */
  readonly onWitnessed?: (note: string) => Promise<void>
  /** Told of what will be tried again, and is no witness's doing. */
  readonly onError?: (error: unknown) => void
  /** How often a new checkpoint is looked for. Default 1000. */
  readonly intervalMs?: number
  /** How long an answer may take. Default 5000. */
  readonly timeoutMs?: number
  /** From when on a checkpoint that a witness has not cosigned makes it `behind`. Default 30,000. */
  readonly behindMs?: number
}

export interface WitnessStatus {
  /** Of the policy. */
  readonly name: string
  readonly url: string
  /** `waiting`: nothing was asked yet, or this process does not lead. `behind`: it has not cosigned for too long what there is. */
  readonly state: 'waiting' | 'ready' | 'behind' | 'other-history'
  readonly since: Date
  /** Entries under the checkpoint that it cosigned last, as far as is known here. */
  readonly size: number
  /** Signed entries that it has not cosigned. */
  readonly lag: number
  readonly lastSuccess: Date | undefined
  /** What it said, or why it could not be asked; undefined after a success. */
  readonly problem: string | undefined
}

interface Asked {
  readonly witness: PolicyWitness & { readonly url: string }
  readonly loop: PollLoop
  status: WitnessStatus
  /** What the witness is believed to have cosigned last; undefined: the store is asked. */
  size: number | undefined
  /** Since when it lacks something, by the monotonic clock. */
  lackingMs: number | undefined
  failures: number
}

const MAX_BACKOFF_MS = 60_000
/** Exchanges of one turn: the size is wrong at most once, unless somebody else asks meanwhile. */
const MAX_EXCHANGES = 4
/** How many of the newest witnessed checkpoints are tried under a policy that may have changed since. */
const MAX_TRIED = 16

/**
 * Sends each signed checkpoint to the witnesses of the policy, and keeps what they sign. It stands beside the log: nothing waits for it. One request to a witness
 * is in flight at most; what it was too slow for is left out, and the newest is sent.
 *
 * A witness of the policy is believed in one thing without a signature: that it knows of more than the database has, or of another history. It stops the log.
 */
export class Witnessing {
  readonly #settings: WitnessingSettings
  readonly #asked: readonly Asked[]
  readonly #stop = new AbortController()
  #announcing: Promise<void> = Promise.resolve()
  #announced = 0

  constructor(settings: WitnessingSettings) {
    this.#settings = settings
    this.#asked = settings.policy.witnesses.flatMap(({ name, key, url }) => {
      if (url === undefined) return []
      const status: WitnessStatus = { name, url, state: 'waiting', since: new Date(), size: 0, lag: 0, lastSuccess: undefined, problem: undefined }
      const one: Asked = { witness: { name, key, url }, loop: new PollLoop(() => this.#turn(one)), status, size: undefined, lackingMs: undefined, failures: 0 }
      return [one]
    })
  }

  get statuses(): readonly WitnessStatus[] {
    return this.#asked.map(({ status }) => status)
  }

  /**
   * Asks every witness whether the database is what it cosigned. Throws a {@link LogFault} where it is not; and an Error where one cannot be asked and must.
   * `signed`: the last signed checkpoint.
   */
  async admit(signed: SignedHead | undefined): Promise<void> {
    const newest = await this.#shown(signed)
    await Promise.all(
      this.#asked.map(async (one) => {
        try {
          await this.#ask(one, newest)
        } catch (error) {
          if (!(error instanceof WitnessError)) throw error
          if (this.#settings.mustAnswer === true)
            throw new Error(`the witness ${one.witness.name} cannot be asked: ${messageOf(error)}. The setting witnessesMustAnswer wants it at each start.`, {
              cause: error,
            })
          this.#failed(one, error, newest)
        }
      }),
    )
  }

  /** How much each witness says it has cosigned of the log; a reason of one that cannot be asked. Throws a {@link LogFault} on one of another history. */
  async askSizes(signed: SignedHead | undefined): Promise<readonly ({ readonly name: string } & ({ readonly size: number } | { readonly problem: string }))[]> {
    const { timeoutMs = 5000 } = this.#settings
    const { size, note } = await this.#shown(signed)
    return Promise.all(
      this.#asked.map(async ({ witness }) => {
        const { name, url } = witness
        try {
          const reply = await submitCheckpoint(url, { oldSize: size, proof: [], note }, { timeoutMs, signal: this.#stop.signal })
          if (reply.kind === 'other-history') throw await this.#otherHistory(witness, size, reply.reason)
          return { name, size: reply.kind === 'size' ? reply.size : size }
        } catch (error) {
          if (!(error instanceof WitnessError)) throw error
          return { name, problem: messageOf(error) }
        }
      }),
    )
  }

  start(): void {
    for (const { loop } of this.#asked) loop.start()
  }

  /** What is in flight is given up. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#asked.map(({ loop }) => loop.stop()))
    await this.#announcing
  }

  /** The newest checkpoint that satisfies the policy, with its cosignatures; undefined where there is none. */
  async newest(): Promise<string | undefined> {
    const { policy, store } = this.#settings
    if (policy.quorum === undefined) return store.lastCheckpoint()
    for (const { note, lines } of await store.witnessed(MAX_TRIED)) {
      const whole = withSignatures(note, lines)
      if (this.#satisfies(whole)) return whole
    }
    return undefined
  }

  /** Answers how long to wait for the next turn. */
  async #turn(one: Asked): Promise<number> {
    const { store, key, leads, intervalMs = 1000, onError, onFault } = this.#settings
    if (!leads()) {
      // Another leader asks it meanwhile: what is known of it here grows old.
      Object.assign(one, { size: undefined, lackingMs: undefined, failures: 0 })
      this.#tell(one, { state: 'waiting', lag: 0, problem: undefined })
      return intervalMs
    }
    let newest: SignedHead | undefined
    try {
      const note = await store.lastCheckpoint()
      if (note === undefined) return intervalMs
      newest = this.#open(note)
      if (newest.origin !== key.name) return intervalMs
      if (newest.size !== one.size) await this.#ask(one, newest)
      return intervalMs
    } catch (error) {
      if (error instanceof LogFault) {
        this.#tell(one, { state: 'other-history', problem: error.message })
        onFault(error)
        return MAX_BACKOFF_MS
      }
      if (!(error instanceof WitnessError)) onError?.(error)
      this.#failed(one, error, newest)
      return Math.min(MAX_BACKOFF_MS, intervalMs * 2 ** Math.min(one.failures, 10))
    }
  }

  /** Shows the witness this checkpoint, or a newer one, until it has cosigned it. */
  async #ask(one: Asked, first: SignedHead): Promise<void> {
    const { store, timeoutMs = 5000 } = this.#settings
    const { witness } = one
    let newest = first
    one.lackingMs ??= performance.now()
    let oldSize = one.size ?? (await store.lastSize(witness.key.vkey, this.#settings.key.name))
    for (let exchange = 0; exchange < MAX_EXCHANGES; exchange += 1) {
      if (oldSize > newest.size) {
        // It may know a checkpoint that was signed after this one was read.
        const note = await store.lastCheckpoint()
        if (note !== undefined) newest = this.#open(note)
        if (oldSize > newest.size) throw behind(`the witness ${witness.name}`, oldSize, newest.size)
      }
      const reply = await submitCheckpoint(
        witness.url,
        { oldSize, proof: await this.#proof(oldSize, newest.size), note: newest.note },
        { timeoutMs, signal: this.#stop.signal },
      )
      if (reply.kind === 'cosigned') return this.#keep(one, newest, reply.lines)
      if (reply.kind === 'other-history') throw await this.#otherHistory(witness, oldSize, reply.reason)
      oldSize = reply.size
    }
    throw new WitnessError('it tells another size each time')
  }

  /**
   * A witness that does not take the proof has cosigned another history, or is wrong itself: where its own cosignature over our checkpoint of that size is here, it is.
   */
  async #otherHistory(witness: PolicyWitness, size: number, reason: string): Promise<LogFault | WitnessError> {
    const { store } = this.#settings
    const line = await store.find(witness.key.vkey, size)
    const ours = await store.cosigned(size)
    if (line !== undefined && ours !== undefined && opens(ours.note, line, witness))
      return new WitnessError(`it contradicts its own cosignature over ${size} entries (${reason})`)
    return new LogFault(
      'history-changed',
      `the witness ${witness.name} cosigned other entries than the first ${size} of this database (${reason}). ` +
        'The log was begun a second time from an older copy of the database, or somebody else signs with its key, or the database was changed.',
    )
  }

  async #proof(from: number, to: number): Promise<Uint8Array[]> {
    if (from === 0 || from === to) return []
    const nodeAt = await storedNodes(this.#settings.tiles, (node) => consistencyProof(from, to, node))
    return consistencyProof(from, to, nodeAt)
  }

  async #keep(one: Asked, { note, size }: SignedHead, lines: readonly string[]): Promise<void> {
    const { store, policy } = this.#settings
    const { witness } = one
    const cosignature = lines.map((line) => opens(note, line, witness)).find((found) => found !== undefined)
    if (cosignature === undefined) throw new WitnessError('its answer holds no cosignature by its key that verifies')
    // Over nothing there is no checkpoint to keep it with.
    if (size > 0) await store.record({ vkey: witness.key.vkey, size, line: cosignature.line })
    Object.assign(one, { size, lackingMs: undefined, failures: 0 })
    this.#tell(one, { state: 'ready', size, lag: 0, lastSuccess: new Date(), problem: undefined })
    const cosigned = size === 0 ? undefined : await store.cosigned(size)
    if (cosigned === undefined || policy.quorum === undefined) return
    const whole = withSignatures(cosigned.note, cosigned.lines)
    if (!this.#satisfies(whole)) return
    await store.markWitnessed(size)
    this.#announce(whole, size)
  }

  /** One after the other, and nothing older after something newer. */
  #announce(note: string, size: number): void {
    const { onWitnessed, onError } = this.#settings
    this.#announcing = this.#announcing
      .then(async () => {
        if (size <= this.#announced) return
        await onWitnessed?.(note)
        this.#announced = size
      })
      .catch((error: unknown) => onError?.(error))
  }

  #failed(one: Asked, error: unknown, newest: Checkpoint | undefined): void {
    const { behindMs = 30_000 } = this.#settings
    one.failures += 1
    const isBehind = one.lackingMs !== undefined && performance.now() - one.lackingMs >= behindMs
    const lag = newest === undefined ? one.status.lag : Math.max(0, newest.size - one.status.size)
    this.#tell(one, { ...(isBehind ? { state: 'behind' } : {}), lag, problem: messageOf(error) })
  }

  #tell(one: Asked, change: Partial<WitnessStatus>): void {
    const before = one.status
    const since = change.state === undefined || change.state === before.state ? before.since : new Date()
    one.status = { ...before, ...change, since }
    if (since !== before.since) this.#settings.onChange?.(one.status)
  }

  /** What a witness is shown at first: a checkpoint of the origin in force, of which it knows nothing where that has signed none. */
  async #shown(signed: SignedHead | undefined): Promise<SignedHead> {
    return signed?.origin === this.#settings.key.name ? signed : this.#open(await this.#settings.signEmpty())
  }

  #open(note: string): SignedHead {
    const { key, replaced = [] } = this.#settings
    return { ...openSuccession(note, key, replaced), note }
  }

  #satisfies(note: string): boolean {
    const { policy, key, replaced = [] } = this.#settings
    try {
      return judgeCheckpoint(note, policy, [key, ...replaced.map((old) => old.key)]).satisfied
    } catch (error) {
      if (error instanceof NoteError) return false
      throw error
    }
  }
}

function opens(note: string, line: string, { key }: PolicyWitness): Cosignature | undefined {
  try {
    return openCosignatures(withSignatures(note, [line]), [key])[0]
  } catch (error) {
    if (error instanceof NoteError) return undefined
    throw error
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

import { concat } from '../../../core/bytes.ts'
import { PollLoop } from '../../../core/poll-loop.ts'
import { readWithoutGaps } from '../export/stream.ts'
import type { LogReader } from '../reader.ts'
import type { PositionStore } from './position-store.ts'
import type { Receiver } from './receiver.ts'
import { type ConnectionTimes, ForwardingError, type Resumable, SyslogConnection } from './syslog-connection.ts'
import { syslogFrame } from './syslog-message.ts'

export interface ForwarderParts {
  readonly receiver: Receiver
  readonly reader: Pick<LogReader, 'search'>
  readonly positions: PositionStore
  /** Whether this process leads the log: one forwards. */
  readonly leads: () => boolean
  /** Entries under the last signed checkpoint: nothing else is forwarded. */
  readonly signedSize: () => number
  readonly origin: string
  readonly hostname: string
  /** Told when forwarding begins to fail, and when it works again; it must not throw. */
  readonly onChange?: (status: ForwarderStatus) => void
  readonly times?: ConnectionTimes & {
    /** Between two looks when everything is forwarded. Default 1000. */
    readonly pollMs?: number
    /** After a failure, doubled with each up to {@link mostMs}. Default 1000 and 60,000. */
    readonly retryMs?: number
    readonly mostMs?: number
  }
}

export interface ForwarderStatus {
  readonly receiver: string
  /** `standby`: another process leads. */
  readonly state: 'standby' | 'working' | 'failing'
  /** Since when it is in that state. */
  readonly since: Date
  /** The receiver is known to have read all entries before this one. Undefined: not looked up yet. */
  readonly position: number | undefined
  /** Signed entries that it is not known to have read. */
  readonly lag: number
  /** All that was signed by then has been read; of a process that has just begun to lead: when the position was moved last. */
  readonly upTo: Date
  readonly lastError: string | undefined
}

/** Entries read at once, and of one connection: what is sent again after a failure. */
const PAGE = 250
const BATCH_ENTRIES = 2000
const BATCH_BYTES = 4 * 1024 * 1024
/** How long an orderly end may take when the service stops. */
const STOP_MS = 2000

/**
 * Forwards the log to one receiver, in order and from its position on: at least once, each entry with its index. The position moves on when the receiver has ended a
 * connection in order, and is the only thing that is kept: who takes over, and who starts again, goes on there. It reads what is signed and never what waits to be
 * committed, so that a dead receiver only lags.
 *
 * Order of durable effects, and what a crash after each leaves: 1. the receiver has the batch: it is sent again, 2. the position: nothing.
 */
export class Forwarder {
  readonly #parts: ForwarderParts
  readonly #loop: PollLoop
  #status: Omit<ForwarderStatus, 'lag'>
  #failures = 0
  #resumable: Resumable | undefined
  readonly #cut = new AbortController()

  constructor(parts: ForwarderParts) {
    this.#parts = parts
    const now = new Date()
    this.#status = { receiver: parts.receiver.name, state: 'standby', since: now, position: undefined, upTo: now, lastError: undefined }
    this.#loop = new PollLoop(() => this.#turn())
  }

  get status(): ForwarderStatus {
    const { position } = this.#status
    return { ...this.#status, lag: position === undefined ? 0 : Math.max(0, this.#parts.signedSize() - position) }
  }

  start(): void {
    this.#loop.start()
  }

  /** Ends after what is under way, or cuts it: it is sent again. */
  async stop(): Promise<void> {
    const cutting = setTimeout(() => this.#cut.abort(), STOP_MS)
    await this.#loop.stop()
    clearTimeout(cutting)
  }

  async #turn(): Promise<number> {
    const { leads, times: { pollMs = 1000, retryMs = 1000, mostMs = 60_000 } = {} } = this.#parts
    if (!leads()) {
      // What another process forwards meanwhile, this one does not know.
      if (this.#status.state !== 'standby') this.#become('standby', { position: undefined, lastError: undefined })
      return pollMs
    }
    if (this.#status.state === 'standby') this.#become('working', {})
    try {
      const isAll = await this.#forward()
      this.#failures = 0
      if (this.#status.state === 'failing') this.#become('working', { lastError: undefined })
      return isAll ? pollMs : 0
    } catch (error) {
      this.#resumable = undefined
      this.#failures += 1
      const lastError = error instanceof Error ? error.message : String(error)
      if (this.#status.state === 'failing') this.#status = { ...this.#status, lastError }
      else this.#become('failing', { lastError })
      return Math.min(mostMs, retryMs * 2 ** Math.min(this.#failures - 1, 16))
    }
  }

  /** One batch. Answers whether everything that was signed at its begin is forwarded. */
  async #forward(): Promise<boolean> {
    const { receiver, positions, signedSize } = this.#parts
    const [began, size] = [new Date(), signedSize()]
    const { position, movedAt } = await positions.find(receiver.name)
    this.#status = { ...this.#status, position, ...(this.#status.position === undefined ? { upTo: movedAt } : {}) }
    if (position > size) {
      // A process that has just begun to lead does not know yet what it has signed.
      if (size === 0) return true
      throw new ForwardingError(`it is known to have ${position} entries, and the log has ${size}: the database was set back`)
    }
    if (position < size) {
      const to = await this.#deliver(position, Math.min(size, position + BATCH_ENTRIES))
      if (!(await positions.advance(receiver.name, position, to))) return false
      this.#status = { ...this.#status, position: to }
      if (to < size) return false
    }
    this.#status = { ...this.#status, upTo: began }
    return true
  }

  /** Answers the index before which the receiver has read everything. */
  async #deliver(from: number, to: number): Promise<number> {
    const { receiver, reader, origin, hostname, times } = this.#parts
    let page = await readWithoutGaps(reader, from, Math.min(PAGE, to - from))
    const connection = await SyslogConnection.open(receiver, times, { known: this.#resumable, signal: this.#cut.signal })
    try {
      let [at, bytes] = [from, 0]
      for (;;) {
        const frames = concat(...page.map((found) => syslogFrame(found, { origin, hostname })))
        bytes += frames.length
        await connection.send(frames)
        at += page.length
        if (at >= to || bytes >= BATCH_BYTES || this.#loop.isStopping) break
        page = await readWithoutGaps(reader, at, Math.min(PAGE, to - at))
      }
      await connection.end()
      this.#resumable = connection.resumable ?? this.#resumable
      return at
    } finally {
      connection.destroy()
    }
  }

  #become(state: ForwarderStatus['state'], more: Partial<ForwarderStatus>): void {
    this.#status = { ...this.#status, state, since: new Date(), ...more }
    this.#parts.onChange?.(this.status)
  }
}

import type { Duplex } from 'node:stream'
import type { Client, QueryConfig, QueryResult } from 'pg'

/** A dedicated connection, in the service's role. main.ts hands in how to get one. */
export type Connect = () => Promise<Client>

/** Classes of advisory locks (the first of two keys). The second is the writer's slot; of the sequencer 0. */
export const WRITER_LOCK = 0x6773_6c77
export const SEQUENCER_LOCK = 0x6773_6c73

/** SQLSTATE codes that end a connection. */
const LOST_CODES = new Set(['57P01', '57P02', '57P03', '57P05', '25P03'])
/** Longer than any statement's own limit: only a network that swallows everything meets it. */
const ANSWER_TIMEOUT_MS = 70_000

/**
 * Whether an error that pg gave means that the connection is gone, so that a COMMIT which met it may or may not have happened.
 * An error without SQLSTATE is taken for one: only the server can say that a statement failed. (pg itself refuses a value by a TypeError or RangeError, before sending.)
 */
function isConnectionLost(error: unknown): boolean {
  if (error instanceof TypeError || error instanceof RangeError) return false
  const { code, severity } = error as { readonly code?: unknown; readonly severity?: unknown }
  if (typeof code !== 'string' || !/^[0-9A-Z]{5}$/.test(code)) return true
  return severity === 'FATAL' || severity === 'PANIC' || LOST_CODES.has(code) || code.startsWith('08')
}

/** How long a connection may take to end in order. */
const END_TIMEOUT_MS = 1000

/** One connection with its prepared statements. Once lost it stays lost. */
export class Session {
  readonly #client: Client
  readonly #answerTimeoutMs: number
  readonly #names = new Map<string, string>()
  #lost = false

  /** `answerTimeoutMs`: how long a statement may be without an answer. Default 70,000. */
  constructor(client: Client, { answerTimeoutMs = ANSWER_TIMEOUT_MS }: { readonly answerTimeoutMs?: number } = {}) {
    this.#client = client
    this.#answerTimeoutMs = answerTimeoutMs
    client.on('error', () => this.#lose())
    client.on('end', () => this.#lose())
  }

  get lost(): boolean {
    return this.#lost
  }

  /** Runs a statement, prepared by its text. Statements of one session run one after another in the order of the calls, and each is sent without waiting for the one before. */
  async query<Row extends object = Record<string, unknown>>(text: string, values: readonly unknown[] = []): Promise<QueryResult<Row>> {
    let name = this.#names.get(text)
    if (name === undefined && this.#names.size < 1000) this.#names.set(text, (name = `s${this.#names.size}`))
    this.#gather()
    try {
      return await this.#client.query<Row>(this.#timed({ ...(name === undefined ? {} : { name }), text, values: [...values] }))
    } catch (error) {
      if (isConnectionLost(error)) this.#lose()
      throw error
    }
  }

  /** BEGIN, COMMIT, ROLLBACK: without parameters and not prepared. Gives the command that the server says it ran. */
  async command(text: 'BEGIN' | 'COMMIT' | 'ROLLBACK'): Promise<string> {
    this.#gather()
    try {
      return (await this.#client.query(this.#timed({ text }))).command
    } catch (error) {
      if (isConnectionLost(error)) this.#lose()
      throw error
    }
  }

  /** Ends the connection, and with it every lock and what is not committed. Never throws. */
  async end(): Promise<void> {
    this.#lose()
    // To a server that is not heard of any more even the farewell would wait for minutes.
    const timer = setTimeout(() => this.#stream.destroy(), END_TIMEOUT_MS)
    await this.#client.end().catch(() => undefined)
    clearTimeout(timer)
  }

  /** pg's types do not know of it. */
  get #stream(): Duplex {
    return (this.#client as unknown as { readonly connection: { readonly stream: Duplex } }).connection.stream
  }

  /** What is sent in one turn goes out by one write, which takes longer than most statements of a writer. */
  #gather(): void {
    const stream = this.#stream
    if (stream.writableCorked > 0) return
    stream.cork()
    process.nextTick(() => stream.uncork())
  }

  #lose(): void {
    this.#lost = true
  }

  /** pg takes a limit with each statement; its types do not know. */
  #timed(config: QueryConfig): QueryConfig {
    return Object.assign(config, { query_timeout: this.#answerTimeoutMs })
  }
}

/** Takes a session advisory lock if it is free. It is held until the session ends: that is the fence. */
export async function tryLock(session: Session, lock: { readonly class: number; readonly key: number }): Promise<boolean> {
  const { rows } = await session.query<{ locked: boolean }>('SELECT pg_try_advisory_lock($1::int, $2::int) AS locked', [lock.class, lock.key])
  return rows[0]?.locked === true
}

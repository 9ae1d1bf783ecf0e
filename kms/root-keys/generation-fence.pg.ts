import type { Client } from 'pg'
import type { Sql } from '../../core/tx.ts'

/** Gives a connection of its own, in the service's role. */
export type Connect = () => Promise<Client>

/** Class of the advisory locks (the first of two keys). The second is the number of what is recorded of generations. */
const LOCK = 0x6773_726b

const HOLD = 'SELECT pg_advisory_lock_shared($1::int, $2::int)'
const RELEASE = 'SELECT pg_advisory_unlock_shared($1::int, $2::int)'
const OTHERS = `SELECT count(DISTINCT pid)::int AS count FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND classid = $1::bigint::oid AND objid::bigint < $2`

/**
 * Tells everybody with which number of recorded generations this process works: by a shared advisory lock on a connection of its own. It ends with the process, whatever
 * ends that; one that is stopped and goes on later still has it. So who sees no lock on a lower number knows that nobody makes anything with what came before.
 */
export class GenerationFence {
  readonly #connect: Connect
  readonly #sql: Sql
  #client: Client | undefined
  #held: number | undefined
  #lostAt: number | undefined
  #isClosed = false

  constructor({ connect, sql }: { readonly connect: Connect; readonly sql: Sql }) {
    this.#connect = connect
    this.#sql = sql
  }

  /** The number that is held; undefined when the connection was lost, and before the first. */
  get held(): number | undefined {
    return this.#held
  }

  /** For how long nothing has been held; undefined while something is, or never was. */
  get lostMs(): number | undefined {
    return this.#lostAt === undefined ? undefined : performance.now() - this.#lostAt
  }

  /** Holds this number, and only then no other any more. */
  async hold(number: number): Promise<void> {
    if (this.#isClosed || this.#held === number) return
    const client = this.#client ?? (await this.#open())
    await client.query(HOLD, [LOCK, number])
    const before = this.#held
    this.#held = number
    this.#lostAt = undefined
    if (before !== undefined) await client.query(RELEASE, [LOCK, before])
  }

  /** How many processes, this one among them, still work with a lower number. */
  async countBelow(number: number): Promise<number> {
    return (await this.#sql.query<{ count: number }>(OTHERS, [LOCK, number]))[0]?.count ?? 0
  }

  /** For good. */
  async close(): Promise<void> {
    this.#isClosed = true
    const client = this.#client
    this.#client = undefined
    this.#held = undefined
    await client?.end().catch(() => undefined)
  }

  async #open(): Promise<Client> {
    const client = await this.#connect()
    if (this.#isClosed) {
      await client.end()
      throw new Error('the fence is closed')
    }
    const lose = (): void => {
      if (this.#client !== client) return
      this.#client = undefined
      this.#held = undefined
      this.#lostAt ??= performance.now()
    }
    client.on('error', lose)
    client.on('end', lose)
    this.#client = client
    return client
  }
}

import { createHash } from 'node:crypto'
import pg from 'pg'
import { Problem } from '../core/problem.ts'
import type { Sql } from '../core/tx.ts'
import { ROLES } from './postgres/cluster.ts'

/** Every connection of the service runs with this role's rights, whoever logged in: it owns no table. */
export const SERVICE_ROLE = ROLES.service

export interface DatabaseSettings {
  /** Connection string of the service's login. */
  readonly serviceUrl: string
  /** The most connections of {@link Database.sql}. Default 10. Dedicated ones come on top. */
  readonly poolSize?: number
  /** How long to wait for a connection. Default 5000. */
  readonly connectTimeoutMs?: number
  /** How long a pooled statement may be without an answer: of a server or network that swallows everything, nothing else is heard. Default 10,000. */
  readonly answerTimeoutMs?: number
}

/**
 * The service's connections. Values: int8 and numeric come as strings, bytea as Buffer, timestamptz as Date, json parsed. A JavaScript array is an SQL array.
 * Errors that mean that the database is away are the problem `database-unavailable`; the others are pg's own (`code` is the SQLSTATE).
 */
export interface Database {
  /** Pooled; each statement is its own transaction. */
  readonly sql: Sql
  /** A connection of its own with the service's role set, for who needs one session: a writer of the log, LISTEN, advisory locks. The caller ends it. */
  connect(): Promise<pg.Client>
  close(): Promise<void>
}

/** Opens connections when they are needed: succeeds while the database is away. */
export function openDatabase({ serviceUrl, poolSize = 10, connectTimeoutMs = 5000, answerTimeoutMs = 10_000 }: DatabaseSettings): Database {
  const settings = {
    connectionString: serviceUrl,
    connectionTimeoutMillis: connectTimeoutMs,
    application_name: 'gridseal',
    keepAlive: true,
    statement_timeout: 60_000,
    idle_in_transaction_session_timeout: 60_000,
  }
  // Statements are sent without waiting for the one before. pg's types do not know of it.
  const pipelined: pg.ClientConfig & { readonly pipeline: true } = { ...settings, pipeline: true }
  // oxlint-disable-next-line typescript/no-misused-promises -- pg-pool waits for it; its declaration does not say so
  const pool = new pg.Pool({ ...settings, query_timeout: answerTimeoutMs, max: poolSize, onConnect: setRole })
  pool.on('error', ignore)
  pool.on('connect', (client) => client.on('error', ignore))
  return {
    sql: sqlOn(pool),
    connect: async () => {
      const client = new pg.Client(pipelined)
      client.on('error', ignore)
      try {
        await client.connect()
        await setRole(client)
        return client
      } catch (error) {
        await client.end().catch(ignore)
        throw databaseProblem(error)
      }
    },
    close: () => pool.end(),
  }
}

/** Statements on a connection or pool, prepared once for each connection under a name made of their text. */
export function sqlOn(target: pg.Pool | pg.ClientBase): Sql {
  const names = new Map<string, string>()
  return {
    query: async <Result extends object>(text: string, values: readonly unknown[] = []): Promise<Result[]> => {
      let name = names.get(text)
      if (name === undefined) names.set(text, (name = createHash('sha256').update(text).digest('base64url').slice(0, 22)))
      try {
        return (await target.query<Result>({ name, text, values: [...values] })).rows
      } catch (error) {
        throw databaseProblem(error)
      }
    },
  }
}

/** Losing a connection fails the statement that waits on it, and nothing else: without a listener the event would end the process. */
const ignore = (): void => undefined

async function setRole(client: pg.ClientBase): Promise<void> {
  try {
    await client.query(`SET ROLE ${SERVICE_ROLE}`)
  } catch (error) {
    if (isDatabaseAway(error)) throw error
    throw new Error(
      `The service's database login cannot take the role ${SERVICE_ROLE}. As an administrator of the database: GRANT ${SERVICE_ROLE} TO <the login in DATABASE_URL>;`,
      { cause: error },
    )
  }
}

/** SQLSTATE classes and codes (and node's) that say that the server is gone, going, coming or full (classes 08 and 53: 53100 is a full disk), and not that the statement was wrong. */
const AWAY_CODES = new Set([
  ...['57P01', '57P02', '57P03', '57P05', '58030', '25006', 'EAI_AGAIN', 'ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOENT', 'ENOTFOUND'],
  ...['EPIPE', 'ETIMEDOUT'],
])
/** pg gives these no code. */
const AWAY_MESSAGES =
  /^(Connection terminated|Query read timeout|timeout exceeded when trying to connect|timeout expired|Client has encountered a connection error|Client was closed|Cannot use a pool after)/

export function isDatabaseAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const code = (error as NodeJS.ErrnoException).code
  return code === undefined ? AWAY_MESSAGES.test(error.message) : AWAY_CODES.has(code) || code.startsWith('08') || code.startsWith('53')
}

/** An error of pg, for who is above: `database-unavailable` when that is what it means, else itself. */
export const databaseProblem = (error: unknown): unknown =>
  isDatabaseAway(error) ? new Problem('database-unavailable', 'The database cannot be reached. Try again in a few seconds.', { cause: error }) : error

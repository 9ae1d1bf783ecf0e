import knex, { type Knex } from 'knex'
import pg from 'pg'
import { databaseProblem, isDatabaseAway, SERVICE_ROLE, sqlOn } from './database.ts'
import { makePartitions } from './log-partitions.ts'
import { MIGRATIONS, type Migration } from './migrations/index.ts'

export interface MigrationSettings {
  /** Connection string of the login that owns the tables. */
  readonly ownerUrl: string
  /** Connection string of the service's login, when it is another one: it is made a member of the service's role where that is missing. */
  readonly serviceUrl?: string
  readonly migrations?: readonly Migration[]
}

/**
 * Brings the database up to date, each migration in a transaction of its own. Processes that start together wait for each other.
 * Throws the problem `database-unavailable`, or an error that says what an administrator has to do where the owner's rights do not suffice.
 */
export async function migrateDatabase({ ownerUrl, serviceUrl = ownerUrl, migrations = MIGRATIONS }: MigrationSettings): Promise<void> {
  const lock = new pg.Client({ connectionString: ownerUrl, application_name: 'gridseal migration' })
  lock.on('error', () => undefined)
  try {
    await lock.connect()
    await lock.query(`SELECT pg_advisory_lock(hashtext('gridseal.migrate'))`)
    await assertUtf8(lock)
    await ensureServiceRole(lock)
    await ensureMember(lock, new pg.Client({ connectionString: serviceUrl }).user)
    await assertOwnsTables(lock)
    await runMigrations(ownerUrl, migrations)
    if (migrations === MIGRATIONS) await makePartitions(sqlOn(lock))
  } catch (error) {
    throw databaseProblem(error)
  } finally {
    await lock.end()
  }
}

async function runMigrations(ownerUrl: string, migrations: readonly Migration[]): Promise<void> {
  const db = knex({ client: 'pg', connection: ownerUrl, pool: { min: 0, max: 2 } })
  try {
    // Ours is the lock that counts, and it ends with its connection. knex's is a row, which a kill -9 leaves behind.
    await db.migrate.forceFreeMigrationsLock({ migrationSource: sourceOf(migrations) })
    await db.migrate.latest({ migrationSource: sourceOf(migrations) })
    await db.raw(`GRANT USAGE ON SCHEMA public TO ${SERVICE_ROLE}`)
  } catch (error) {
    if (/migration directory is corrupt/.test(String(error))) {
      throw new Error('The database was made by a newer version of the service. Start that version, or restore a backup.', { cause: error })
    }
    throw error
  } finally {
    await db.destroy()
  }
}

const sourceOf = (migrations: readonly Migration[]): Knex.MigrationSource<Migration> => ({
  getMigrations: () => Promise.resolve([...migrations]),
  getMigrationName: ({ name }) => name,
  getMigration: ({ up }) => Promise.resolve({ up, down: () => Promise.reject(new Error('migrations go forward only')) }),
})

async function assertUtf8(client: pg.Client): Promise<void> {
  const [row] = (await client.query<{ encoding: string }>(`SELECT current_setting('server_encoding') AS encoding`)).rows
  if (row?.encoding !== 'UTF8')
    throw new Error(`The database must have the encoding UTF8; this one has ${row?.encoding}. CREATE DATABASE gridseal ENCODING 'UTF8' TEMPLATE template0;`)
}

/** Roles belong to the whole server, so that two databases of it can come here at once: one of them finds the role made. */
async function ensureServiceRole(client: pg.Client): Promise<void> {
  const found = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [SERVICE_ROLE])
  if (found.rowCount === 1) return
  await client.query(`CREATE ROLE ${SERVICE_ROLE} NOLOGIN`).catch((error: pg.DatabaseError) => {
    if (error.code === '42710' || error.code === '23505') return
    throw withRemedy(error, `The database has no role ${SERVICE_ROLE}, and the owner's login cannot make it.`, `CREATE ROLE ${SERVICE_ROLE} NOLOGIN;`)
  })
}

async function ensureMember(client: pg.Client, login: string | undefined): Promise<void> {
  if (login === undefined || login === SERVICE_ROLE) return
  const [row] = (
    await client.query<{ member: boolean | null }>(`SELECT pg_has_role(oid, $2, 'MEMBER') AS member FROM pg_roles WHERE rolname = $1`, [login, SERVICE_ROLE])
  ).rows
  const remedy = `GRANT ${SERVICE_ROLE} TO ${client.escapeIdentifier(login)};`
  if (row?.member === true && (await canSet(client, login))) return
  await client.query(remedy).catch((error: unknown) => {
    throw withRemedy(error, `The login ${login} is not a member of the role ${SERVICE_ROLE}, and the owner's login cannot make it one.`, remedy)
  })
}

/** From PostgreSQL 16 on, who makes a role is a member of it without the right to take it. */
async function canSet(client: pg.Client, login: string): Promise<boolean> {
  const [row] = (await client.query<{ version: number }>(`SELECT current_setting('server_version_num')::int AS version`)).rows
  if ((row?.version ?? 0) < 160_000) return true
  const [set] = (await client.query<{ may: boolean }>(`SELECT pg_has_role($1::name, $2::name, 'SET') AS may`, [login, SERVICE_ROLE])).rows
  return set?.may === true
}

async function assertOwnsTables(client: pg.Client): Promise<void> {
  const [foreign] = (
    await client.query<{ table: string; owner: string }>(
      `SELECT c.relname AS table, pg_get_userbyid(c.relowner) AS owner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT pg_has_role(c.relowner, 'MEMBER') LIMIT 1`,
    )
  ).rows
  if (foreign !== undefined) {
    throw new Error(`The table ${foreign.table} belongs to ${foreign.owner}. Set DATABASE_OWNER_URL to a connection string of ${foreign.owner}.`)
  }
}

const withRemedy = (error: unknown, fault: string, remedy: string): unknown =>
  isDatabaseAway(error) ? error : new Error(`${fault} As an administrator of the database: ${remedy}`, { cause: error })

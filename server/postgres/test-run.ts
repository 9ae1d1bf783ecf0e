import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { closeTx, type Sql, Tx } from '../../core/tx.ts'
import { type Database, openDatabase, sqlOn } from '../database.ts'
import { migrateDatabase } from '../migrate.ts'

/** A migrated database for one test file or test. */
export interface TestDatabase {
  /** The service's role, as in production. */
  readonly sql: Sql
  /** The owner of the tables: for what the service may not do, such as tampering. */
  readonly ownerSql: Sql
  readonly serviceUrl: string
  readonly ownerUrl: string
  /** Dedicated connections and the pool, in the service's role. */
  readonly database: Database
  /** Commits when `work` has returned, rolls back when it throws. The service's role. */
  transact<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result>
  /** The name of the database. */
  readonly name: string
  /** Makes this database anew, as a copy of another one: whatever is connected is cut, and connects again. */
  restore(from: string): Promise<void>
  /** Cuts whatever is connected, and drops the database. */
  close(): Promise<void>
}

/** Where databases are made: a superuser's connection string, and what the names of this run's databases and logins begin with. */
export interface TestRun {
  readonly server: string
  readonly run: string
}

/**
 * Makes a database by copying a migrated one: about 20 ms. `migrated: false` gives an empty one; `like` a copy of that one as it is now, whose connections are cut.
 */
export async function databaseOf(
  place: TestRun,
  { migrated = true, like }: { readonly migrated?: boolean; readonly like?: TestDatabase } = {},
): Promise<TestDatabase> {
  const { server, run } = place
  const name = `${run}_${randomBytes(6).toString('hex')}`
  const { owner, service } = await asAdmin(server, async (admin) => {
    const logins = await ensureLogins(admin, run)
    if (migrated) await ensureTemplate(admin, place, logins)
    if (like === undefined) await makeDatabase(admin, { name, owner: logins.owner.user, from: migrated ? templateName(run) : 'template0' })
    else await alone(admin, like.name, () => makeDatabase(admin, { name, owner: logins.owner.user, from: like.name }))
    return logins
  })
  const [ownerUrl, serviceUrl] = [withLogin(server, owner, name), withLogin(server, service, name)]
  const pool = new pg.Pool({ connectionString: ownerUrl, max: 2 })
  pool.on('error', () => undefined)
  const database = openDatabase({ serviceUrl, poolSize: 4 })
  return {
    sql: database.sql,
    ownerSql: sqlOn(pool),
    serviceUrl,
    ownerUrl,
    database,
    transact: (work) => transact(database, work),
    name,
    restore: (from) =>
      asAdmin(server, async (admin) => {
        await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
        await alone(admin, from, () => makeDatabase(admin, { name, owner: owner.user, from }))
      }),
    close: async () => {
      await Promise.all([database.close(), pool.end()])
      await asAdmin(server, (admin) => admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`))
    },
  }
}

const makeDatabase = (admin: pg.Client, { name, owner, from }: Readonly<Record<'name' | 'owner' | 'from', string>>): Promise<unknown> =>
  admin.query(`CREATE DATABASE ${name} OWNER ${owner} TEMPLATE ${from} ENCODING 'UTF8' STRATEGY file_copy`)

/** While nobody is connected, or can be: a service that runs comes again at once. */
async function alone(admin: pg.Client, name: string, work: () => Promise<unknown>): Promise<void> {
  await admin.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`)
  try {
    await admin.query('SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1', [name])
    await work()
  } finally {
    await admin.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`)
  }
}

async function transact<Result>(database: Database, work: (tx: Tx) => Promise<Result>): Promise<Result> {
  const client = await database.connect()
  const tx = new Tx(sqlOn(client))
  try {
    await client.query('BEGIN')
    const result = await work(tx)
    await client.query('COMMIT')
    return result
  } finally {
    closeTx(tx)
    // What has not committed is rolled back with its connection.
    await client.end()
  }
}

interface Login {
  readonly user: string
  readonly password: string
}

/** Neither is a superuser: migrations and the service must do without. The service's login has no rights but those of the role. */
async function ensureLogins(admin: pg.Client, run: string): Promise<{ readonly owner: Login; readonly service: Login }> {
  const [owner, service] = ['owner', 'service'].map((part) => ({ user: `${run}_${part}`, password: run })) as [Login, Login]
  const found = await admin.query('SELECT FROM pg_roles WHERE rolname = $1', [service.user])
  if (found.rowCount === 1) return { owner, service }
  const role = await admin.query(`SELECT FROM pg_roles WHERE rolname = 'gridseal_service'`)
  if (role.rowCount === 0) await admin.query('CREATE ROLE gridseal_service NOLOGIN')
  for (const { user, password } of [owner, service]) await admin.query(`CREATE ROLE ${user} LOGIN PASSWORD '${password}'`)
  await admin.query(`GRANT gridseal_service TO ${service.user}`)
  return { owner, service }
}

const templateName = (run: string): string => `${run}_template`

/** Made by whoever needs it first in this run; a migration that fails leaves none behind, and fails who asked. */
async function ensureTemplate(admin: pg.Client, { server, run }: TestRun, logins: { readonly owner: Login; readonly service: Login }): Promise<void> {
  const found = await admin.query('SELECT FROM pg_database WHERE datname = $1', [templateName(run)])
  if (found.rowCount === 1) return
  const making = `${templateName(run)}_making`
  await admin.query(`DROP DATABASE IF EXISTS ${making} WITH (FORCE)`)
  await admin.query(`CREATE DATABASE ${making} OWNER ${logins.owner.user} TEMPLATE template0 ENCODING 'UTF8'`)
  await migrateDatabase({ ownerUrl: withLogin(server, logins.owner, making), serviceUrl: withLogin(server, logins.service, making) })
  await admin.query(`ALTER DATABASE ${making} RENAME TO ${templateName(run)}`)
}

/** One at a time in the whole run: PostgreSQL does not copy a database that somebody else is copying from or connected to. */
async function asAdmin<Result>(server: string, work: (admin: pg.Client) => Promise<Result>): Promise<Result> {
  const admin = new pg.Client({ connectionString: server })
  await admin.connect()
  try {
    await admin.query(`SELECT pg_advisory_lock(hashtext('gridseal.test'))`)
    return await work(admin)
  } finally {
    await admin.end()
  }
}

/** The connection string with another login and database. */
function withLogin(server: string, { user, password }: Login, database: string): string {
  const url = new URL(server)
  url.username = user
  url.password = password
  url.pathname = `/${database}`
  return url.href
}

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import type { Sql } from '../../core/tx.ts'
import type { Config } from '../config.ts'
import { sqlOn } from '../database.ts'
import { migrateDatabase } from '../migrate.ts'
import { databaseUrls } from '../database-urls.ts'
import { CliError } from './cli-error.ts'

/** The database as a ceremony has it, without a service. */

export async function withStoppedService<Result>(config: Config, work: (sql: Sql) => Promise<Result>): Promise<Result> {
  return withDatabase(config, async (sql) => {
    // What a service that starts takes too, and waits for.
    await sql.query(`SELECT pg_advisory_lock(hashtext('gridseal.start'))`)
    if (await isRunning(sql))
      throw new CliError('The service is running on this database. Stop it first, on every machine: this ceremony is held while it is stopped.')
    return work(sql)
  })
}

/** The settings name a database, or the data folder has one. */
export const hasDatabase = ({ data, databaseUrl }: Pick<Config, 'data' | 'databaseUrl'>): boolean =>
  databaseUrl !== undefined || existsSync(join(data, 'postgres'))

/**
 * What looks at a service's data, or repairs it, makes none: a database that was begun in a wrong folder would pass for an empty one. Throws a {@link CliError} with
 * `exitCode` (default 1).
 */
export function assertDatabaseThere({ data, databaseUrl }: Pick<Config, 'data' | 'databaseUrl'>, exitCode = 1): void {
  if (hasDatabase({ data, databaseUrl })) return
  throw new CliError(`${data} has no database of a service. Name the folder of the service by GRIDSEAL_DATA, or its database by DATABASE_URL.`, exitCode)
}

/** A connection of the database's owner; the database is brought up to date first, unless it is only looked at. */
export async function withDatabase<Result>(
  config: Config,
  work: (sql: Sql) => Promise<Result>,
  { migrated = true }: { readonly migrated?: boolean } = {},
): Promise<Result> {
  assertDatabaseThere(config)
  const closers: (() => Promise<unknown>)[] = []
  try {
    const urls = await databaseUrls(config, closers)
    if (migrated) await migrateDatabase(urls)
    const client = new pg.Client({ connectionString: urls.ownerUrl, application_name: 'gridseal ceremony' })
    client.on('error', () => undefined)
    await client.connect()
    closers.push(() => client.end())
    return await work(sqlOn(client))
  } finally {
    for (const close of closers.toReversed()) await close()
  }
}

/** A service that has just ended may have connections for a moment. */
async function isRunning(sql: Sql): Promise<boolean> {
  for (let tries = 0; tries < 20; tries += 1) {
    const running = await sql.query(`SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'gridseal'`)
    if (running.length === 0) return false
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  return true
}

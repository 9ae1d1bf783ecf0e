import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import type { TestProject } from 'vitest/node'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './launcher.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Connection string of a superuser of the server that tests make their databases on. */
    testServer: string
    /** Names of this run's databases begin with it. */
    testRun: string
  }
}

/**
 * Vitest calls it once for a project that has tests to run, before the first. One server without fsync in a temporary folder, or the one that
 * `GRIDSEAL_TEST_DATABASE_URL` names (a superuser's connection string; its role `gridseal_service` is made and stays).
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env['GRIDSEAL_TEST_DATABASE_URL']
  const run = `gridseal_test_${randomBytes(4).toString('hex')}`
  project.provide('testRun', run)
  if (given !== undefined && given !== '') {
    project.provide('testServer', given)
    return async () => dropAll(given, run)
  }
  const folder = mkdtempSync(join(fastFolder(), 'gridseal-test-'))
  const server: EmbeddedPostgres = await startEmbeddedPostgres({ folder: join(folder, 'postgres'), durable: false })
  project.provide('testServer', server.url('admin', 'postgres'))
  return async () => {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Memory where there is plenty of it: a database is copied in 20 ms instead of 200. */
export function fastFolder(): string {
  try {
    const { bavail, bsize } = statfsSync('/dev/shm')
    return bavail * bsize > 2 ** 30 ? '/dev/shm' : tmpdir()
  } catch {
    return tmpdir()
  }
}

async function dropAll(url: string, run: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query<{ datname: string }>('SELECT datname FROM pg_database WHERE datname LIKE $1', [`${run}%`])
  for (const { datname } of rows) await client.query(`DROP DATABASE ${client.escapeIdentifier(datname)} WITH (FORCE)`)
  await client.query(`DROP ROLE IF EXISTS ${run}_owner, ${run}_service`)
  await client.end()
}

import { join } from 'node:path'
import type { Config } from './config.ts'
import { startEmbeddedPostgres } from './postgres/launcher.ts'

/** The database that the settings name, or the embedded one, started. */
export async function databaseUrls(
  { data, databaseUrl, databaseOwnerUrl }: Pick<Config, 'data' | 'databaseUrl' | 'databaseOwnerUrl'>,
  closers: (() => Promise<unknown>)[],
): Promise<{ serviceUrl: string; ownerUrl: string }> {
  if (databaseUrl !== undefined) return { serviceUrl: databaseUrl, ownerUrl: databaseOwnerUrl ?? databaseUrl }
  const embedded = await startEmbeddedPostgres({ folder: join(data, 'postgres') })
  closers.push(() => embedded.stop())
  return { serviceUrl: embedded.url('service'), ownerUrl: embedded.url('owner') }
}

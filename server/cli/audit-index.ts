import { auditIndex } from '../../policies/audit/index.ts'
import type { Config } from '../config.ts'
import { openDatabase } from '../database.ts'
import { databaseUrls } from '../database-urls.ts'
import { CliError } from './cli-error.ts'
import { assertDatabaseThere } from './stopped-service.ts'

/** A statement over the whole index may take this long. */
const ANSWER_MS = 60_000

/** Findings that are told one by one. */
const TOLD = 100

/**
 * Makes the index of the log's search anew, or compares it with the entries: exit code 1 where they differ. On the database of the settings, beside a service that
 * runs or not.
 */
export async function reindexCommand(
  config: Pick<Config, 'data' | 'databaseUrl' | 'databaseOwnerUrl'>,
  { check = false }: { readonly check?: boolean },
): Promise<void> {
  assertDatabaseThere(config)
  const closers: (() => Promise<unknown>)[] = []
  try {
    const { serviceUrl } = await databaseUrls(config, closers)
    const database = openDatabase({ serviceUrl, answerTimeoutMs: ANSWER_MS })
    closers.push(() => database.close())
    const index = auditIndex(database.sql)
    if (!check) {
      let sealed = 0
      await index.renew((segments) => (sealed = segments))
      console.log(`The index is made anew: ${String(sealed)} segments. What is behind them is searched in memory.`)
      return
    }
    let [differences, segments] = [0, 0]
    for await (const found of index.check()) {
      if ('checked' in found) segments = found.checked
      else {
        differences += 1
        if (differences <= TOLD) console.log(`segment ${String(found.segment)}: ${found.kind} ${found.what}`)
      }
    }
    if (differences > 0)
      throw new CliError(`${String(differences)} differences in ${String(segments)} segments. The index is not what the entries say: gridseal audit reindex`, 1)
    console.log(`${String(segments)} segments are what the entries say.`)
  } finally {
    for (const closer of closers.toReversed()) await closer()
  }
}

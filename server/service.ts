import { mkdirSync } from 'node:fs'
import type { Logger } from 'pino'
import { type Faults, noFaults } from '../core/fault-point.ts'
import { rememberRows } from '../core/row-memory.ts'
import { openGenerations, type RotationTimes } from '../kms/root-keys/index.ts'
import { openHsm, type OpenHsm } from '../pkcs11/index.ts'
import { PgRootKeyStore } from '../pkcs11/root-key-store.pg.ts'
import { ClockWatch, databaseTime } from '../policies/alarms/index.ts'
import type { Forwarding } from '../policies/audit/forwarding/index.ts'
import { type AuditFeature, loadRecoveries } from '../policies/audit/index.ts'
import { callerUrn } from '../policies/caller.ts'
import { callerFeature } from '../policies/callers/index.ts'
import { openAuditLog, openForwarding } from './audit-log.ts'
import { loadNotes } from './ceremony-notes.ts'
import type { Config } from './config.ts'
import { databaseUrls } from './database-urls.ts'
import { type Database, openDatabase } from './database.ts'
import { establish } from './establishment.ts'
import { assembleFeatures, type Features } from './features.ts'
import { migrateDatabase } from './migrate.ts'
import { assertSchema } from './schema/schema-comparison.ts'
import { tokenOptions } from './token-options.ts'
import { loadAdoptions, logCeremonies, recordPendingBackup } from './token-succession.ts'

/** The service without its listeners and timers: what `serve` and `init` both stand on. */
export interface OpenService extends Omit<Features, 'decideBy' | 'sharing'> {
  readonly database: Database
  readonly hsm: OpenHsm
  readonly audit: AuditFeature
  readonly forwarding: Forwarding
  readonly callers: ReturnType<typeof callerFeature>
  /** Puts into the log what ceremonies of the command line did, and it does not have yet. Once the log is started. */
  logCeremonies(): Promise<void>
  close(): Promise<void>
}

interface Opening {
  readonly config: Config
  readonly logger: Logger
  readonly faults: Faults
  /** Of rotations: for tests. */
  readonly times: RotationTimes | undefined
  readonly isInspection: boolean
}

type Closers = (() => Promise<unknown>)[]

/**
 * Opens everything in the order in which it depends on each other: database, token, log, gate, features; and at first start makes what is missing:
 * token and root keys, tables, authorities, certificates of the service's own keys, the card profile. Each of these is done whole or found missing by the next start.
 * Throws an error that says what to do; nothing stays running then.
 */
export function openService(config: Config, logger: Logger, faults: Faults = noFaults, times?: RotationTimes): Promise<OpenService> {
  return opened({ config, logger, faults, times, isInspection: false })
}

/**
 * The same on a database that somebody may have changed, to look at it: nothing is migrated, made, established or refused for what the database says, beyond what is
 * needed to ask the token. No operation decides.
 */
export function inspectService(config: Config, logger: Logger): Promise<OpenService> {
  return opened({ config, logger, faults: noFaults, times: undefined, isInspection: true })
}

async function opened(opening: Opening): Promise<OpenService> {
  mkdirSync(opening.config.data, { recursive: true, mode: 0o700 })
  const closers: Closers = []
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).toReversed())
      await closer().catch((error: unknown) => opening.logger.error({ cause: String(error) }, 'a part did not close'))
  }
  try {
    return { ...(await open(opening, closers)), close }
  } catch (error) {
    await close()
    throw error
  }
}

async function open({ config, logger, faults, times, isInspection }: Opening, closers: Closers): Promise<Omit<OpenService, 'close'>> {
  const now = (): Date => new Date()
  const database = await openMigrated({ config, logger, isInspection }, closers)
  const { sql } = database
  const connect = () => database.connect()

  // Processes that start together on an empty data folder or database wait for each other; the lock ends with its connection.
  const first = await database.connect()
  closers.push(() => first.end())
  await first.query(`SELECT pg_advisory_lock(hashtext('gridseal.start'))`)

  const hsm = await openHsm({
    ...tokenOptions(config),
    lanes: config.lanes,
    onTokenState: ({ state, since, reason }) => logger[state === 'ready' ? 'info' : 'warn']({ part: 'token', state, since, cause: reason }, 'a part changed'),
  })
  closers.push(() => hsm.close())
  const { integrity } = hsm
  const rootKeys = new PgRootKeyStore(sql)
  await rootKeys.assertSameToken(hsm.identity)
  const sealer = rememberRows(integrity)
  const keepers: { forgetRows(): void }[] = [sealer]
  const generations = await openGenerations({
    ...{ hsm, sql, connect, ...(times === undefined ? {} : { times }) },
    onChange: () => keepers.forEach((keeper) => keeper.forgetRows()),
    onError: (error) => logger.warn({ cause: String(error) }, 'what is recorded of root keys is looked for again'),
  })
  closers.push(() => generations.follower.close())
  generations.follower.start()
  const history = { adoptions: await loadAdoptions(rootKeys, integrity), recoveries: await loadRecoveries(sql, integrity) }
  if (!isInspection) {
    await recordPendingBackup({ data: config.data, sql, sealer: integrity })
    await loadNotes(sql, integrity)
  }

  const shared = { hsm: hsm.hsm, sealer, sql, now }
  const callers = callerFeature(shared)
  const callersOf = async (name: string): Promise<string[]> => {
    const person = (await callers.persons.findByName(name)) ?? (await callers.persons.find(name))
    return person === undefined ? [] : (await callers.callers.listOf([person.id])).map(callerUrn)
  }
  const audit = openAuditLog({ config, logger, database, integrity, sealer, history, now, callersOf })
  closers.push(() => audit.close())
  const forwarding = openForwarding({ config, logger, database, audit })
  closers.push(() => forwarding.stop())

  const clock = new ClockWatch({ read: () => databaseTime(sql) })
  await clock.look()
  clock.start()
  closers.push(() => clock.stop())

  const features = assembleFeatures({
    config,
    logger,
    faults,
    times,
    shared,
    hsm,
    generations,
    clock,
    audit,
    forwarding,
    callers,
    recoveries: history.recoveries,
  })
  const { sharing, alarms, revisions, jobs } = features
  keepers.push(features.cards, features.attestation, features.people)
  closers.push(
    () => sharing.stop(),
    () => alarms.stop(),
    () => revisions.keeper.stop(),
    () => Promise.all(jobs.map((job) => job.stop())),
  )
  if (!isInspection) await establish(features, { config, logger })
  await first.end()
  return {
    ...features,
    database,
    hsm,
    audit,
    forwarding,
    callers,
    logCeremonies: () => logCeremonies({ audit, database, origin: config.origin, history, sealer }),
  }
}

/** The database, started where it is the embedded one, and of this version. */
async function openMigrated({ config, logger, isInspection }: Pick<Opening, 'config' | 'logger' | 'isInspection'>, closers: Closers): Promise<Database> {
  const urls = await databaseUrls(config, closers)
  if (!isInspection) await migrateDatabase(urls)
  const database = openDatabase({ serviceUrl: urls.serviceUrl })
  closers.push(() => database.close())
  if (!isInspection) await assertSchema(database.sql, (what) => logger.warn({ what }, 'the schema has more than this version makes'))
  return database
}

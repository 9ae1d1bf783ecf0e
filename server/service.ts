import { mkdirSync, readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { type AttestationFeature, attestationFeature } from '../attestation/index.ts'
import { type CardPersonalizationFeature, cardPersonalizationFeature } from '../card-personalization/index.ts'
import { type Faults, noFaults } from '../core/fault-point.ts'
import { causeOf } from '../core/problem.ts'
import { type KmsFeature, kmsFeature } from '../kms/index.ts'
import type { TokenOptions } from '../pkcs11/ceremonies.ts'
import { openGenerations, type RootKeyFeature, rootKeyFeature, type RotationTimes } from '../kms/root-keys/index.ts'
import { openHsm, ROOT_KEYS } from '../pkcs11/index.ts'
import { PgRootKeyStore } from '../pkcs11/root-key-store.pg.ts'
import { admissionFeature } from '../policies/admissions/index.ts'
import { alarmFeature, ClockWatch, databaseTime } from '../policies/alarms/index.ts'
import { type Caller, callerUrn, systemCaller } from '../policies/caller.ts'
import { evidenceFeature } from '../policies/audit/evidence/index.ts'
import { type Forwarding, forwardersBehind, forwardingFeature } from '../policies/audit/forwarding/index.ts'
import { auditFeature, type AuditFeature, logKey } from '../policies/audit/index.ts'
import { callerFeature } from '../policies/callers/index.ts'
import { type PeopleFeature, peopleFeature } from '../policies/people/index.ts'
import { personalFeature } from '../policies/personal/index.ts'
import { type Decide, PolicyError, RateTable } from '../policies/firewall/index.ts'
import { type Gate, perform } from '../policies/gate.ts'
import { grantFeature } from '../policies/grants/index.ts'
import { holdFeature } from '../policies/holds/index.ts'
import { type IntegrityFeature, integrityFeature } from '../policies/integrity/index.ts'
import { quotaFeature } from '../policies/quotas/index.ts'
import { rateSharing } from '../policies/rates/index.ts'
import { revisionFeature } from '../policies/revisions/index.ts'
import type { AnyOperation } from '../policies/operation.ts'
import { loadNotes, noteTable } from './ceremony-notes.ts'
import { type Config, ConfigError } from './config.ts'
import { type Database, openDatabase } from './database.ts'
import { diskNearlyFull } from './disk-space.ts'
import { rememberRows } from '../core/row-memory.ts'
import type { FindCaller } from './identity.ts'
import { migrateDatabase } from './migrate.ts'
import { tokenParking } from './parking.ts'
import { isPolicyOf, loadPolicyFile, operationFacts } from './policy-file.ts'
import { evidenceSigner, officersLike, policyKey, policySigner } from './policy-parts.ts'
import { projectFile } from './project-file.ts'
import { assertSchema, schemaFindings } from './schema/schema-comparison.ts'
import { startEmbeddedPostgres } from './postgres/launcher.ts'
import { loadWitnessPolicy } from './witness-policy-file.ts'
import { loadAdoptions, logCeremonies, recordPendingBackup, replacedKeys } from './token-succession.ts'

/** The service without its listeners and timers: what `serve` and `init` both stand on. */
export interface OpenService {
  readonly gate: Gate
  readonly operations: readonly AnyOperation[]
  readonly database: Database
  readonly hsm: Awaited<ReturnType<typeof openHsm>>
  readonly audit: AuditFeature
  readonly forwarding: Forwarding
  readonly callers: ReturnType<typeof callerFeature>
  readonly people: PeopleFeature
  readonly kms: KmsFeature
  readonly cards: CardPersonalizationFeature
  readonly attestation: AttestationFeature
  readonly rotations: RootKeyFeature
  readonly integrity: IntegrityFeature
  readonly holds: ReturnType<typeof holdFeature>
  readonly alarms: ReturnType<typeof alarmFeature>['monitor']
  readonly revisions: ReturnType<typeof revisionFeature>
  readonly findCaller: FindCaller
  /** Puts into the log what ceremonies of the command line did, and it does not have yet. Once the log is started. */
  logCeremonies(): Promise<void>
  /** An operation that the service itself performs, through the gate like everybody else's. */
  performSystem(caller: Caller, name: string, body: unknown): Promise<Record<string, unknown>>
  close(): Promise<void>
}

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

type Opening = Pick<Parameters<typeof open>[0], 'config' | 'logger' | 'faults' | 'times' | 'isInspection'>

async function opened({ config, logger, ...how }: Opening): Promise<OpenService> {
  mkdirSync(config.data, { recursive: true, mode: 0o700 })
  const closers: (() => Promise<unknown>)[] = []
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).toReversed())
      await closer().catch((error: unknown) => logger.error({ cause: String(error) }, 'a part did not close'))
  }
  try {
    return await open({ config, logger, ...how, closers, close })
  } catch (error) {
    await close()
    throw error
  }
}

async function open({
  config,
  logger,
  faults,
  times,
  isInspection,
  closers,
  close,
}: {
  readonly config: Config
  readonly logger: Logger
  readonly faults: Faults
  /** Of rotations: for tests. */
  readonly times: RotationTimes | undefined
  readonly isInspection: boolean
  readonly closers: (() => Promise<unknown>)[]
  readonly close: () => Promise<void>
}): Promise<OpenService> {
  const now = (): Date => new Date()
  const urls = await databaseUrls(config, closers)
  if (!isInspection) await migrateDatabase(urls)
  const database = openDatabase({ serviceUrl: urls.serviceUrl })
  closers.push(() => database.close())
  if (!isInspection) await assertSchema(database.sql, (what) => logger.warn({ what }, 'the schema has more than this version makes'))

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
  const rootKeys = new PgRootKeyStore(database.sql)
  await rootKeys.assertSameToken(hsm.identity)
  const keepers: { forgetRows(): void }[] = []
  const generations = await openGenerations({
    ...{ hsm, sql: database.sql, connect: () => database.connect(), ...(times === undefined ? {} : { times }) },
    onChange: () => keepers.forEach((keeper) => keeper.forgetRows()),
    onError: (error) => logger.warn({ cause: String(error) }, 'what is recorded of root keys is looked for again'),
  })
  closers.push(() => generations.follower.close())
  generations.follower.start()
  const adoptions = await loadAdoptions(rootKeys, hsm.integrity)
  if (!isInspection) {
    await recordPendingBackup({ data: config.data, sql: database.sql, sealer: hsm.integrity })
    await loadNotes(database.sql, hsm.integrity)
  }

  const { algorithm, publicKey } = hsm.integrity.checkpointKey
  const audit = auditFeature({
    sql: database.sql,
    connect: () => database.connect(),
    integrity: hsm.integrity,
    ...(config.tokenHeadSeconds === 0 ? {} : { tokenHead: { keeper: hsm.integrity, everyMs: config.tokenHeadSeconds * 1000 } }),
    origin: config.origin,
    checkpointFile: join(config.data, 'checkpoint'),
    ...(config.witnessPolicy === undefined
      ? {}
      : {
          witnesses: {
            policy: loadWitnessPolicy(config.witnessPolicy, logKey(config.origin, algorithm, publicKey)),
            mustAnswer: config.witnessesMustAnswer,
            onChange: ({ name, state, since, lag, problem }) =>
              logger[state === 'ready' || state === 'waiting' ? 'info' : 'warn'](
                { witness: name, state, since, lag, cause: problem },
                'a witness of the log changed',
              ),
          },
        }),
    replaced: replacedKeys(adoptions),
    writers: config.writers,
    version: version(),
    now,
    callersOf: async (text) => {
      const person = (await callers.persons.findByName(text)) ?? (await callers.persons.find(text))
      return person === undefined ? [] : (await callers.callers.listOf([person.id])).map(callerUrn)
    },
    onFault: (fault) => logger.fatal({ cause: String(fault) }, 'the audit log has stopped for good: a person has to look'),
    onError: (error) => logger.warn({ cause: String(error) }, 'the audit log is tried again'),
    onReconciled: (report) => logger.info(report, 'operations that a crash left open'),
  })
  closers.push(() => audit.close())
  const forwarding = forwardingFeature({
    ...{ sql: database.sql, audit, receivers: config.syslog, hostname: hostname() },
    onChange: ({ receiver, state, position, lag, lastError }) =>
      logger[state === 'failing' ? 'warn' : 'info']({ receiver, state, position, lag, cause: lastError }, 'forwarding of the audit log changed'),
  })
  closers.push(() => forwarding.stop())

  const clock = new ClockWatch({ read: () => databaseTime(database.sql) })
  await clock.look()
  clock.start()
  closers.push(() => clock.stop())

  let policy: Decide = () => {
    throw new Error('the policy is not compiled yet')
  }
  const rates = new RateTable()
  const gate: Gate = {
    ...{ decide: (asked) => policy(asked), log: audit.log, faults, rates, onBegin: () => generations.inProgress.begin(), clock: () => clock.problem },
    quotas: { take: (tx, claim) => quotas.desk.take(tx, claim), takeLeased: (claim) => quotas.desk.takeLeased(claim) },
    holds: { park: (request) => holds.desk.park(request), take: (holdId, request) => holds.desk.take(holdId, request) },
  }
  const sealer = rememberRows(hsm.integrity)
  keepers.push(sealer)
  const shared = { hsm: hsm.hsm, sealer, sql: database.sql, now }
  const callers = callerFeature(shared)
  const admissions = admissionFeature({ ...shared, callers: callers.callers })
  const quotas = quotaFeature({ ...shared, gate })
  const sharing = rateSharing({
    ...{ sql: database.sql, rates },
    onFailure: (problem) => logger.warn({ code: problem.code, cause: causeOf(problem) }, 'rates are shared between nodes as they were'),
  })
  closers.push(() => sharing.stop())
  const holds = holdFeature({
    ...{ ...shared, gate, parking: tokenParking(shared), operations: () => operations },
    isActive: async (callerId) => (await callers.callers.find(callerId))?.state === 'active',
    onExpiryFailure: (problem) => logger.warn({ code: problem.code, cause: causeOf(problem) }, 'held requests whose time is over are ended later'),
  })
  const grants = grantFeature({
    ...{ ...shared, callers: callers.callers, searcher: audit.searcher, operations: () => operationFacts(operations), mostHours: config.grantMaxHours },
  })
  const personal = personalFeature({
    ...{ sql: database.sql, reader: audit.reader, retentionDays: config.personalRetentionDays },
    blindIndex: (values) => hsm.integrity.blindIndex(values),
  })
  const alarms = alarmFeature({
    ...{ ...shared, log: audit.log, logStatus: () => audit.status(), witnesses: () => audit.witnesses(), seconds: config.alarmSeconds },
    conditions: {
      'clock-step': () => clock.detail,
      'verification-failed': () => {
        const { openFindings, since } = integrity.job.status
        return openFindings > 0 ? `${openFindings} findings are open, since ${since.toISOString()}` : undefined
      },
      'forwarder-behind': () => forwardersBehind(forwarding.status(), { seconds: config.alarmSeconds, nowMs: Date.now() }),
      'token-away': () => (hsm.stats().token.state === 'away' ? `away since ${hsm.stats().token.since.toISOString()}` : undefined),
      'disk-nearly-full': diskNearlyFull(config.data, config.diskFreeMib),
    },
    onChange: ({ kind, severity, since, detail }, is) =>
      logger[is === 'cleared' ? 'info' : severity === 'critical' ? 'error' : 'warn']({ alarm: kind, severity, since, detail }, `an alarm was ${is}`),
    onFailure: (error) => logger.warn({ cause: String(error) }, 'alarms are put into the audit log later'),
  })
  closers.push(() => alarms.monitor.stop())
  const revisions = revisionFeature({
    ...{
      ...shared,
      gate,
      grants: grants.grants,
      reader: audit.reader,
      signer: policySigner(hsm.hsm),
      publicKey: policyKey(hsm.hsm),
      operations: () => operationFacts(operations),
    },
    officersLike: officersLike({ list: (page) => callers.callers.list(page), findActive: (id) => people.findActive(id) }),
    onChange: ({ number, revision, state }, recovery) => {
      logger.info({ number, revision, state }, 'this policy decides')
      if (recovery !== undefined) logger.error({ number, revision, cause: recovery }, 'everything is denied until two officers have changed the policy')
    },
    onFailure: (problem) => logger.warn({ code: problem.code, cause: causeOf(problem) }, 'the lease on the policy is renewed later'),
  })
  closers.push(
    () => revisions.keeper.stop(),
    () => holds.job.stop(),
  )
  const people = peopleFeature({
    ...{ ...shared, gate, callers: callers.callers, persons: callers.persons, secrets: hsm.personSecrets },
    limits: { idleMs: config.sessionIdleMinutes * 60_000, mostMs: config.sessionMaxHours * 3_600_000 },
    leads: () => audit.status().leading,
    onFailure: (error) => logger.warn({ cause: String(error) }, 'what the service does about sessions and passwords by itself is done later, or by a person'),
  })
  const kms = kmsFeature({
    ...{ ...shared, gate, token: hsm.identity, crlUrl: config.crlUrl, callers: callers.callers, cardFacts: (cardId) => cards.factsOf(cardId) },
    onCrlFailure: (problem, authority) => logger.warn({ authority, code: problem.code, cause: causeOf(problem) }, 'a CRL is issued later'),
  })
  const evidence = evidenceFeature({
    ...{ gate, log: audit, now },
    signer: evidenceSigner(hsm.hsm, () => kms.certificates.serviceChain('statement')),
    revisions: { find: (revision) => revisions.findSigned(revision), publicKey: () => hsm.hsm.rootPublicKey(ROOT_KEYS.policy) },
  })
  const cards = cardPersonalizationFeature({
    ...shared,
    gate,
    faults,
    lanes: config.lanes,
    certifier: kms.cardCertificates,
    samePerson: callers.samePerson,
    deliveryChain: () => kms.certificates.serviceChain('delivery'),
    onFillFailure: (problem, order) => logger.warn({ order, code: problem.code, cause: causeOf(problem) }, 'filling is tried again'),
  })
  const attestation = attestationFeature({
    ...shared,
    gate,
    build: `gridseal ${version()}`,
    samePerson: callers.samePerson,
    onPurgeFailure: (problem) => logger.warn({ code: problem.code, cause: causeOf(problem) }, 'old challenges are purged later'),
    cards: {
      find: async (iccid) => {
        const keys = await cards.findKeys(iccid)
        // An unknown card takes the same statements: neither the answer nor its time tells one from the other.
        const certificate = await kms.cardCertificates.find(keys?.id ?? 'unknown')
        return keys && { ...keys, ...(certificate === undefined ? {} : { certificate }) }
      },
      findStanding: (iccid) => cards.findStanding(iccid),
      decoyParts: () => cards.profileKeys('grid-usim-1'),
    },
    cardRows: hsm.integrity,
  })
  keepers.push(cards, attestation, people)
  const rotations = rootKeyFeature({
    ...{
      hsm,
      sql: database.sql,
      gate,
      generations,
      groups: audit.groups,
      samePerson: callers.samePerson,
      faults,
      now,
      ...(times === undefined ? {} : { times }),
    },
    tables: () => [
      ...callers.sealedTables,
      ...admissions.sealedTables,
      ...grants.sealedTables,
      ...quotas.sealedTables,
      ...holds.sealedTables,
      ...alarms.sealedTables,
      ...revisions.sealedTables,
      ...people.sealedTables,
      ...kms.sealedTables,
      ...cards.sealedTables,
      ...attestation.sealedTables,
      noteTable(database.sql),
    ],
    leads: () => audit.status().leading,
    onFailure: (problem, rotation) => logger.warn({ rotation: rotation?.id, code: problem.code, cause: causeOf(problem) }, 'a rotation goes on later'),
  })
  const integrity = integrityFeature({
    ...{ sql: database.sql, audit, now, everyHours: config.integrityHours },
    tables: () => rotations.sealedTables,
    dependents: () => cards.dependentRows,
    reviewRows: (rows) => hsm.integrity.reviewRows(rows),
    checkGroups: (groups) => hsm.integrity.checkGroups(groups),
    schema: () => schemaFindings(database.sql),
    onFound: ({ code, subject, detail, since }) => logger.error({ code, subject, detail, since }, 'the database is not what the log says'),
    onFailure: (problem) => logger.warn({ code: problem.code, cause: causeOf(problem) }, 'the database is compared with the log later'),
  })
  const operations: readonly AnyOperation[] = [
    ...audit.operations,
    ...evidence.operations,
    ...callers.operations,
    ...admissions.operations,
    ...grants.operations,
    ...quotas.operations,
    ...holds.operations,
    ...personal.operations,
    ...alarms.operations,
    ...revisions.operations,
    ...people.operations,
    ...kms.operations,
    ...Object.values(kms.systemOperations),
    ...cards.operations,
    ...attestation.operations,
    ...rotations.operations,
    ...integrity.operations,
  ]

  const performSystem = async (caller: Caller, name: string, body: unknown): Promise<Record<string, unknown>> => {
    const op = operations.find((candidate) => candidate.name === name)
    if (op === undefined) throw new Error(`no operation is named ${name}`)
    return (await perform(gate, op, { caller, body })) as Record<string, unknown>
  }
  const findCaller: FindCaller = async (fingerprint) => {
    const certificate = await kms.certificates.findByFingerprint(fingerprint)
    if (certificate === undefined || certificate.state !== 'issued' || certificate.notAfter.getTime() < Date.now()) return undefined
    const active = await people.findActive(certificate.callerId)
    return active && admissions.withAdmission(active)
  }
  const service: OpenService = {
    ...{
      gate,
      operations,
      holds,
      alarms: alarms.monitor,
      revisions,
      database,
      hsm,
      audit,
      forwarding,
      callers,
      people,
      kms,
      cards,
      attestation,
      rotations,
      integrity,
      findCaller,
      performSystem,
      close,
    },
    logCeremonies: () => logCeremonies({ audit, database, adoptions, sealer: hsm.integrity }),
  }
  if (isInspection) {
    await first.end()
    return service
  }
  const start = systemCaller('start')
  const established = await revisions.activations.latest()
  if (established === undefined) {
    const shipped = loadPolicyFile(config.policy, operations)
    policy = shipped.decide
    await performSystem(start, 'policies.revision.establish', { text: shipped.text })
  } else if (!isPolicyOf(config.policy, established.revision)) {
    logger.warn({ file: config.policy, revision: established.revision }, 'the policy file is not the policy in force: it changes by gridseal policy propose')
  }
  await revisions.keeper.refresh().catch((error: unknown) => {
    if (!(error instanceof PolicyError)) throw error
    throw new ConfigError(
      `The policy in force cannot be read by this version: ${error.message}\nStart the version that it ran on, and change it there first: gridseal policy propose (docs/policy-revisions.md).`,
    )
  })
  policy = (asked) => revisions.keeper.decide(asked)
  revisions.keeper.start()
  sharing.start()
  if (!(await kms.certificates.isEstablished())) await performSystem(start, 'kms.authority.establish', {})
  for (const purpose of ['delivery', 'statement'] as const) {
    if ((await kms.certificates.findService(purpose)) === undefined) await performSystem(start, 'kms.service-certificate.issue', { purpose })
  }
  await people.adoptRegistrations()
  await cards.establishProfiles()
  await attestation.establish()
  await first.end()
  return service
}

/** Which token: that of a command's option, else that of the settings. */
export const tokenOptions = (config: Config, uri: string | undefined = config.token): TokenOptions => ({
  dataFolder: config.data,
  passEnvironment: config.tokenEnvironment,
  insecureTokenIgnores: config.insecureTokenIgnores,
  ...(uri === undefined ? {} : { uri }),
  ...(config.tokenLibraryParameters === undefined ? {} : { libraryParameters: config.tokenLibraryParameters }),
  ...(config.officerPinFile === undefined ? {} : { officerPinFile: config.officerPinFile }),
})

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

const version = (): string => (JSON.parse(readFileSync(projectFile('package.json'), 'utf8')) as { version: string }).version

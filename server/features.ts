import type { Logger } from 'pino'
import { attestationFeature } from '../attestation/index.ts'
import { cardPersonalizationFeature } from '../card-personalization/index.ts'
import type { Faults } from '../core/fault-point.ts'
import { causeOf, type Problem } from '../core/problem.ts'
import type { RowSealer } from '../core/row.ts'
import type { SealedTable } from '../core/sealed-table.ts'
import type { Sql } from '../core/tx.ts'
import { kmsFeature } from '../kms/index.ts'
import { type Generations, rootKeyFeature, type RotationTimes } from '../kms/root-keys/index.ts'
import { type OpenHsm, ROOT_KEYS } from '../pkcs11/index.ts'
import { admissionFeature } from '../policies/admissions/index.ts'
import { alarmFeature, type ClockWatch } from '../policies/alarms/index.ts'
import { evidenceFeature } from '../policies/audit/evidence/index.ts'
import { type Forwarding, forwardersBehind } from '../policies/audit/forwarding/index.ts'
import { type AuditFeature, floorsOf, type LogRecovery } from '../policies/audit/index.ts'
import type { Caller } from '../policies/caller.ts'
import type { callerFeature } from '../policies/callers/index.ts'
import { type Decide, RateTable } from '../policies/firewall/index.ts'
import { type Gate, perform } from '../policies/gate.ts'
import { grantFeature } from '../policies/grants/index.ts'
import { holdFeature } from '../policies/holds/index.ts'
import { integrityFeature } from '../policies/integrity/index.ts'
import type { AnyOperation } from '../policies/operation.ts'
import { peopleFeature } from '../policies/people/index.ts'
import { personalFeature } from '../policies/personal/index.ts'
import { quotaFeature } from '../policies/quotas/index.ts'
import { rateSharing } from '../policies/rates/index.ts'
import { revisionFeature } from '../policies/revisions/index.ts'
import { noteTable } from './ceremony-notes.ts'
import type { Config } from './config.ts'
import { diskNearlyFull } from './disk-space.ts'
import type { FindCaller } from './identity.ts'
import { partitionsRunOut } from './log-partitions.ts'
import { tokenParking } from './parking.ts'
import { operationFacts } from './policy-file.ts'
import { evidenceSigner, officersLike, policyKey, policySigner } from './policy-parts.ts'
import { version } from './project-file.ts'
import { schemaFindings } from './schema/schema-comparison.ts'

/** What features stand on, opened. */
interface Foundations {
  readonly config: Config
  readonly logger: Logger
  readonly faults: Faults
  /** Of rotations: for tests. */
  readonly times: RotationTimes | undefined
  /** What most features take. */
  readonly shared: { readonly hsm: OpenHsm['hsm']; readonly sealer: RowSealer; readonly sql: Sql; readonly now: () => Date }
  readonly hsm: OpenHsm
  readonly generations: Generations
  readonly clock: ClockWatch
  readonly audit: AuditFeature
  readonly forwarding: Forwarding
  readonly callers: ReturnType<typeof callerFeature>
  /** Of the log: what is issued goes on above them. */
  readonly recoveries: readonly LogRecovery[]
}

/** What every feature has: its operations, and the tables whose rows it seals. */
interface Feature {
  readonly operations: readonly AnyOperation[]
  readonly sealedTables?: readonly SealedTable[]
}

/** The gate and all features behind it, each with the functions of others that it needs. */
export type Features = ReturnType<typeof assembleFeatures>

/** Puts them together. Nothing of them runs yet, and everything is denied until {@link Features.decideBy}. */
export function assembleFeatures({ config, logger, faults, times, shared, hsm, generations, clock, audit, forwarding, callers, recoveries }: Foundations) {
  const { sql, now } = shared
  const floors = floorsOf(recoveries)
  const later = (what: string, problem: Problem, about: object = {}): void => logger.warn({ ...about, code: problem.code, cause: causeOf(problem) }, what)
  let policy: Decide = () => {
    throw new Error('the policy is not compiled yet')
  }
  const rates = new RateTable()
  const gate: Gate = {
    ...{ decide: (asked) => policy(asked), log: audit.log, faults, rates, onBegin: () => generations.inProgress.begin(), clock: () => clock.problem },
    quotas: { take: (tx, claim) => quotas.desk.take(tx, claim), takeLeased: (claim) => quotas.desk.takeLeased(claim) },
    holds: { park: (request) => holds.desk.park(request), take: (holdId, request) => holds.desk.take(holdId, request) },
  }
  const admissions = admissionFeature({ ...shared, callers: callers.callers })
  const quotas = quotaFeature({ ...shared, gate })
  const sharing = rateSharing({
    ...{ sql, rates },
    onFailure: (problem) => later('rates are shared between nodes as they were', problem),
  })
  const holds = holdFeature({
    ...{ ...shared, gate, parking: tokenParking(shared), operations: () => operations },
    isActive: async (callerId) => (await people.findActive(callerId)) !== undefined,
    onExpiryFailure: (problem) => later('held requests whose time is over are ended later', problem),
  })
  const grants = grantFeature({
    ...{ ...shared, callers: callers.callers, searcher: audit.searcher, operations: () => operationFacts(operations), mostHours: config.grantMaxHours },
  })
  const personal = personalFeature({
    ...{ sql, reader: audit.reader, retentionDays: config.personalRetentionDays },
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
      'log-partitions-run-out': partitionsRunOut(sql),
      'disk-nearly-full': diskNearlyFull(config.data, config.diskFreeMib),
    },
    onChange: ({ kind, severity, since, detail }, is) =>
      logger[is === 'cleared' ? 'info' : severity === 'critical' ? 'error' : 'warn']({ alarm: kind, severity, since, detail }, `an alarm was ${is}`),
    onFailure: (error) => logger.warn({ cause: String(error) }, 'alarms are put into the audit log later'),
  })
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
    onFailure: (problem) => later('the lease on the policy is renewed later', problem),
  })
  const people = peopleFeature({
    ...{ ...shared, gate, callers: callers.callers, persons: callers.persons, secrets: hsm.personSecrets },
    limits: { idleMs: config.sessionIdleMinutes * 60_000, mostMs: config.sessionMaxHours * 3_600_000 },
    leads: () => audit.status().leading,
    onFailure: (error) => logger.warn({ cause: String(error) }, 'what the service does about sessions and passwords by itself is done later, or by a person'),
  })
  const kms = kmsFeature({
    ...{ ...shared, gate, token: hsm.identity, crlUrl: config.crlUrl, callers: callers.callers, cardFacts: (cardId) => cards.factsOf(cardId) },
    crlNumberFloor: floors.crlNumber,
    onCrlFailure: (problem, authority) => later('a CRL is issued later', problem, { authority }),
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
    issuedIccids: floors.iccids,
    deliveryChain: () => kms.certificates.serviceChain('delivery'),
    onFillFailure: (problem, order) => later('filling is tried again', problem, { order }),
  })
  const attestation = attestationFeature({
    ...shared,
    gate,
    build: `gridseal ${version()}`,
    recoveries: recoveries.length,
    samePerson: callers.samePerson,
    onPurgeFailure: (problem) => later('old challenges are purged later', problem),
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
  const features: readonly Feature[] = [
    ...[audit, evidence, callers, admissions, grants, quotas, holds, personal, alarms, revisions, people],
    ...[kms, cards, attestation],
  ]
  const rotations = rootKeyFeature({
    ...{
      hsm,
      sql,
      gate,
      generations,
      groups: audit.groups,
      samePerson: callers.samePerson,
      faults,
      now,
      ...(times === undefined ? {} : { times }),
    },
    tables: () => [...features.flatMap(({ sealedTables = [] }) => sealedTables), noteTable(sql)],
    leads: () => audit.status().leading,
    onFailure: (problem, rotation) => later('a rotation goes on later', problem, { rotation: rotation?.id }),
  })
  const integrity = integrityFeature({
    ...{ sql, audit, now, everyHours: config.integrityHours },
    tables: () => rotations.sealedTables,
    dependents: () => cards.dependentRows,
    reviewRows: (rows) => hsm.integrity.reviewRows(rows),
    checkGroups: (groups) => hsm.integrity.checkGroups(groups),
    schema: () => schemaFindings(sql),
    onFound: ({ code, subject, detail, since }) => logger.error({ code, subject, detail, since }, 'the database is not what the log says'),
    onFailure: (problem) => later('the database is compared with the log later', problem),
  })
  const operations: readonly AnyOperation[] = [
    ...features.flatMap((feature) => feature.operations),
    ...Object.values(kms.systemOperations),
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
  return {
    ...{ gate, operations, sharing, alarms: alarms.monitor, revisions, people, kms, cards, attestation, rotations, integrity, findCaller },
    /** What the service does by itself, once it is started. */
    jobs: [cards.fillJob, kms.crlJob, attestation.purgeJob, people.purgeJob, rotations.rotationJob, integrity.job, holds.job] as const,
    /** From now on this decides. */
    decideBy: (decide: Decide): void => {
      policy = decide
    },
    /** An operation that the service itself performs, through the gate like everybody else's. */
    performSystem,
  }
}

import { attestationFeature } from '../../attestation/index.ts'
import { cardPersonalizationFeature } from '../../card-personalization/index.ts'
import { kmsFeature } from '../../kms/index.ts'
import { rootKeyFeature } from '../../kms/root-keys/index.ts'
import { evidenceFeature } from '../../policies/audit/evidence/index.ts'
import { auditOperations } from '../../policies/audit/operations/index.ts'
import { admissionFeature } from '../../policies/admissions/index.ts'
import { alarmFeature } from '../../policies/alarms/index.ts'
import { callerFeature } from '../../policies/callers/index.ts'
import { grantFeature } from '../../policies/grants/index.ts'
import { holdFeature } from '../../policies/holds/index.ts'
import { integrityFeature } from '../../policies/integrity/index.ts'
import type { AnyOperation } from '../../policies/operation.ts'
import { peopleFeature } from '../../policies/people/index.ts'
import { personalFeature } from '../../policies/personal/index.ts'
import { quotaFeature } from '../../policies/quotas/index.ts'
import { revisionFeature } from '../../policies/revisions/index.ts'

/** Stands for what operations need to run, which none does here: their names, effects and routes are all that is looked at. */
const nothing = new Proxy(() => undefined, { get: (_target, name): unknown => (name === 'then' ? undefined : nothing) }) as never

/** All operations of the service, without a token or a database. */
export function allOperations(): readonly AnyOperation[] {
  const shared = { hsm: nothing, sealer: nothing, sql: nothing, now: () => new Date(0) }
  const kms = kmsFeature({ ...shared, token: nothing, callers: nothing })
  return [
    ...auditOperations(nothing),
    ...evidenceFeature({ gate: nothing, log: nothing, signer: nothing, revisions: nothing, now: nothing }).operations,
    ...callerFeature(shared).operations,
    ...admissionFeature({ ...shared, callers: nothing }).operations,
    ...grantFeature({ ...shared, callers: nothing, searcher: nothing, operations: nothing }).operations,
    ...quotaFeature({ ...shared, gate: nothing }).operations,
    ...holdFeature({ ...shared, gate: nothing, parking: nothing, operations: nothing, isActive: nothing, onExpiryFailure: nothing }).operations,
    ...personalFeature({ sql: nothing, reader: nothing, blindIndex: nothing, retentionDays: 0 }).operations,
    ...alarmFeature({ ...shared, log: nothing, logStatus: nothing, witnesses: nothing, conditions: nothing, seconds: 1, onChange: nothing, onFailure: nothing })
      .operations,
    ...revisionFeature({
      ...{ ...shared, gate: nothing, reader: nothing, grants: nothing, signer: nothing, publicKey: nothing },
      ...{ operations: nothing, officersLike: nothing, onChange: nothing, onFailure: nothing },
    }).operations,
    ...peopleFeature({ ...shared, gate: nothing, callers: nothing, persons: nothing, secrets: nothing }).operations,
    ...kms.operations,
    ...Object.values(kms.systemOperations),
    ...cardPersonalizationFeature({ ...shared, gate: nothing, certifier: nothing, samePerson: nothing, deliveryChain: nothing }).operations,
    ...rootKeyFeature({ ...shared, gate: nothing, generations: nothing, tables: () => [], groups: nothing, samePerson: nothing, leads: nothing }).operations,
    ...attestationFeature({ ...shared, gate: nothing, cards: nothing, cardRows: nothing, samePerson: nothing, build: 'none' }).operations,
    ...integrityFeature({
      ...{ ...shared, audit: nothing, tables: nothing, dependents: nothing, reviewRows: nothing, checkGroups: nothing, schema: nothing, everyHours: 0 },
    }).operations,
  ]
}

import type { Knex } from 'knex'
import * as auditLog from './0001-audit-log.ts'
import * as callers from './0002-callers.ts'
import * as rootKeys from './0003-root-keys.ts'
import * as keysAndCertificates from './0004-keys-and-certificates.ts'
import * as cardPersonalization from './0005-card-personalization.ts'
import * as cardCertificates from './0006-card-certificates.ts'
import * as crls from './0007-crls.ts'
import * as attestation from './0008-attestation.ts'
import * as tokenBackups from './0009-token-backups.ts'
import * as keyRotation from './0010-key-rotation.ts'
import * as people from './0011-people.ts'
import * as holdsAndQuotas from './0012-holds-and-quotas.ts'
import * as policyRevisions from './0013-policy-revisions.ts'
import * as admissionsAndGrants from './0014-admissions-and-grants.ts'
import * as pepperKey from './0015-pepper-key.ts'
import * as ceremonyAuthorisations from './0016-ceremony-authorisations.ts'
import * as regionsAndLoginBudgets from './0017-regions-and-login-budgets.ts'
import * as witnesses from './0018-witnesses.ts'
import * as integrity from './0019-integrity.ts'
import * as auditSearch from './0020-audit-search.ts'
import * as auditForwarding from './0021-audit-forwarding.ts'
import * as erasuresAndAlarms from './0022-erasures-and-alarms.ts'
import * as logRecoveries from './0023-log-recoveries.ts'
import * as logPruning from './0024-log-pruning.ts'

/** One step of the one story that all tables have. Forward only. */
export interface Migration {
  /** `0001-audit-log`. Never changed once released: databases remember it. */
  readonly name: string
  up(knex: Knex): Promise<void>
}

/** In the order of their numbers. */
export const MIGRATIONS: readonly Migration[] = [
  { name: '0001-audit-log', up: auditLog.up },
  { name: '0002-callers', up: callers.up },
  { name: '0003-root-keys', up: rootKeys.up },
  { name: '0004-keys-and-certificates', up: keysAndCertificates.up },
  { name: '0005-card-personalization', up: cardPersonalization.up },
  { name: '0006-card-certificates', up: cardCertificates.up },
  { name: '0007-crls', up: crls.up },
  { name: '0008-attestation', up: attestation.up },
  { name: '0009-token-backups', up: tokenBackups.up },
  { name: '0010-key-rotation', up: keyRotation.up },
  { name: '0011-people', up: people.up },
  { name: '0012-holds-and-quotas', up: holdsAndQuotas.up },
  { name: '0013-policy-revisions', up: policyRevisions.up },
  { name: '0014-admissions-and-grants', up: admissionsAndGrants.up },
  { name: '0015-pepper-key', up: pepperKey.up },
  { name: '0016-ceremony-authorisations', up: ceremonyAuthorisations.up },
  { name: '0017-regions-and-login-budgets', up: regionsAndLoginBudgets.up },
  { name: '0018-witnesses', up: witnesses.up },
  { name: '0019-integrity', up: integrity.up },
  { name: '0020-audit-search', up: auditSearch.up },
  { name: '0021-audit-forwarding', up: auditForwarding.up },
  { name: '0022-erasures-and-alarms', up: erasuresAndAlarms.up },
  { name: '0023-log-recoveries', up: logRecoveries.up },
  { name: '0024-log-pruning', up: logPruning.up },
]

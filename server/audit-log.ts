import { hostname } from 'node:os'
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { RowSealer } from '../core/row.ts'
import type { OpenHsm } from '../pkcs11/index.ts'
import { type Forwarding, forwardingFeature } from '../policies/audit/forwarding/index.ts'
import { type AuditFeature, auditFeature, type AuditSettings, type LogKey, logKey } from '../policies/audit/index.ts'
import type { Config } from './config.ts'
import type { Database } from './database.ts'
import { version } from './project-file.ts'
import { type LogHistory, originAfter, replacedKeys } from './token-succession.ts'
import { loadWitnessPolicy } from './witness-policy-file.ts'

interface LogParts extends Required<Pick<AuditSettings, 'now' | 'callersOf'>> {
  readonly config: Config
  readonly logger: Logger
  readonly database: Database
  readonly integrity: OpenHsm['integrity']
  /** Of rows, where something remembers those that are right. */
  readonly sealer: RowSealer
  /** The log's keys and its origin changed with it. */
  readonly history: LogHistory
}

/** The audit log as the settings want it: signed by the token, kept in file and token, told to witnesses. */
export function openAuditLog({ config, logger, database, integrity, sealer, history, now, callersOf }: LogParts): AuditFeature {
  const origin = originAfter(config.origin, history)
  return auditFeature({
    ...{ sql: database.sql, connect: () => database.connect(), integrity, sealer, origin, writers: config.writers, version: version(), now, callersOf },
    checkpointFile: join(config.data, 'checkpoint'),
    ...(config.tokenHeadSeconds === 0 ? {} : { tokenHead: { keeper: integrity, everyMs: config.tokenHeadSeconds * 1000 } }),
    ...witnessesOf(config, logger, logKey(origin, integrity.checkpointKey.algorithm, integrity.checkpointKey.publicKey)),
    replaced: replacedKeys(config.origin, history),
    onFault: (fault) => logger.fatal({ cause: String(fault) }, 'the audit log has stopped for good: a person has to look'),
    onError: (error) => logger.warn({ cause: String(error) }, 'the audit log is tried again'),
    onReconciled: (report) => logger.info(report, 'operations that a crash left open'),
  })
}

function witnessesOf({ witnessPolicy, witnessesMustAnswer }: Config, logger: Logger, key: LogKey): Pick<AuditSettings, 'witnesses'> {
  if (witnessPolicy === undefined) return {}
  return {
    witnesses: {
      policy: loadWitnessPolicy(witnessPolicy, key),
      mustAnswer: witnessesMustAnswer,
      onChange: ({ name, state, since, lag, problem }) =>
        logger[state === 'ready' || state === 'waiting' ? 'info' : 'warn'](
          { witness: name, state, since, lag, cause: problem },
          'a witness of the log changed',
        ),
    },
  }
}

/** The log's receivers. */
export const openForwarding = ({
  config,
  logger,
  database,
  audit,
}: Pick<LogParts, 'config' | 'logger' | 'database'> & { readonly audit: AuditFeature }): Forwarding =>
  forwardingFeature({
    ...{ sql: database.sql, audit, receivers: config.syslog, hostname: hostname() },
    onChange: ({ receiver, state, position, lag, lastError }) =>
      logger[state === 'failing' ? 'warn' : 'info']({ receiver, state, position, lag, cause: lastError }, 'forwarding of the audit log changed'),
  })

import type { SealedRow } from '../../core/row.ts'
import type { Problem } from '../../core/problem.ts'
import type { DependentRows, SealedTable } from '../../core/sealed-table.ts'
import type { Sql } from '../../core/tx.ts'
import type { AuditFeature } from '../audit/index.ts'
import type { CheckGroups } from '../audit/take-over.ts'
import type { AnyOperation } from '../operation.ts'
import { checkIntegrity, type CheckOptions, type IntegrityReport } from './check.ts'
import type { Finding } from './finding.ts'
import { FreshRows } from './fresh-rows.ts'
import { hiddenEpochs } from './hidden-epochs.ts'
import { IntegrityJob } from './integrity-job.ts'
import { pgIntegrityStore } from './integrity-store.pg.ts'
import { lastLoggedPass } from './logged-passes.ts'
import { pgLogSource } from './log-source.pg.ts'
import { beginCheck } from './operations/begin-check.ts'
import { getIntegrity } from './operations/get-integrity.ts'

export type { CheckProgress, IntegrityReport } from './check.ts'
export { addRowHeads, epochsBefore, namedBelow, rowHeads } from './row-heads.pg.ts'
export { headsIn, HeadsDigest, NewestHeads } from './row-heads.ts'
export { type Finding, FINDINGS } from './finding.ts'

export interface IntegrityDeps {
  readonly sql: Sql
  readonly audit: Pick<AuditFeature, 'log' | 'reader' | 'key' | 'replaced' | 'keptCheckpoints' | 'flush' | 'status' | 'index' | 'searcher'>
  /** Every sealed table of the service. */
  readonly tables: () => readonly SealedTable[]
  readonly dependents: () => readonly DependentRows[]
  readonly reviewRows: (rows: readonly SealedRow[]) => Promise<readonly string[]>
  readonly checkGroups: CheckGroups
  /** What of the schema differs from what this version makes. */
  readonly schema: () => Promise<readonly Finding[]>
  /** Hours between two passes; 0: only when asked. */
  readonly everyHours: number
  readonly now: () => Date
  /** See {@link IntegrityJob}. For tests. */
  readonly pollMs?: number
  readonly onFound?: (finding: Finding) => void
  readonly onFailure?: (problem: Problem) => void
}

export interface IntegrityFeature {
  readonly operations: readonly AnyOperation[]
  readonly job: Pick<IntegrityJob, 'start' | 'stop' | 'status'>
  /** Everything, now and as fast as it goes. */
  check(options?: CheckOptions): Promise<IntegrityReport>
}

/** Compares the tables, the log and the schema with what was signed. */
export function integrityFeature(deps: IntegrityDeps): IntegrityFeature {
  const { sql, audit, tables, dependents, reviewRows, checkGroups, schema, now } = deps
  const source = pgLogSource(sql, reviewRows)
  const store = pgIntegrityStore(sql)
  const check = (options: CheckOptions = {}): Promise<IntegrityReport> =>
    checkIntegrity(
      {
        ...{ source, key: audit.key, replaced: audit.replaced, checkGroups, tables: tables(), dependents: dependents(), reviewRows, schema, now },
        flush: () => audit.flush(),
        kept: () => audit.keptCheckpoints(),
        searchIndex: () => audit.index.check(),
      },
      options,
    )
  const job = new IntegrityJob({
    ...{ check, store, log: audit.log, everyHours: deps.everyHours, now },
    followFrom: (index) => new FreshRows({ reader: audit.reader, tables: tables(), reviewRows }, index),
    hidden: () => hiddenEpochs(source),
    lastPass: () => lastLoggedPass(audit.searcher),
    size: async () => (await source.tree()).head.edge.size,
    leads: () => audit.status().leading,
    ...(deps.pollMs === undefined ? {} : { pollMs: deps.pollMs }),
    ...(deps.onFound === undefined ? {} : { onFound: deps.onFound }),
    ...(deps.onFailure === undefined ? {} : { onFailure: deps.onFailure }),
  })
  return {
    operations: [getIntegrity({ store, lastPass: () => job.lastPass(), status: () => job.status }), beginCheck({ passNow: () => job.passNow() })],
    job,
    check,
  }
}

import type { RowSealer } from '../../core/row.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import type { Sql } from '../../core/tx.ts'
import type { Searcher } from '../audit/search/searcher.ts'
import type { CallerStore } from '../callers/caller-store.ts'
import type { OperationFacts } from '../firewall/references.ts'
import type { AnyOperation } from '../operation.ts'
import type { GrantStore } from './grant-store.ts'
import { grantTable, PgGrantStore } from './grant-store.pg.ts'
import type { Deps } from './operations/deps.ts'
import { issueGrant } from './operations/issue-grant.ts'
import { getGrant, listGrants } from './operations/read-grants.ts'
import { reportGrant } from './operations/report-grant.ts'
import { revokeGrant } from './operations/revoke-grant.ts'

export interface GrantParts {
  readonly sql: Sql
  readonly sealer: RowSealer
  readonly callers: Pick<CallerStore, 'findByName'>
  readonly searcher: Pick<Searcher, 'prepare' | 'search'>
  /** All operations, known once everything is put together. */
  readonly operations: () => readonly OperationFacts[]
  /** How long a grant lasts at the most. Default 24. */
  readonly mostHours?: number
  readonly now: () => Date
}

export interface GrantFeature {
  readonly grants: GrantStore
  readonly operations: readonly AnyOperation[]
  readonly sealedTables: readonly SealedTable[]
}

/** Emergency and temporary access: by two officers, for hours, logged in full, with a report of what was done. */
export function grantFeature({ sql, sealer, mostHours = 24, ...parts }: GrantParts): GrantFeature {
  const grants = new PgGrantStore({ sql, sealer })
  const deps: Deps = { ...parts, grants, mostHours }
  return {
    grants,
    operations: [issueGrant(deps), revokeGrant(deps), getGrant(deps), listGrants(deps), reportGrant(deps)],
    sealedTables: [grantTable(sql)],
  }
}

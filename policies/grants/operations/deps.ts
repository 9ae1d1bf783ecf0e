import { Problem } from '../../../core/problem.ts'
import type { Searcher } from '../../audit/search/searcher.ts'
import type { Caller } from '../../caller.ts'
import type { CallerStore } from '../../callers/caller-store.ts'
import type { OperationFacts } from '../../firewall/references.ts'
import type { Grant } from '../grant.ts'
import type { GrantStore } from '../grant-store.ts'

export interface Deps {
  readonly grants: GrantStore
  readonly callers: Pick<CallerStore, 'findByName'>
  readonly searcher: Pick<Searcher, 'prepare' | 'search'>
  /** All operations, known once everything is put together. */
  readonly operations: () => readonly OperationFacts[]
  /** How long a grant lasts at the most. */
  readonly mostHours: number
  readonly now: () => Date
}

export const ROUTE = '/v1/policies/grants'
export const ONE = `${ROUTE}/{grantId}` as const

/** What every operation on one grant begins with. */
export interface GrantTarget {
  readonly grantId: string
  readonly by: Caller
  readonly grant: Grant | undefined
  readonly now: Date
}

export const locateGrant = async ({ grants, now }: Deps, grantId: string, by: Caller): Promise<GrantTarget> => ({
  ...{ grantId, by, grant: await grants.find(grantId), now: now() },
})

export const noGrant = (): Problem => new Problem('not-found', 'There is no grant of that id.')

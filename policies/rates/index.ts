import { randomUUID } from 'node:crypto'
import type { Problem } from '../../core/problem.ts'
import type { Sql } from '../../core/tx.ts'
import type { RateTable } from '../firewall/index.ts'
import { PgDemandStore } from './demand-store.pg.ts'
import { RateSharing } from './rate-sharing.ts'

/** Rates of the policy, shared by the nodes of a database. */
export const rateSharing = ({
  sql,
  rates,
  onFailure,
}: {
  readonly sql: Sql
  readonly rates: RateTable
  readonly onFailure: (problem: Problem) => void
}): RateSharing => new RateSharing({ node: randomUUID(), rates, store: new PgDemandStore(sql), onFailure })

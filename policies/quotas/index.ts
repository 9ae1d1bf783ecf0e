import type { RowSealer } from '../../core/row.ts'
import type { Sql } from '../../core/tx.ts'
import { systemCaller } from '../caller.ts'
import { type Gate, perform } from '../gate.ts'
import { NodeQuotas, type QuotaDesk } from './desk.ts'
import { leaseQuota } from './operations/lease-quota.ts'
import { PgQuotaStore, quotaTable } from './quota-store.pg.ts'

/** What policies allow in a day, a week or a month, over all nodes. */
export function quotaFeature({ sql, sealer, gate }: { readonly sql: Sql; readonly sealer: RowSealer; readonly gate: Gate }) {
  const quotas = new PgQuotaStore({ sql, sealer })
  const [system, lease] = [systemCaller('quotas'), leaseQuota({ quotas })]
  const desk: QuotaDesk = new NodeQuotas({
    quotas,
    lease: async (claim, block) => ((await perform(gate, lease, { caller: system, body: { claim, block } })) as { taken: number }).taken,
  })
  return { desk, operations: [lease], sealedTables: [quotaTable(sql)] }
}

import { z } from 'zod'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import type { QuotaClaim } from '../../firewall/decide.ts'
import { type Operation, operation } from '../../operation.ts'
import type { QuotaStore } from '../quota-store.ts'

export interface LeaseInput {
  readonly claim: QuotaClaim
  /** What the node wants; it is content with `claim.amount`. */
  readonly block: number
}
interface Lease {
  /** Known once the row is written. */
  taken: number
}

/** A block of a quota, for the transient operations of one node. It is used up for the others from then on, whether the node uses it or ends. */
export const leaseQuota = ({ quotas }: { readonly quotas: QuotaStore }): Operation<LeaseInput, LeaseInput, Lease, { taken: number }> =>
  operation({
    name: 'policies.quota.lease',
    summary: 'Takes a block of a quota for one node.',
    effect: 'durable',
    input: z.custom<LeaseInput>((value) => typeof value === 'object' && value !== null && 'claim' in value && 'block' in value),
    output: z.strictObject({ taken: z.number().int() }),
    locate: (input) => Promise.resolve(input),
    uses: () => [],
    facts: ({ claim: { key, period, most }, block }) => ({ public: { quota: key, period, most, block } }),
    admit: ({ claim, block }) => (block < claim.amount ? new Problem('internal', 'A block is less than what it is for.') : undefined),
    execute: () => Promise.resolve({ taken: 0 }),
    record: async (tx, { claim, block }, lease) => {
      const { taken, row } = await quotas.take(tx, { ...claim, amount: block }, claim.amount)
      lease.taken = taken
      return { facts: { public: { taken }, rows: [digestRow(row)] } }
    },
    respond: (_target, { taken }) => ({ taken }),
  })

import { z } from 'zod'
import { type Operation, operation } from '../../policies/operation.ts'
import type { Deps } from './deps.ts'

interface Purged {
  /** Known once the rows are deleted. */
  count: number
}

/** The rows are deleted in the transaction of the outcome, which says how many: a crash before leaves them for the next time. */
export const purgeNonces = ({ challenges }: Pick<Deps, 'challenges'>): Operation<object, object, Purged, { deleted: number }> =>
  operation({
    name: 'attestation.nonces.purge',
    summary: 'Deletes challenges that ended over a day ago.',
    effect: 'durable',
    input: z.strictObject({}),
    output: z.strictObject({ deleted: z.number().int() }),
    locate: () => Promise.resolve({}),
    uses: () => [],
    facts: () => ({}),
    execute: () => Promise.resolve({ count: 0 }),
    record: async (tx, _target, purged) => {
      purged.count = await challenges.purge(tx)
      return { facts: { public: { deleted: purged.count } } }
    },
    respond: (_target, { count }) => ({ deleted: count }),
  })

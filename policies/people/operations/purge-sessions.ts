import { z } from 'zod'
import type { Tx } from '../../../core/tx.ts'
import { type Operation, operation } from '../../operation.ts'

/** Rows of a kind that one purge deletes at most: its transaction is short. */
export const MOST_PURGED = 10_000

interface Purged {
  /** Known once the rows are deleted. */
  sessions: number
  budgets: number
}

/** The rows are deleted in the transaction of the outcome, which says how many: a crash before leaves them for the next time. */
export const purgeSessions = ({
  sessions,
  budgets,
}: Readonly<Record<'sessions' | 'budgets', { purge(tx: Tx, most: number): Promise<number> }>>): Operation<object, object, Purged, Readonly<Purged>> =>
  operation({
    name: 'policies.session.purge',
    summary: 'Deletes sessions whose time was over a week ago, and counts of logins that have filled up.',
    effect: 'durable',
    input: z.strictObject({}),
    output: z.strictObject({ sessions: z.number().int(), budgets: z.number().int() }),
    locate: () => Promise.resolve({}),
    uses: () => [],
    facts: () => ({}),
    execute: () => Promise.resolve({ sessions: 0, budgets: 0 }),
    record: async (tx, _target, purged) => {
      purged.sessions = await sessions.purge(tx, MOST_PURGED)
      purged.budgets = await budgets.purge(tx, MOST_PURGED)
      return { facts: { public: { sessions: purged.sessions, budgets: purged.budgets } } }
    },
    respond: (_target, { sessions: deleted, budgets: full }) => ({ sessions: deleted, budgets: full }),
  })

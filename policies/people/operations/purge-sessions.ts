import { z } from 'zod'
import type { Tx } from '../../../core/tx.ts'
import { type Operation, operation } from '../../operation.ts'
import type { SessionStore } from '../session-store.ts'

/** Rows of a kind that one purge deletes at most: its transaction is short. */
export const MOST_PURGED = 10_000

/** Rows that an entry names at most: it has 65,535 bytes. */
const ROWS_OF_AN_ENTRY = 200

interface Purged {
  /** Known once the rows are deleted. */
  sessions: number
  budgets: number
}

/** The rows are deleted in the transaction of the outcome, which says how many: a crash before leaves them for the next time. */
export const purgeSessions = ({
  sessions,
  budgets,
}: {
  readonly sessions: Pick<SessionStore, 'purge'>
  readonly budgets: { purge(tx: Tx, most: number): Promise<number> }
}): Operation<object, object, Purged, Readonly<Purged>> =>
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
      const rows = await sessions.purge(tx, MOST_PURGED)
      purged.sessions = rows.length
      purged.budgets = await budgets.purge(tx, MOST_PURGED)
      return {
        facts: { public: { sessions: purged.sessions, budgets: purged.budgets } },
        items: Array.from({ length: Math.ceil(rows.length / ROWS_OF_AN_ENTRY) }, (_, at) => ({
          rows: rows.slice(at * ROWS_OF_AN_ENTRY, (at + 1) * ROWS_OF_AN_ENTRY),
        })),
      }
    },
    respond: (_target, { sessions: deleted, budgets: full }) => ({ sessions: deleted, budgets: full }),
  })

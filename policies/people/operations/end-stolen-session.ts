import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { type Operation, operation } from '../../operation.ts'
import type { Deps } from '../deps.ts'
import type { Session } from '../session.ts'
import { SESSION_ID } from '../view.ts'
import { ended, recordEnds } from './session-target.ts'

interface Input {
  readonly sessionId: string
  readonly address: string
  readonly differs: 'address' | 'certificate'
}
interface Target extends Input {
  readonly session: Session | undefined
}

export const endStolenSession = ({ sessions, now }: Pick<Deps, 'sessions' | 'now'>): Operation<Input, Target, Session, { ended: boolean }> =>
  operation({
    name: 'policies.session.end-stolen',
    summary: 'Ends a session whose token came from another address, or with another certificate, than it was opened with.',
    effect: 'durable',
    input: z.strictObject({ sessionId: SESSION_ID, address: z.string().max(64), differs: z.enum(['address', 'certificate']) }),
    output: z.strictObject({ ended: z.boolean() }),
    locate: async (input) => ({ ...input, session: await sessions.find(input.sessionId) }),
    uses: () => [],
    facts: ({ sessionId, address, differs, session }) => ({
      public: { sessionId, differs, usedFrom: address, ...(session === undefined ? {} : { personId: session.personId, openedFrom: session.address }) },
    }),
    admit: ({ session }) => (session?.end === undefined ? undefined : new Problem('conflict', 'The session has ended already.')),
    execute: (_permit, { session }) => Promise.resolve(ended(found(session), 'stolen', now())),
    record: (tx, _target, session) => recordEnds(sessions, tx, [session]),
    respond: () => ({ ended: true }),
  })

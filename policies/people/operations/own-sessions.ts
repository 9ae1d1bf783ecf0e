import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import type { Caller } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import type { Deps } from '../deps.ts'
import type { Session } from '../session.ts'
import { SESSION, SESSION_ID, type SessionView } from '../view.ts'
import { ended, listSessions, notAPerson, recordEnds } from './session-target.ts'

export const listOwnSessions = (
  deps: Pick<Deps, 'sessions' | 'credentials' | 'limits' | 'now'>,
): Operation<object, { readonly caller: Caller }, SessionView[], { sessions: SessionView[] }> =>
  operation({
    name: 'policies.session.list',
    summary: 'Lists one’s own sessions, the newest first.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/sessions', access: 'self' },
    input: z.strictObject({}),
    output: z.strictObject({ sessions: z.array(SESSION) }),
    locate: (_input, caller) => Promise.resolve({ caller }),
    uses: () => [],
    facts: ({ caller }) => ({ public: caller.person === undefined ? {} : { personId: caller.person.id } }),
    admit: ({ caller }) => notAPerson(caller),
    execute: (_permit, { caller }) => listSessions(deps, found(caller.person).id, caller),
    respond: (_target, sessions) => ({ sessions }),
  })

interface Target {
  readonly caller: Caller
  readonly session: Session | undefined
}
const CLOSED = z.strictObject({ sessionId: z.string(), state: z.enum(['closed', 'revoked']) }).meta({ id: 'SessionClosed' })
type Ending<Input> = Operation<Input, Target, Session, z.infer<typeof CLOSED>>

const ending = (
  { sessions, now }: Pick<Deps, 'sessions' | 'now'>,
  why: 'closed' | 'revoked',
): Pick<Ending<unknown>, 'output' | 'uses' | 'facts' | 'execute' | 'record' | 'respond'> => ({
  output: CLOSED,
  uses: () => [],
  facts: ({ caller, session }) => ({
    public: { ...(caller.person === undefined ? {} : { personId: caller.person.id }), ...(session === undefined ? {} : { sessionId: session.id }) },
  }),
  execute: (_permit, { session }) => Promise.resolve(ended(found(session), why, now())),
  record: (tx, _target, session) => recordEnds(sessions, tx, [session]),
  respond: (_target, { id }) => ({ sessionId: id, state: why }),
})

/** Logging out. */
export const closeSession = (deps: Pick<Deps, 'sessions' | 'now'>): Ending<object> =>
  operation({
    ...ending(deps, 'closed'),
    name: 'policies.session.close',
    summary: 'Logs out: ends the session that the request comes by.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/policies/session/close', access: 'self', session: 'closes' },
    input: z.strictObject({}),
    locate: async (_input, caller) => ({ caller, session: caller.session === undefined ? undefined : await deps.sessions.find(caller.session) }),
    admit: ({ caller, session }) => {
      if (caller.session === undefined) return new Problem('conflict', 'The request did not come by a session.')
      return session?.end === undefined ? undefined : new Problem('conflict', 'The session has ended already.')
    },
  })

/** Another session of one's own. */
export const revokeSession = (deps: Pick<Deps, 'sessions' | 'now'>): Ending<{ sessionId: string }> =>
  operation({
    ...ending(deps, 'revoked'),
    name: 'policies.session.revoke',
    summary: 'Ends one of one’s own sessions: it stops working within 5 seconds, on open connections too.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/policies/sessions/{sessionId}/revoke', access: 'self' },
    input: z.strictObject({ sessionId: SESSION_ID }),
    locate: async ({ sessionId }, caller) => {
      const session = await deps.sessions.find(sessionId)
      return { caller, session: session !== undefined && session.personId === caller.person?.id ? session : undefined }
    },
    admit: ({ caller, session }) => {
      const nobody = notAPerson(caller)
      if (nobody !== undefined) return nobody
      if (session === undefined) return new Problem('not-found', 'You have no session of this id.')
      return session.end === undefined ? undefined : new Problem('conflict', 'The session has ended already.')
    },
  })

import { z } from 'zod'
import { Problem } from '../../../core/problem.ts'
import type { Caller } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import type { Deps } from '../deps.ts'
import type { Person } from '../person.ts'
import type { Session } from '../session.ts'
import { PERSON_ID, SESSION, SESSION_ID, type SessionView } from '../view.ts'
import { ended, listSessions, recordEnds } from './session-target.ts'

interface Listed {
  readonly personId: string
  readonly person: Person | undefined
  readonly caller: Caller
}
const nobody = (person: Person | undefined): Problem | undefined =>
  person === undefined ? new Problem('not-found', 'There is no person of this id.') : undefined

/** For officers. */
export const listSessionsOfPerson = (
  deps: Pick<Deps, 'persons' | 'sessions' | 'credentials' | 'limits' | 'now'>,
): Operation<{ personId: string }, Listed, SessionView[], { sessions: SessionView[] }> =>
  operation({
    name: 'policies.person.list-sessions',
    summary: 'Lists the sessions of a person, the newest first.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/persons/{personId}/sessions' },
    input: z.strictObject({ personId: PERSON_ID }),
    output: z.strictObject({ sessions: z.array(SESSION) }),
    locate: async ({ personId }, caller) => ({ personId, person: await deps.persons.find(personId), caller }),
    uses: () => [],
    facts: ({ personId }) => ({ public: { personId } }),
    admit: ({ person }) => nobody(person),
    execute: (_permit, { personId, caller }) => listSessions(deps, personId, caller),
    respond: (_target, sessions) => ({ sessions }),
  })

interface Input {
  readonly personId: string
  readonly sessionId?: string | undefined
}
interface Target extends Input {
  readonly person: Person | undefined
  readonly open: readonly Session[]
}
/** More than anybody has open at once; what is beyond it is ended by asking again. */
const MOST_ENDED = 100

/** For officers. */
export const endSessionsOfPerson = ({
  persons,
  sessions,
  now,
}: Pick<Deps, 'persons' | 'sessions' | 'now'>): Operation<Input, Target, readonly Session[], { ended: string[] }> =>
  operation({
    name: 'policies.person.end-sessions',
    summary: 'Ends one session or all of a person: they stop working within 5 seconds, on open connections too.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/policies/persons/{personId}/end-sessions' },
    input: z.strictObject({ personId: PERSON_ID, sessionId: SESSION_ID.optional().meta({ description: 'Absent: all.' }) }),
    output: z.strictObject({ ended: z.array(z.string()).meta({ description: 'Ids.' }) }),
    locate: async ({ personId, sessionId }) => {
      const [person, all] = await Promise.all([persons.find(personId), sessions.listOf(personId, MOST_ENDED)])
      const open = all.filter(({ id, end, expiresAt }) => end === undefined && now() < expiresAt && (sessionId === undefined || id === sessionId))
      return { personId, sessionId, person, open }
    },
    uses: () => [],
    facts: ({ personId }) => ({ public: { personId } }),
    admit: ({ person, sessionId, open }) =>
      nobody(person) ?? (sessionId !== undefined && open.length === 0 ? new Problem('not-found', 'The person has no open session of this id.') : undefined),
    execute: (_permit, { open }) => Promise.resolve(open.map((session) => ended(session, 'revoked', now()))),
    record: (tx, _target, all) => recordEnds(sessions, tx, all),
    respond: (_target, all) => ({ ended: all.map(({ id }) => id) }),
  })

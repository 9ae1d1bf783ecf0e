import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import type { Tx } from '../../../core/tx.ts'
import type { Caller } from '../../caller.ts'
import type { Recorded } from '../../operation.ts'
import type { Deps } from '../deps.ts'
import { type Session, sessionRow, stateOf } from '../session.ts'
import { type SessionView, viewSession } from '../view.ts'

/** Sessions that are listed at most: the newest. */
const MOST_LISTED = 100

/** The newest sessions of a person, as they are now. */
export async function listSessions(
  { sessions, credentials, limits, now }: Pick<Deps, 'sessions' | 'credentials' | 'limits' | 'now'>,
  personId: string,
  caller: Caller,
): Promise<SessionView[]> {
  const [found, password] = await Promise.all([sessions.listOf(personId, MOST_LISTED), credentials.findPassword(personId)])
  const uses = await sessions.findUses(found.map(({ id }) => id))
  const at = now()
  const passwordVersion = password?.state === 'active' ? password.version : undefined
  return found.map((session) => {
    const use = uses.find(({ sessionId }) => sessionId === session.id)
    return viewSession(session, { use, state: stateOf(session, { use, passwordVersion, idleMs: limits.idleMs, at }), isThis: caller.session === session.id })
  })
}

export const ended = (session: Session, why: NonNullable<Session['end']>['why'], at: Date): Session => ({
  ...session,
  end: { at, why },
  version: session.version + 1,
})

export async function recordEnds(sessions: Deps['sessions'], tx: Tx, all: readonly Session[]): Promise<Recorded> {
  for (const session of all) await sessions.update(tx, session)
  return { facts: { public: { ended: all.length }, rows: all.map((session) => digestRow(sessionRow(session))) } }
}

/** What nobody but a person who acts for themselves is to ask. */
export const notAPerson = (caller: Caller): Problem | undefined =>
  caller.person === undefined ? new Problem('conflict', 'No person stands behind this caller, so that there are no sessions.') : undefined

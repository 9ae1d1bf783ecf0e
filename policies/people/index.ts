import { randomBytes } from 'node:crypto'
import { sha256, utf8 } from '../../core/bytes.ts'
import { Problem } from '../../core/problem.ts'
import { PurgeJob } from '../../core/purge-job.ts'
import type { RowSealer } from '../../core/row.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import type { Sql } from '../../core/tx.ts'
import { type Caller, systemCaller } from '../caller.ts'
import type { CallerStore } from '../callers/caller-store.ts'
import { type Gate, perform } from '../gate.ts'
import type { AnyOperation } from '../operation.ts'
import { credentialTables, PgCredentialStore } from './credential-store.pg.ts'
import type { HashCost } from './credentials.ts'
import type { Deps } from './deps.ts'
import { PgLoginBudgets } from './login-budgets.pg.ts'
import { LoginCheck } from './login-check.ts'
import { LoginThrottle } from './login-throttle.ts'
import { adoptRegistrations } from './operations/adopt-registrations.ts'
import { changePassword } from './operations/change-password.ts'
import { confirmTotp } from './operations/confirm-totp.ts'
import { endStolenSession } from './operations/end-stolen-session.ts'
import { enrolTotp } from './operations/enrol-totp.ts'
import { freezePassword } from './operations/freeze-password.ts'
import { issueTicket } from './operations/issue-ticket.ts'
import { listPersons } from './operations/list-persons.ts'
import { openSession } from './operations/open-session.ts'
import { closeSession, listOwnSessions, revokeSession } from './operations/own-sessions.ts'
import { MOST_PURGED, purgeSessions } from './operations/purge-sessions.ts'
import { registerPerson } from './operations/register-person.ts'
import { revokePerson } from './operations/revoke-person.ts'
import { endSessionsOfPerson, listSessionsOfPerson } from './operations/sessions-of-person.ts'
import { setPassword } from './operations/set-password.ts'
import { PasswordHasher } from './password-hash.ts'
import { isHuman, mayUsePassword } from './person.ts'
import type { PersonSecrets } from './person-secrets.ts'
import type { PersonStore } from './person-store.ts'
import { SESSION_LIMITS, type SessionLimits, stateOf } from './session.ts'
import { PgSessionStore, sessionTables } from './session-store.pg.ts'
import { isSecretToken } from './view.ts'

export type { PersonSecrets } from './person-secrets.ts'

export interface PeopleDeps {
  readonly sql: Sql
  readonly sealer: RowSealer
  /** Through which the service ends sessions and freezes passwords by itself. */
  readonly gate: Gate
  readonly callers: CallerStore
  readonly persons: PersonStore
  readonly secrets: PersonSecrets
  readonly limits?: SessionLimits
  readonly now?: () => Date
  /** Cryptographically random bytes. Default node's. */
  readonly random?: (n: number) => Uint8Array
  /** Default that of RFC 9106. */
  readonly hashCost?: HashCost
  readonly throttle?: LoginThrottle
  /** Whether this node does what one node does for all. Default: it does. */
  readonly leads?: () => boolean
  /** How often old sessions are purged. Default 10 minutes. */
  readonly purgeMs?: number
  /** Told of what the service could not do by itself. */
  readonly onFailure?: (problem: unknown) => void
}

/** Who comes by a session, and where it is bound to. */
export interface OpenSession {
  readonly caller: Pick<Caller, 'kind' | 'name' | 'id' | 'person'>
  readonly sessionId: string
  readonly address: string
  readonly certificate: string | undefined
}

export interface PeopleFeature {
  readonly operations: readonly AnyOperation[]
  readonly sealedTables: readonly SealedTable[]
  /** The registration and its person, where both are active; of vendors and modules without a person. Everything that lets a caller in asks this. */
  findActive(callerId: string): Promise<Pick<Caller, 'kind' | 'name' | 'id' | 'person'> | undefined>
  /** The session of a token, when it is open now. Notes that it was used. */
  findSession(token: string): Promise<OpenSession | undefined>
  /** Ends a session whose token came from elsewhere. What keeps it from that is told to `onFailure`: whoever asks refuses the request in any case. */
  endStolen(stolen: { readonly sessionId: string; readonly address: string; readonly differs: 'address' | 'certificate' }): Promise<void>
  /** Deletes old sessions, on the node that leads. */
  readonly purgeJob: Pick<PurgeJob, 'start' | 'stop'>
  /** Forgets what is kept because it never changes: a rotation of root keys has changed it. */
  forgetRows(): void
  /** Gives a person to each registration from before there were persons, as the caller `system:start`. At each start; it does nothing at the second. */
  adoptRegistrations(): Promise<void>
}

/** A use is noted when the last one is this old, or a quarter of the idle time. */
const NOTED_MS = 60_000

/** People: persons, passwords and one-time codes, sessions. */
export function peopleFeature(given: PeopleDeps): PeopleFeature {
  const { sql, sealer, gate, callers, persons, secrets, limits = SESSION_LIMITS, random = (n) => randomBytes(n), onFailure = () => undefined } = given
  const now = given.now ?? (() => new Date())
  const credentials = new PgCredentialStore({ sql, sealer })
  const sessions = new PgSessionStore({ sql, sealer })
  const budgets = new PgLoginBudgets(sql)
  const hasher = new PasswordHasher({ secrets, ...(given.hashCost === undefined ? {} : { cost: given.hashCost }) })
  const [freezing, stolen, adopting] = [freezePassword({ credentials }), endStolenSession({ sessions, now }), adoptRegistrations({ persons, callers, now })]
  const purge = purgeSessions({ sessions, budgets })
  const quietly = async (op: AnyOperation, { as, body }: { readonly as: string; readonly body: object }): Promise<void> => {
    try {
      await perform(gate, op, { caller: systemCaller(as), body })
    } catch (error) {
      // Another request was first.
      if (!(error instanceof Problem && error.code === 'conflict')) onFailure(error)
    }
  }
  const deps: Deps = {
    ...{ persons, callers, credentials, sessions, secrets, hasher, limits, now, random },
    check: new LoginCheck({ secrets, sealer, hasher, random }),
    throttle: given.throttle ?? new LoginThrottle(),
    budgets,
    freeze: (personId) => quietly(freezing, { as: 'login', body: { personId } }),
  }

  const findActive: PeopleFeature['findActive'] = async (callerId) => {
    const registration = await callers.find(callerId)
    if (registration?.state !== 'active') return undefined
    const { id, kind, name, personId } = registration
    if (!isHuman(kind)) return { kind, name, id }
    const person = personId === undefined ? undefined : await persons.find(personId)
    return person?.state === 'active' ? { kind, name, id, person: { id: person.id, name: person.name } } : undefined
  }

  return {
    findActive,
    findSession: async (token) => {
      if (!isSecretToken(token)) return undefined
      const session = await sessions.findByDigest(sha256(utf8(token)))
      if (session === undefined) return undefined
      const [[use], password, caller] = await Promise.all([
        sessions.findUses([session.id]),
        credentials.findPassword(session.personId),
        findActive(session.callerId),
      ])
      const at = now()
      const passwordVersion = password?.state === 'active' ? password.version : undefined
      if (stateOf(session, { use, passwordVersion, idleMs: limits.idleMs, at }) !== 'open') return undefined
      if (caller?.person?.id !== session.personId || !mayUsePassword(caller.kind)) return undefined
      if (use !== undefined && at.getTime() - use.usedAt.getTime() >= Math.min(NOTED_MS, limits.idleMs / 4))
        await sessions.touch({ ...use, usedAt: at, version: use.version + 1 })
      return { caller, sessionId: session.id, address: session.address, certificate: session.certificate }
    },
    purgeJob: new PurgeJob({
      purge: async () => {
        for (let more = given.leads?.() ?? true; more; ) {
          const deleted = (await perform(gate, purge, { caller: systemCaller('sessions'), body: {} })) as {
            readonly sessions: number
            readonly budgets: number
          }
          more = Math.max(deleted.sessions, deleted.budgets) === MOST_PURGED
        }
      },
      ...(given.purgeMs === undefined ? {} : { everyMs: given.purgeMs }),
      onFailure,
    }),
    forgetRows: () => deps.check.forget(),
    endStolen: (body) => quietly(stolen, { as: 'sessions', body }),
    adoptRegistrations: async () => {
      if ((await callers.listUnowned()).length > 0) await perform(gate, adopting, { caller: systemCaller('start'), body: {} })
    },
    operations: [
      ...[registerPerson(deps), listPersons(deps), revokePerson(deps), issueTicket(deps), listSessionsOfPerson(deps), endSessionsOfPerson(deps)],
      ...[setPassword(deps), changePassword(deps), enrolTotp(deps), confirmTotp(deps)],
      ...[openSession(deps), listOwnSessions(deps), closeSession(deps), revokeSession(deps)],
      ...[freezing, stolen, adopting, purge],
    ],
    sealedTables: [...credentialTables(sql), ...sessionTables(sql)],
  }
}

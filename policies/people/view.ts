import { z } from 'zod'
import { UUID_PATTERN } from '../../core/ids.ts'
import { CALLER_NAME } from '../callers/view.ts'
import type { Registration } from '../callers/caller-store.ts'
import type { PasswordRecord, TicketRecord } from './credentials.ts'
import { LONGEST } from './password-rules.ts'
import { HUMAN_KINDS, type HumanKind, type Person } from './person.ts'
import type { Session, SessionState, SessionUse } from './session.ts'

const uuid = (about: string) => z.string().regex(UUID_PATTERN, 'an id is a UUID in lower case').meta({ description: about })
export const PERSON_ID = uuid('Id of the person.')
export const SESSION_ID = uuid('Id of the session. It lets nobody in.')

/** Bounded before anything is done with it. Code points are counted later; a code point has two units at most. */
export const PASSWORD = z
  .string()
  .min(1)
  .max(2 * LONGEST)
  .meta({ description: 'The password.' })
export const TOTP_CODE = z
  .string()
  .regex(/^\d{6}$/, 'a one-time code has 6 digits')
  .meta({ description: 'The code that the authenticator shows.', example: '123456' })
export const RECOVERY_CODE = z.string().min(1).max(40).meta({ description: 'One of the recovery codes. Each is taken once.' })
/** 32 random bytes. */
const SECRET_TOKEN = /^[A-Za-z0-9_-]{43}$/
export const TICKET = z.string().regex(SECRET_TOKEN, 'a ticket has 43 characters').meta({ description: 'The ticket, from an officer.' })
export const isSecretToken = (text: string): boolean => SECRET_TOKEN.test(text)

export const PERSON = z
  .strictObject({
    personId: z.string(),
    name: CALLER_NAME,
    state: z.enum(['active', 'revoked']),
    registeredBy: z.string(),
    registeredAt: z.string(),
    callers: z
      .array(z.strictObject({ callerId: z.string(), kind: z.enum(HUMAN_KINDS), name: CALLER_NAME, state: z.enum(['active', 'revoked']) }))
      .meta({ description: 'Their registrations.' }),
    login: z.enum(['none', 'enrolling', 'active', 'frozen']).meta({
      description: 'Password and one-time codes: none; set, and no code shown yet; in use; frozen after too many wrong codes with the right password.',
    }),
  })
  .meta({ id: 'Person' })
export type PersonView = z.infer<typeof PERSON>

const LOGIN = { set: 'enrolling', active: 'active', frozen: 'frozen' } as const satisfies Record<PasswordRecord['state'], PersonView['login']>

export const viewPerson = (person: Person, registrations: readonly Registration[], password: Pick<PasswordRecord, 'state'> | undefined): PersonView => ({
  ...{ personId: person.id, name: person.name, state: person.state, registeredBy: person.registeredBy, registeredAt: person.registeredAt },
  callers: registrations.map(({ id, kind, name, state }) => ({ callerId: id, kind: kind as HumanKind, name, state })),
  login: password === undefined ? 'none' : LOGIN[password.state],
})

export const SESSION = z
  .strictObject({
    sessionId: z.string(),
    state: z.enum(['open', 'closed', 'revoked', 'stolen', 'password-changed', 'idle', 'expired']),
    address: z.string().meta({ description: 'Where it was opened from.' }),
    certificate: z.string().optional().meta({ description: 'SHA-256 of the client certificate that it is bound to, hex.' }),
    openedAt: z.string(),
    usedAt: z.string().optional().meta({ description: 'To a minute.' }),
    expiresAt: z.string(),
    endedAt: z.string().optional(),
    isThis: z.boolean().meta({ description: 'Whether this request came by it.' }),
  })
  .meta({ id: 'Session' })
export type SessionView = z.infer<typeof SESSION>

export const viewSession = (
  session: Session,
  { use, state, isThis }: { readonly use: SessionUse | undefined; readonly state: SessionState; readonly isThis: boolean },
): SessionView => ({
  ...{ sessionId: session.id, state, address: session.address },
  ...(session.certificate === undefined ? {} : { certificate: session.certificate }),
  openedAt: session.openedAt.toISOString(),
  ...(use === undefined ? {} : { usedAt: use.usedAt.toISOString() }),
  expiresAt: session.expiresAt.toISOString(),
  ...(session.end === undefined ? {} : { endedAt: session.end.at.toISOString() }),
  isThis,
})

/** What keeps a ticket from being used; undefined: nothing. */
export const ticketFault = (ticket: TicketRecord, wanted: TicketRecord['state'], at: Date): string | undefined =>
  ticket.state === 'used'
    ? 'The ticket was used. Ask an officer for another.'
    : at >= ticket.expiresAt
      ? 'The ticket has ended. Ask an officer for another.'
      : ticket.state === wanted
        ? undefined
        : wanted === 'issued'
          ? 'The password was set with this ticket already. Go on with the one-time codes, or ask an officer for another ticket.'
          : 'Set the password first.'

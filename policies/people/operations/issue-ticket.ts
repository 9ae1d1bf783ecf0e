import { z } from 'zod'
import { base64url, sha256, utf8 } from '../../../core/bytes.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { callerUrn } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import { type TicketRecord, ticketRow } from '../credentials.ts'
import type { Deps } from '../deps.ts'
import { mayUsePassword, type Person } from '../person.ts'
import { PERSON_ID } from '../view.ts'

/** How long a ticket can be used. */
const TICKET_MS = 24 * 3_600_000

interface Target {
  readonly personId: string
  readonly person: Person | undefined
  readonly isSelf: boolean
  readonly mayLogIn: boolean
  readonly record: TicketRecord
  readonly ticket: string
}
const OUTPUT = z
  .strictObject({ ticket: z.string().meta({ description: 'For the person alone. It is shown this once.' }), expiresAt: z.string() })
  .meta({ id: 'Ticket' })

export const issueTicket = ({
  persons,
  callers,
  credentials,
  random,
  now,
}: Pick<Deps, 'persons' | 'callers' | 'credentials' | 'random' | 'now'>): Operation<{ personId: string }, Target, TicketRecord, z.infer<typeof OUTPUT>> =>
  operation({
    name: 'policies.person.issue-ticket',
    summary:
      'Gives out a ticket, with which a person sets password and one-time codes, once, within 24 hours. One that was given out before stops working. Whoever has it becomes the person: hand it over in person.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/policies/persons/{personId}/ticket', status: 201 },
    input: z.strictObject({ personId: PERSON_ID }),
    output: OUTPUT,
    locate: async ({ personId }, caller) => {
      const [person, registrations, standing] = await Promise.all([persons.find(personId), callers.listOf([personId]), credentials.findTicketOf(personId)])
      const ticket = base64url(random(32))
      const at = now()
      const times = { issuedBy: callerUrn(caller), issuedAt: at, expiresAt: new Date(at.getTime() + TICKET_MS) }
      const record: TicketRecord = { personId, digest: sha256(utf8(ticket)), state: 'issued', ...times, version: (standing?.version ?? 0) + 1 }
      const mayLogIn = registrations.some(({ kind, state }) => state === 'active' && mayUsePassword(kind))
      return { personId, person, isSelf: caller.person?.id === personId, mayLogIn, record, ticket }
    },
    uses: () => [],
    facts: ({ personId, record }) => ({ public: { personId, expires: record.expiresAt.toISOString() } }),
    admit: ({ person, isSelf, mayLogIn }) => {
      if (person === undefined) return new Problem('not-found', 'There is no person of this id.')
      if (person.state === 'revoked') return new Problem('conflict', 'The person is revoked.')
      if (!mayLogIn)
        return new Problem('conflict', 'The person is registered neither as business person nor as auditor: officers come in by certificate alone.')
      return isSelf ? new Problem('conflict', 'Nobody gives themselves a ticket: ask another officer.') : undefined
    },
    execute: (_permit, { record }) => Promise.resolve(record),
    record: async (tx, _target, record) => {
      await credentials.putTicket(tx, record)
      return { facts: { rows: [digestRow(ticketRow(record))] } }
    },
    respond: ({ ticket }, record) => ({ ticket, expiresAt: record.expiresAt.toISOString() }),
  })

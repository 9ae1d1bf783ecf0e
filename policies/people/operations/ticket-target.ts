import { sha256, utf8 } from '../../../core/bytes.ts'
import { Problem } from '../../../core/problem.ts'
import type { SealedRow } from '../../../core/row.ts'
import type { OtpRecord, PasswordRecord, TicketRecord } from '../credentials.ts'
import type { Deps } from '../deps.ts'
import type { Person } from '../person.ts'
import { ticketFault } from '../view.ts'

/** What a ticket opens. */
export interface TicketTarget {
  readonly ticket: TicketRecord
  readonly person: Person | undefined
  readonly password: PasswordRecord | undefined
  readonly otp: { readonly otp: OtpRecord; readonly sealed: SealedRow } | undefined
  readonly at: Date
}

/** Throws `ticket-invalid` for a ticket that is none, before anything is decided: whoever guesses gets no entry of their own in the log. */
export async function ticketTarget({ persons, credentials, now }: Pick<Deps, 'persons' | 'credentials' | 'now'>, ticket: string): Promise<TicketTarget> {
  const found = await credentials.findTicket(sha256(utf8(ticket)))
  if (found === undefined) throw new Problem('ticket-invalid', 'There is no such ticket. An officer gives one out (policies.person.issue-ticket).')
  const [person, password, otp] = await Promise.all([
    persons.find(found.personId),
    credentials.findPassword(found.personId),
    credentials.findOtp(found.personId),
  ])
  return { ticket: found, person, password, otp, at: now() }
}

/** Why the ticket does not serve for a step; undefined when it does. */
export function ticketObstacle({ ticket, person, at }: TicketTarget, wanted: TicketRecord['state']): Problem | undefined {
  if (person?.state !== 'active') return new Problem('conflict', 'The person is revoked.')
  const fault = ticketFault(ticket, wanted, at)
  return fault === undefined ? undefined : new Problem('conflict', fault)
}

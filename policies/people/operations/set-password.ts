import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { type Operation, operation } from '../../operation.ts'
import { type PasswordRecord, passwordRow, ticketRow } from '../credentials.ts'
import type { Deps } from '../deps.ts'
import { passwordFault } from '../password-rules.ts'
import { PASSWORD, TICKET } from '../view.ts'
import { ticketObstacle, type TicketTarget, ticketTarget } from './ticket-target.ts'

/** Names that no password may hold besides the person's. */
export const SERVICE_NAMES = ['gridseal']

interface Input {
  readonly ticket: string
  readonly password: string
}
type Target = TicketTarget & { readonly newPassword: string }
const OUTPUT = z
  .strictObject({ name: z.string(), next: z.enum(['totp']) })
  .meta({ id: 'PasswordSet', description: 'One-time codes come next, with the same ticket.' })

/** The password serves only once a one-time code was shown. Sessions end with the one before. */
export const setPassword = (
  deps: Pick<Deps, 'persons' | 'credentials' | 'hasher' | 'random' | 'now'>,
): Operation<Input, Target, PasswordRecord, z.infer<typeof OUTPUT>> =>
  operation({
    name: 'policies.password.set',
    summary: 'Sets a person’s password with a ticket. It serves once one-time codes are set too.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/policies/password', maxBodyBytes: 4096, access: 'anonymous' },
    input: z.strictObject({ ticket: TICKET, password: PASSWORD.meta({ description: 'The new password: 12 to 128 characters.' }) }),
    output: OUTPUT,
    locate: async ({ ticket, password }) => ({ ...(await ticketTarget(deps, ticket)), newPassword: password }),
    uses: () => [],
    facts: ({ ticket }) => ({ public: { personId: ticket.personId } }),
    admit: (target) => {
      const obstacle = ticketObstacle(target, 'issued')
      if (obstacle !== undefined) return obstacle
      const fault = passwordFault(target.newPassword, [found(target.person).name, ...SERVICE_NAMES])
      return fault === undefined ? undefined : new Problem('password-weak', fault)
    },
    execute: async (_permit, { ticket: { personId }, password, newPassword, at }) => {
      const salt = deps.random(16)
      const digest = await deps.hasher.hash(newPassword, { personId, salt })
      return { personId, state: 'set', salt, digest, cost: deps.hasher.cost, setAt: at, version: (password?.version ?? 0) + 1 }
    },
    record: async (tx, { ticket }, password) => {
      const next = { ...ticket, state: 'password-set' as const, version: ticket.version + 1 }
      await deps.credentials.putTicket(tx, next)
      await deps.credentials.putPassword(tx, password)
      return { facts: { rows: [ticketRow(next), passwordRow(password)].map(digestRow) } }
    },
    respond: ({ person }) => ({ name: found(person).name, next: 'totp' }),
  })

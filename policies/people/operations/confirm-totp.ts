import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { type Operation, operation } from '../../operation.ts'
import { type OtpRecord, otpRow, passwordRow, ticketRow } from '../credentials.ts'
import type { Deps } from '../deps.ts'
import { makeRecoveryCodes } from '../recovery-codes.ts'
import { TICKET, TOTP_CODE } from '../view.ts'
import { ticketObstacle, type TicketTarget, ticketTarget } from './ticket-target.ts'

interface Input {
  readonly ticket: string
  readonly code: string
  readonly cookie?: boolean | undefined
}
type Target = TicketTarget & { readonly code: string }
interface Confirmed {
  readonly otp: OtpRecord
  readonly recoveryCodes: readonly string[]
  readonly device: string
}
const OUTPUT = z
  .strictObject({
    name: z.string().meta({ description: 'What the person logs in by.' }),
    recoveryCodes: z
      .array(z.string())
      .meta({ description: 'For when the authenticator is lost: each lets in once in place of a code. They are shown this once.' }),
    device: z
      .string()
      .optional()
      .meta({ description: 'For the logins on this device: failures of others do not make it wait then. Absent where a cookie took it.' }),
  })
  .meta({ id: 'TotpConfirmed' })

/** From here on password and codes serve, and the ticket does not. */
export const confirmTotp = (
  deps: Pick<Deps, 'persons' | 'credentials' | 'check' | 'random' | 'now'>,
): Operation<Input, Target, Confirmed, z.infer<typeof OUTPUT>> =>
  operation({
    name: 'policies.totp.confirm',
    summary: 'Shows a first one-time code: password and codes serve from then on, and the ticket is used up. Answers ten recovery codes.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/policies/totp/confirm', maxBodyBytes: 4096, access: 'anonymous', session: 'knows-device' },
    input: z.strictObject({
      ticket: TICKET,
      code: TOTP_CODE,
      cookie: z.boolean().optional().meta({ description: 'For a browser: `device` goes into a cookie.' }),
    }),
    output: OUTPUT,
    locate: async ({ ticket, code }) => ({ ...(await ticketTarget(deps, ticket)), code }),
    uses: () => [],
    facts: ({ ticket }) => ({ public: { personId: ticket.personId } }),
    admit: (target) => {
      const obstacle = ticketObstacle(target, 'password-set')
      if (obstacle !== undefined) return obstacle
      return target.otp?.otp.state === 'pending' ? undefined : new Problem('conflict', 'Make a secret first (policies.totp.enrol).')
    },
    execute: async (_permit, { ticket: { personId }, otp, code, at }) => {
      const { otp: pending, sealed } = found(otp)
      const used = await deps.check.useCode({ otp: pending, sealedOtp: sealed }, code, at)
      if (typeof used === 'string') throw new Problem('login-failed', 'The code is not right. Is the clock of the device that shows it right?')
      const recoveryCodes = makeRecoveryCodes(deps.random)
      const recovery = await Promise.all(recoveryCodes.map((one) => deps.check.digestOfRecoveryCode(personId, one)))
      return { otp: { ...used, state: 'active', recovery }, recoveryCodes, device: await deps.check.makeDevice(personId) }
    },
    record: async (tx, target, { otp }) => {
      const [ticket, standing] = [{ ...target.ticket, state: 'used' as const, version: target.ticket.version + 1 }, found(target.password)]
      const password = { ...standing, state: 'active' as const, version: standing.version + 1 }
      await deps.credentials.putTicket(tx, ticket)
      await deps.credentials.putPassword(tx, password)
      await deps.credentials.putOtp(tx, otp)
      return { facts: { rows: [ticketRow(ticket), passwordRow(password), otpRow(otp)].map(digestRow) } }
    },
    respond: ({ person }, { recoveryCodes, device }) => ({ name: found(person).name, recoveryCodes: [...recoveryCodes], device }),
  })

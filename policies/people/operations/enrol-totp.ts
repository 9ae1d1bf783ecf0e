import { z } from 'zod'
import { renderSVG } from 'uqr'
import { found } from '../../../core/found.ts'
import { digestRow } from '../../../core/row.ts'
import { type Operation, operation } from '../../operation.ts'
import { type OtpRecord, otpRow, ticketRow } from '../credentials.ts'
import type { Deps } from '../deps.ts'
import { base32, otpauthUri } from '../totp.ts'
import { TICKET } from '../view.ts'
import { ticketObstacle, type TicketTarget, ticketTarget } from './ticket-target.ts'

interface Made {
  readonly otp: OtpRecord
  readonly secret: Uint8Array
}
const OUTPUT = z
  .strictObject({
    uri: z.string().meta({ description: 'otpauth:// URI, for an authenticator program.' }),
    qr: z.string().meta({ description: 'The same as a QR code, SVG.' }),
    secret: z.string().meta({ description: 'The same for typing, base32. It is shown this once.' }),
  })
  .meta({ id: 'TotpSecret' })

/** May be done again until a code was shown: the secret before is gone then. */
export const enrolTotp = (
  deps: Pick<Deps, 'persons' | 'credentials' | 'secrets' | 'now'>,
): Operation<{ ticket: string }, TicketTarget, Made, z.infer<typeof OUTPUT>> =>
  operation({
    name: 'policies.totp.enrol',
    summary: 'Makes the secret of a person’s one-time codes (RFC 6238), with the ticket that their password was set with. A first code confirms it.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/policies/totp', status: 201, maxBodyBytes: 4096, access: 'anonymous' },
    input: z.strictObject({ ticket: TICKET }),
    output: OUTPUT,
    locate: ({ ticket }) => ticketTarget(deps, ticket),
    uses: () => [],
    facts: ({ ticket }) => ({ public: { personId: ticket.personId } }),
    admit: (target) => ticketObstacle(target, 'password-set'),
    execute: async (_permit, { ticket: { personId }, otp }) => {
      const { wrapped, secret } = await deps.secrets.makeOtpSecret()
      return { otp: { personId, state: 'pending', wrapped, lastStep: -1, recovery: [], version: (otp?.otp.version ?? 0) + 1 }, secret }
    },
    record: async (tx, { ticket }, { otp }) => {
      // The ticket's version too: of two that enrol at once, one is told to ask again.
      const next = { ...ticket, version: ticket.version + 1 }
      await deps.credentials.putTicket(tx, next)
      await deps.credentials.putOtp(tx, otp)
      return { facts: { rows: [ticketRow(next), otpRow(otp)].map(digestRow) } }
    },
    respond: ({ person }, { secret }) => {
      const uri = otpauthUri({ issuer: 'Gridseal', account: found(person).name, secret })
      const answer = { uri, qr: renderSVG(uri, { ecc: 'M', border: 4 }), secret: base32(secret) }
      secret.fill(0)
      return answer
    },
  })

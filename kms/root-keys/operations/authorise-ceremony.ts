import { z } from 'zod'
import type { OperationId } from '../../../core/ids.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { TILE_WIDTH } from '../../../policies/audit/index.ts'
import { type Caller, callerUrn } from '../../../policies/caller.ts'
import { byAnotherOfficer, type Operation, operation } from '../../../policies/operation.ts'
import { authorisationRow, CEREMONIES, type Ceremony, type CeremonyAuthorisation } from '../ceremony-authorisation.ts'
import type { Deps } from './deps.ts'
import { officersOnly, REASON } from './views.ts'

interface Input {
  readonly ceremony: Ceremony
  readonly token: string
  readonly before?: number | undefined
  readonly reason: string
  readonly hours: number
}
interface Target {
  readonly caller: Caller
  readonly reason: string
  readonly authorisation: CeremonyAuthorisation
}

const AUTHORISATION = z
  .strictObject({
    authorisationId: z.string(),
    ceremony: z.enum(CEREMONIES),
    token: z.string(),
    before: z.number().optional(),
    authorisedBy: z.string(),
    authorisedAt: z.string(),
    expiresAt: z.string(),
  })
  .meta({ id: 'CeremonyAuthorisation', description: 'Two officers’ decision that the command line may hold a ceremony, once.' })

/** The decision on what is done with the PINs of the token, which never pass through the service: the ceremony asks for it, and uses it up. */
export const authoriseCeremony = ({
  authorisations,
  identity,
  databaseNow,
  newId,
}: Pick<Deps, 'authorisations' | 'identity' | 'databaseNow' | 'newId'>): Operation<Input, Target, CeremonyAuthorisation, z.infer<typeof AUTHORISATION>> =>
  operation({
    name: 'kms.root-key.authorise-ceremony',
    summary: 'Authorises a ceremony that the command line holds with a token, beside the service. Held until another officer has approved it.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/kms/root-keys/ceremonies', status: 201 },
    input: z
      .strictObject({
        ceremony: z.enum(CEREMONIES).meta({
          description:
            'adopt-token: a restored token takes the place of the one in use. replace-checkpoint-key: the log gets a new key in the token in use. prune-log: entries of the log that are in an archive leave the database.',
        }),
        token: z
          .string()
          .regex(/^[!-~]([ -~]{0,62}[!-~])?$/, 'a serial is 1 to 64 characters of ASCII')
          .meta({ description: 'Serial of the token that the ceremony is held with, as `gridseal token show` tells it.', example: '5ee8ff8db9b0e2a1' }),
        before: z
          .int()
          .min(TILE_WIDTH)
          .max(Number.MAX_SAFE_INTEGER)
          .multipleOf(TILE_WIDTH)
          .optional()
          .meta({ description: 'Of prune-log, and of it alone: the first entry that is kept, a multiple of 256.' }),
        reason: REASON,
        hours: z.int().min(1).max(72).meta({ description: 'How long it may be held, from when this is run.', example: 24 }),
      })
      .refine(({ ceremony, before }) => (ceremony === 'prune-log') === (before !== undefined), {
        message: 'prune-log names the first entry that is kept, and no other ceremony does',
        path: ['before'],
      }),
    output: AUTHORISATION,
    locate: async ({ ceremony, token, before, reason, hours }, caller) => {
      const authorisedAt = await databaseNow()
      const expiresAt = new Date(authorisedAt.getTime() + hours * 3_600_000)
      const kept = before === undefined ? {} : { before }
      return {
        caller,
        reason,
        authorisation: { id: newId() as OperationId, ceremony, token, ...kept, authorisedBy: callerUrn(caller), authorisedAt, expiresAt },
      }
    },
    uses: () => [],
    facts: ({ reason, authorisation: { id, ceremony, token, before, expiresAt } }) => ({
      public: { authorisation: id, ceremony, token, ...(before === undefined ? {} : { before }), expiresAt: expiresAt.toISOString() },
      // What people write may name people.
      personal: { reason },
    }),
    admit: ({ caller, authorisation: { ceremony, token } }) => {
      const refused = officersOnly(caller)
      if (refused !== undefined) return refused
      if (ceremony === 'adopt-token')
        return token === identity.serial ? new Problem('conflict', 'This token is in use already: nothing is to be adopted.') : undefined
      return token === identity.serial
        ? undefined
        : new Problem('conflict', 'This is not the token in use: neither its checkpoint key is the log’s, nor does it seal what the service believes.')
    },
    leastHold: () => byAnotherOfficer(24),
    execute: (_permit, { authorisation }) => Promise.resolve(authorisation),
    record: async (tx, _target, authorisation) => {
      await authorisations.insert(tx, authorisation)
      return { facts: { rows: [digestRow(authorisationRow(authorisation))] } }
    },
    respond: (_target, { id, ceremony, token, before, authorisedBy, authorisedAt, expiresAt }) => ({
      ...{ authorisationId: id, ceremony, token, ...(before === undefined ? {} : { before }), authorisedBy },
      ...{ authorisedAt: authorisedAt.toISOString(), expiresAt: expiresAt.toISOString() },
    }),
  })

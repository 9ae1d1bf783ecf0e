import { z } from 'zod'
import { UUID_PATTERN } from '../../core/ids.ts'
import { type Grant, grantRule } from './grant.ts'

export const GRANT_ID = z.string().regex(UUID_PATTERN, 'an id is a UUID in lower case').meta({ description: 'Id of the grant.' })

export const GRANT = z
  .strictObject({
    grantId: z.string(),
    rule: z.string().meta({ description: 'The name that decisions and entries have it by.' }),
    reason: z.string(),
    callers: z.array(z.string()),
    operations: z.array(z.string()),
    zones: z.array(z.string()).meta({ description: 'None: any zone of the policy.' }),
    networks: z.array(z.string()).meta({ description: 'None: any address.' }),
    from: z.string(),
    until: z.string(),
    state: z.enum(['coming', 'live', 'over', 'revoked']),
    issuedBy: z.string().meta({ description: 'URN of who asked for it. Who approved it stands in the log.' }),
    issuedAt: z.string(),
    revoked: z.strictObject({ by: z.string(), at: z.string(), reason: z.string() }).optional(),
  })
  .meta({ id: 'Grant' })
export type GrantView = z.infer<typeof GRANT>

export const viewGrant = (g: Grant, now: Date): GrantView => ({
  ...{ grantId: g.id, rule: grantRule(g), reason: g.reason },
  ...{ callers: [...g.callers], operations: [...g.operations], zones: [...g.zones], networks: [...g.networks] },
  ...{ from: g.from.toISOString(), until: g.until.toISOString(), state: stateOf(g, now), issuedBy: g.issuedBy, issuedAt: g.issuedAt.toISOString() },
  ...(g.revoked === undefined ? {} : { revoked: { ...g.revoked, at: g.revoked.at.toISOString() } }),
})

/** A revoked grant was revoked before it was over. */
export const stateOf = ({ from, until, revoked }: Grant, now: Date): GrantView['state'] =>
  revoked !== undefined ? 'revoked' : now >= until ? 'over' : now < from ? 'coming' : 'live'

import { z } from 'zod'
import { UUID_PATTERN } from '../../core/ids.ts'
import { callerUrn, REGISTERED_KINDS } from '../caller.ts'
import type { Registration } from './caller-store.ts'

export const CALLER_NAME = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,55}$/, 'a name is 1 to 56 of a-z, 0-9, dot, dash, underscore, and begins with a letter or digit')
  .meta({ description: 'Unique within its kind, and never given twice.', example: 'acme-cards' })

export const CALLER_ID = z.string().regex(UUID_PATTERN, 'an id is a UUID in lower case').meta({ description: 'Id of the registration.' })

/** A registration as the API shows it. */
export const REGISTRATION = z
  .strictObject({
    callerId: CALLER_ID,
    kind: z.enum(REGISTERED_KINDS),
    name: CALLER_NAME,
    urn: z.string().meta({ description: 'The SAN URI of its certificates.', example: 'urn:gridseal:vendor:acme-cards' }),
    state: z.enum(['active', 'revoked']),
    registeredBy: z.string(),
    registeredAt: z.string(),
    personId: z.string().optional().meta({ description: 'The person it belongs to. Vendors and modules have none.' }),
  })
  .meta({ id: 'Caller' })
export type RegistrationView = z.infer<typeof REGISTRATION>

export const viewRegistration = (r: Registration): RegistrationView => ({
  callerId: r.id,
  kind: r.kind,
  name: r.name,
  urn: callerUrn(r),
  state: r.state,
  registeredBy: r.registeredBy,
  registeredAt: r.registeredAt,
  ...(r.personId === undefined ? {} : { personId: r.personId }),
})

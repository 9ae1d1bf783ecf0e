import { z } from 'zod'
import { base64 } from '../../core/bytes.ts'
import { type Activation, hasRunOut } from './activation.ts'

const MOST_CHARACTERS = 900_000
export const POLICY_TEXT = z.string().min(1).max(MOST_CHARACTERS).meta({ description: 'The policy, YAML (docs/policy.md).' })
export const REVISION = z
  .string()
  .regex(/^[0-9a-f]{16}$/, 'a revision is 16 hex digits')
  .meta({ description: 'SHA-256 of the text, hex, first 16 digits: as decisions name it.' })

export const ACTIVATION = z
  .strictObject({
    number: z.number().int().meta({ description: 'Of the activation. The highest counts.' }),
    revision: REVISION,
    state: z.enum(['trial', 'confirmed', 'rolled-back']),
    reason: z.string(),
    activatedBy: z.string(),
    activatedAt: z.string(),
    confirmBy: z.string().optional().meta({ description: 'A trial that is not confirmed by then is over.' }),
    returnsTo: z.number().int().optional().meta({ description: 'The activation whose text counts again when a trial is over.' }),
    endedBy: z.string().optional(),
    signature: z.string().meta({ description: 'Of the token’s policy key (docs/policy-revisions.md), base64.' }),
  })
  .meta({ id: 'PolicyActivation' })
export type ActivationView = z.infer<typeof ACTIVATION>

export const viewActivation = (a: Activation, now: Date): ActivationView => ({
  ...{ number: a.number, revision: a.revision, state: hasRunOut(a, now) ? 'rolled-back' : a.state, reason: a.reason, activatedBy: a.activatedBy },
  activatedAt: a.activatedAt.toISOString(),
  ...(a.confirmBy === undefined ? {} : { confirmBy: a.confirmBy.toISOString() }),
  ...(a.returnsTo === undefined ? {} : { returnsTo: a.returnsTo }),
  ...(a.endedBy === undefined ? {} : { endedBy: a.endedBy }),
  signature: base64(a.signature),
})

import { z } from 'zod'
import { iccidFault } from '../../core/iccid.ts'
import { UUID_PATTERN } from '../../core/ids.ts'
import type { Binding } from '../binding.ts'
import { METHODS } from '../challenge.ts'
import { readImei } from '../imei.ts'

/** A check that answers why a text is not of its form. */
const faultless = (text: z.ZodString, faultOf: (text: string) => string | undefined): z.ZodString =>
  text.superRefine((value, ctx) => {
    const message = faultOf(value)
    if (message !== undefined) ctx.addIssue({ code: 'custom', message })
  })

export const ICCID = faultless(z.string().max(20), iccidFault).meta({
  description: 'ICCID: 19 or 20 digits with the check digit.',
  example: '89860012345678901238',
})

export const IMEI = faultless(z.string().max(16), (text) => {
  const read = readImei(text)
  return 'fault' in read ? read.fault : undefined
}).meta({ description: 'IMEI: 14 digits, 15 with its check digit, or 16 with a software version.', example: '490154203237518' })

export const UDID = z.string().regex(UUID_PATTERN, 'a UDID is a UUID in lower case').meta({ description: 'Unique identifier of the device.' })

export const METHOD = z.enum(METHODS).meta({
  description:
    'cmac: by the card’s authentication key. milenage: as a USIM. signature: by the key of its certificate. evidence: a token that names the device too.',
})

/** base64url without padding, of exactly so many bytes. */
export const bytesOf = (lengthBytes: number): z.ZodString =>
  z.string().regex(new RegExp(`^[A-Za-z0-9_-]{${Math.ceil((lengthBytes * 4) / 3)}}$`), `this is ${lengthBytes} bytes in base64url, without padding`)

export const CHALLENGE_ID = bytesOf(32).meta({ description: 'Id of the challenge.' })

export const NONCE = z.string().meta({ description: '32 bytes, base64url. What the card signs or MACs is made of it: see docs/attestation.md.' })

/** The most cards of one request: an entry of each, and of the whole two, go into one group of the log. */
export const MOST_CARDS = 256

export const EVIDENCE = z
  .string()
  .min(1)
  .max(4096)
  .regex(/^[A-Za-z0-9+/]+={0,2}$/, 'evidence is in base64')
  .meta({ description: 'The evidence: a CWT (COSE_Sign1, ES256) in base64. See docs/attestation.md.' })

export const RESULT = z
  .string()
  .meta({ description: 'The attestation result (EAR, a JWT signed by the service): whoever gets it can check it with the keys at /.well-known/jwks.json.' })

export const BINDING = z
  .strictObject({
    bindingId: z.string(),
    iccid: z.string(),
    imei: z.string().meta({ description: '14 digits.' }),
    udid: z.string().optional(),
    level: z.enum(['L1']).meta({ description: 'L1: the evidence was signed by the card.' }),
    state: z.enum(['bound', 'conflict', 'ended']).meta({ description: 'conflict: another claim to the card or the device was proved as well.' }),
    from: z.string(),
    until: z.string().optional().meta({ description: 'Exclusive. Absent: it stands.' }),
    lastProvedAt: z.string(),
    asOf: z.string().meta({ description: 'The time that this answer is about.' }),
  })
  .meta({ id: 'Binding', description: 'That a card sits in a device. Times are RFC 3339.' })
export type BindingView = z.infer<typeof BINDING>

export const viewBinding = (b: Binding, asOf: Date): BindingView => ({
  bindingId: b.id,
  iccid: b.iccid,
  imei: b.imei,
  ...(b.udid === undefined ? {} : { udid: b.udid }),
  level: b.level,
  state: b.until !== undefined && b.until <= asOf ? 'ended' : b.state,
  from: b.from.toISOString(),
  ...(b.until === undefined ? {} : { until: b.until.toISOString() }),
  lastProvedAt: b.lastProvedAt.toISOString(),
  asOf: asOf.toISOString(),
})

import { z } from 'zod'
import { fromHex, hex } from '../../core/bytes.ts'
import { line } from '../reason.ts'
import type { Admission, Assessment, Contact, Organisation } from './admission.ts'

const SHA256 = (about: string) =>
  z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'a SHA-256 digest is 64 hex digits in lower case')
    .meta({ description: about })

export const ORGANISATION = z
  .strictObject({
    name: line(200).meta({ description: 'As the business licence names it.' }),
    licenceNumber: z
      .string()
      .regex(/^[0-9A-Za-z][0-9A-Za-z ./-]{0,63}$/, 'a licence number is 1 to 64 letters, digits, blanks and ./-')
      .meta({ description: 'Number of the business licence.', example: '91330000MA27XXXXXX' }),
    licenceSha256: SHA256('SHA-256 of the licence’s file, hex.'),
  })
  .meta({ id: 'Organisation' })

export const CONTACT = z
  .strictObject({
    name: line(100),
    phone: z
      .string()
      .regex(/^\+?[0-9][0-9 ()/-]{3,30}$/, 'a phone number: digits, and blanks, dashes, slashes or brackets between them')
      .meta({ example: '+86 571 5555 0100' }),
    mail: z.email('a mail address').max(254),
  })
  .meta({ id: 'Contact' })

export const ASSESSMENT = z
  .strictObject({
    reference: line(200).meta({ description: 'What the assessment is found by.' }),
    reportSha256: SHA256('SHA-256 of the report’s file, hex.'),
    expiresAt: z.iso
      .datetime({ offset: true, error: 'a time with its offset (RFC 3339): 2027-11-26T00:00:00+08:00' })
      .meta({ description: 'The caller is admitted until then.' }),
  })
  .meta({ id: 'Assessment' })

export const organisationOf = ({ licenceSha256, ...rest }: z.infer<typeof ORGANISATION>): Organisation => ({ ...rest, licenceSha256: fromHex(licenceSha256) })
export const assessmentOf = ({ reference, reportSha256, expiresAt }: z.infer<typeof ASSESSMENT>): Assessment => ({
  ...{ reference, reportSha256: fromHex(reportSha256), expiresAt: new Date(expiresAt) },
})

const SUMMARY = z.strictObject({
  callerId: z.string(),
  subject: z.string().meta({ description: 'URN of the caller.', example: 'urn:gridseal:vendor:acme-cards' }),
  state: z.enum(['admitted', 'suspended', 'ended']).meta({ description: '`ended`: the assessment is over. Only `admitted` lets the caller in.' }),
  organisation: ORGANISATION,
  assessment: ASSESSMENT,
  version: z.number().int(),
  change: z.enum(['filed', 'changed', 'suspended', 'resumed']).meta({ description: 'What made this version.' }),
  reason: z.string().optional().meta({ description: 'Of a suspension, and of its end.' }),
  changedBy: z.string().meta({ description: 'URN of who asked for it. Who approved it stands in the log.' }),
  changedAt: z.string(),
})
export const ADMISSION_SUMMARY = SUMMARY.meta({ id: 'AdmissionSummary' })
export const ADMISSION = SUMMARY.extend({
  user: CONTACT.meta({ description: 'Who uses it.' }),
  responsible: CONTACT.meta({ description: 'Who is held to account.' }),
}).meta({ id: 'Admission' })
export type AdmissionSummary = z.infer<typeof ADMISSION_SUMMARY>
export type AdmissionView = z.infer<typeof ADMISSION>

/** Without personal values. */
export const summarise = (a: Admission, at: Date): AdmissionSummary => ({
  ...{ callerId: a.callerId, subject: a.subject },
  state: a.state === 'admitted' && at >= a.assessment.expiresAt ? 'ended' : a.state,
  organisation: { ...a.organisation, licenceSha256: hex(a.organisation.licenceSha256) },
  assessment: { reference: a.assessment.reference, reportSha256: hex(a.assessment.reportSha256), expiresAt: a.assessment.expiresAt.toISOString() },
  ...{ version: a.version, change: a.change, changedBy: a.changedBy, changedAt: a.changedAt.toISOString() },
  ...(a.reason === undefined ? {} : { reason: a.reason }),
})

export const viewAdmission = (a: Admission, at: Date): AdmissionView => ({ ...summarise(a, at), user: contact(a.user), responsible: contact(a.responsible) })

const contact = ({ name, phone, mail }: Contact): Contact => ({ name, phone, mail })

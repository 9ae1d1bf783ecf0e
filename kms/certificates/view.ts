import { z } from 'zod'
import { type CertificateRecord, REVOCATION_REASONS } from './certificate.ts'
import { certificatePem } from './issuing.ts'
import { AUTHORITY_NAMES } from './profile.ts'

export const serialText = z
  .string()
  .regex(/^[0-9a-f]{32}$/, 'not a serial number')
  .meta({ description: 'Serial number, 32 hex digits', example: '4f0c2a9d8b7e6f5041322314f5e6d7c8' })

/** A certificate as callers see it. */
export const certificateView = z.object({
  serial: z.string(),
  authority: z.enum(AUTHORITY_NAMES).meta({ description: 'Who signed it' }),
  profile: z.string().meta({ example: 'client' }),
  subjectKind: z.string().meta({ example: 'caller' }),
  subjectId: z.string().meta({ description: 'Id of the registration, for a caller' }),
  state: z.enum(['issued', 'revoked']),
  fingerprint: z.string().meta({ description: 'SHA-256 of the certificate, hex' }),
  notBefore: z.string().meta({ description: 'RFC 3339, UTC' }),
  notAfter: z.string().meta({ description: 'RFC 3339, UTC' }),
  revokedAt: z.string().optional(),
  reason: z.enum(REVOCATION_REASONS).optional(),
  certificate: z.string().meta({ description: 'PEM' }),
})

/** A certificate just issued, with the certificates above it. */
export const issuedView = certificateView.extend({ chain: z.string().meta({ description: 'The issuing CA and the root, PEM' }) })

/** Of a certificate that is issued or revoked. */
export const viewCertificate = (record: CertificateRecord): z.infer<typeof certificateView> => ({
  serial: record.serial,
  authority: record.authority,
  profile: record.profile,
  subjectKind: record.subjectKind,
  subjectId: record.subjectId,
  state: record.state === 'revoked' ? 'revoked' : 'issued',
  fingerprint: record.fingerprint ?? '',
  notBefore: record.notBefore.toISOString(),
  notAfter: record.notAfter.toISOString(),
  ...(record.revoked === undefined ? {} : { revokedAt: record.revoked.at.toISOString(), reason: record.revoked.reason }),
  certificate: certificatePem(record.der ?? new Uint8Array()),
})

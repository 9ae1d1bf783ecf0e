import type { Row, SealedRow } from '../../core/row.ts'
import type { AuthorityName, ProfileName } from './profile.ts'

/** reserved: serial and digest are recorded, and no signature is known. A reserved serial that stays so was burnt by a crash or a failure. */
export type CertificateState = 'reserved' | 'issued' | 'revoked'

/**
 * Reasons of a revocation (RFC 5280 5.3.1), without those that take a certificate back into use (certificateHold, removeFromCRL):
 * a revocation is final here.
 */
export const REVOCATION_REASONS = ['unspecified', 'keyCompromise', 'affiliationChanged', 'superseded', 'cessationOfOperation', 'privilegeWithdrawn'] as const
export type RevocationReason = (typeof REVOCATION_REASONS)[number]

export type SubjectKind = 'authority' | 'service' | 'caller' | 'card'

export interface CertificateRecord {
  /** 32 hex digits. */
  readonly serial: string
  /** Of the row. */
  readonly version: number
  /** Who signed it. */
  readonly authority: AuthorityName
  readonly profile: ProfileName
  readonly subjectKind: SubjectKind
  /** Id of the registration of a caller, or of a card; name of an authority or a service. */
  readonly subjectId: string
  readonly tbsSha256: Uint8Array
  readonly notBefore: Date
  readonly notAfter: Date
  readonly state: CertificateState
  /** From `issued` on. */
  readonly der?: Uint8Array
  /** SHA-256 of {@link der}, hex. */
  readonly fingerprint?: string
  readonly revoked?: { readonly at: Date; readonly reason: RevocationReason }
}

/** A certificate as it was read: whoever relies on it checks the MAC first. */
export interface FoundCertificate {
  readonly record: CertificateRecord
  readonly sealed: SealedRow
}

export const certificateRow = (certificate: CertificateRecord): Row => ({
  table: 'certificates',
  schema: 1,
  id: certificate.serial,
  version: certificate.version,
  columns: {
    authority: certificate.authority,
    profile: certificate.profile,
    subject_kind: certificate.subjectKind,
    subject_id: certificate.subjectId,
    tbs_sha256: certificate.tbsSha256,
    der: certificate.der,
    fingerprint_sha256: certificate.fingerprint,
    not_before: certificate.notBefore.getTime(),
    not_after: certificate.notAfter.getTime(),
    state: certificate.state,
    reason: certificate.revoked?.reason,
    revoked_at: certificate.revoked?.at.getTime(),
  },
})

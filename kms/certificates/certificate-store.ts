import type { Row } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { CertificateRecord, FoundCertificate, SubjectKind } from './certificate.ts'
import type { AuthorityName } from './profile.ts'

/**
 * Every certificate, from the moment its serial is taken. Not trusted: a reader checks the row's MAC before it relies on a row.
 * Reads see what was committed when they ran; writes stand with their transaction.
 */
export interface CertificateStore {
  /** Reads of one turn of the event loop share one statement. */
  findBySerial(serial: string): Promise<FoundCertificate | undefined>
  /** By SHA-256 of the certificate, hex. Reads of one turn of the event loop share one statement. */
  findByFingerprint(fingerprint: string): Promise<FoundCertificate | undefined>
  /** The subject's certificate that is issued, not revoked, and ends last. It may have ended. */
  findCurrent(kind: SubjectKind, subjectId: string): Promise<FoundCertificate | undefined>
  /**
   * Of each subject the certificate that was issued last, also a revoked one: the latest beginning; of one second the one that is not revoked.
   * A subject that has none is left out.
   */
  findLast(kind: SubjectKind, subjectIds: readonly string[]): Promise<Map<string, FoundCertificate>>
  /** Serials of what the authority signed and what was revoked at `since` or later (default: ever), by date and serial. Says nothing of the rows' MACs. */
  listRevoked(authority: AuthorityName, since?: Date): Promise<{ readonly serial: string; readonly revokedAt: Date }[]>
  /** How many {@link listRevoked} would answer. */
  countRevoked(authority: AuthorityName, since: Date): Promise<number>
  /** Takes the serials. */
  reserveCertificates(tx: Tx, certificates: readonly CertificateRecord[]): Promise<Row[]>
  /** Writes each record over version `version - 1`. Throws `conflict` when that is not the present one, or a second certificate of an authority would be issued. */
  replaceCertificates(tx: Tx, certificates: readonly CertificateRecord[]): Promise<Row[]>
}

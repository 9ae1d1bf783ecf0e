import type { Row } from '../../core/row.ts'
import type { Caller } from '../caller.ts'

/** A company, as its business licence names it. */
export interface Organisation {
  readonly name: string
  /** Of the business licence. */
  readonly licenceNumber: string
  /** SHA-256 of the licence's file, as it was handed in. */
  readonly licenceSha256: Uint8Array
}

/** Somebody of the organisation. */
export interface Contact {
  readonly name: string
  readonly phone: string
  readonly mail: string
}

/** That the system was looked at before it was connected, and until when that counts. */
export interface Assessment {
  readonly reference: string
  /** SHA-256 of the report's file. */
  readonly reportSha256: Uint8Array
  readonly expiresAt: Date
}

/**
 * The security record of a vendor or module: who stands behind it, who uses it and who answers for it, and its assessment. Each change is a version of its own, and all
 * are kept: the highest one counts.
 */
export interface Admission {
  /** Of the registration. */
  readonly callerId: string
  /** URN of the caller. */
  readonly subject: string
  readonly organisation: Organisation
  readonly user: Contact
  /** Who is held to account. */
  readonly responsible: Contact
  readonly assessment: Assessment
  readonly state: 'admitted' | 'suspended'
  /** What made this version. */
  readonly change: 'filed' | 'changed' | 'suspended' | 'resumed'
  /** Of a suspension, and of its end. */
  readonly reason?: string
  /** URN of who asked for it. */
  readonly changedBy: string
  readonly changedAt: Date
  /** 16 random bytes, of each version anew: the log has the digest of the row, and nobody is to guess a phone number from it. */
  readonly salt: Uint8Array
  readonly version: number
}

export const admissionRow = (a: Admission): Row => ({
  table: 'admissions',
  schema: 1,
  id: a.callerId,
  version: a.version,
  columns: {
    subject: a.subject,
    organisation: a.organisation.name,
    licence_number: a.organisation.licenceNumber,
    licence_sha256: a.organisation.licenceSha256,
    user_name: a.user.name,
    user_phone: a.user.phone,
    user_mail: a.user.mail,
    responsible_name: a.responsible.name,
    responsible_phone: a.responsible.phone,
    responsible_mail: a.responsible.mail,
    assessment: a.assessment.reference,
    report_sha256: a.assessment.reportSha256,
    expires_at: a.assessment.expiresAt.toISOString(),
    state: a.state,
    change: a.change,
    reason: a.reason,
    changed_by: a.changedBy,
    changed_at: a.changedAt.toISOString(),
    salt: a.salt,
  },
})

/** What the admission gives its caller: nothing while it is suspended. */
export const admissionOf = (admission: Admission | undefined): Pick<Caller, 'admittedUntil'> =>
  admission?.state === 'admitted' ? { admittedUntil: admission.assessment.expiresAt.getTime() } : {}

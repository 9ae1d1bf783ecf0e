import { createPublicKey, X509Certificate } from 'node:crypto'
import { equalBytes, hex, sha256 } from '../../core/bytes.ts'
import { readDer, readDerValues } from '../../core/der.ts'
import { Problem } from '../../core/problem.ts'
import type { Permit } from '../../policies/permit.ts'
import type { Hsm } from '../../pkcs11/index.ts'
import type { CertificateRecord, SubjectKind } from './certificate.ts'
import { type DistinguishedName, encodeName, type GeneralName } from './names.ts'
import { AUTHORITIES, type AuthorityName, compileProfile, type IssuerNames, PROFILES, type ProfileName } from './profile.ts'
import { assembleCertificate, keyIdentifier, serialFrom, spliceTbs } from './splice.ts'

/** A certificate that is ready to be signed. Its serial and the digest of `tbs` are recorded first. */
export interface PlannedCertificate {
  readonly record: CertificateRecord
  readonly tbs: Uint8Array
}

/** An authority with a certificate. */
export interface Issuer extends IssuerNames {
  readonly notBefore: Date
  readonly notAfter: Date
}

export interface PlanRequest {
  readonly profile: ProfileName
  /** `undefined`: the certificate is self-signed. */
  readonly issuer: Issuer | IssuerNames | undefined
  readonly organization: string
  readonly subject: DistinguishedName
  readonly subjectKind: SubjectKind
  readonly subjectId: string
  readonly spki: Uint8Array
  readonly names: readonly GeneralName[]
  readonly now: Date
  /** Default and longest: the profile's. */
  readonly days?: number
  /** 16 random bytes. */
  readonly random: Uint8Array
}

/** Certificates begin this long before they are made, for verifiers whose clock is slow. */
const BACKDATED_MS = 5 * 60_000
const DAY_MS = 86_400_000

/** Pure. The end is never after the issuer's, and the beginning never before it (the shell model of validity). */
export function planCertificate(request: PlanRequest): PlannedCertificate {
  const { profile, organization, spki, names, now, issuer } = request
  const second = Math.floor(now.getTime() / 1000) * 1000
  const within = issuer !== undefined && 'notAfter' in issuer ? issuer : undefined
  const notBefore = new Date(Math.max(second - BACKDATED_MS, within?.notBefore.getTime() ?? 0))
  const days = Math.min(request.days ?? PROFILES[profile].days, PROFILES[profile].days)
  const notAfter = new Date(Math.min(second + days * DAY_MS, within?.notAfter.getTime() ?? Number.POSITIVE_INFINITY))
  const subject = encodeName(request.subject)
  const serial = serialFrom(request.random)
  const template = compileProfile(profile, issuer ?? { name: subject, keyIdentifier: keyIdentifier(spki) }, organization)
  const tbs = spliceTbs(template, { serial, notBefore, notAfter, subject, spki, names })
  const { subjectKind, subjectId } = request
  return {
    tbs,
    record: {
      serial: hex(serial),
      version: 1,
      authority: PROFILES[profile].issuer,
      profile,
      subjectKind,
      subjectId,
      tbsSha256: sha256(tbs),
      notBefore,
      notAfter,
      state: 'reserved',
    },
  }
}

/**
 * Signs, and checks what came back before anybody sees it: each certificate parses, holds the planned bytes, and verifies under the authority's key.
 * Returns the records as issued. Throws `hsm-failed` when a check fails.
 */
export async function signPlanned(permit: Permit, hsm: Hsm, planned: readonly PlannedCertificate[]): Promise<CertificateRecord[]> {
  const issued: CertificateRecord[] = []
  for (const authority of new Set(planned.map(({ record }) => record.authority))) {
    const batch = planned.filter(({ record }) => record.authority === authority)
    const signatures = await hsm.signWithRoot(
      permit,
      AUTHORITIES[authority],
      batch.map(({ tbs }) => tbs),
    )
    const key = spkiKey(hsm.rootPublicKey(AUTHORITIES[authority]))
    batch.forEach(({ record, tbs }, at) => {
      const der = assembleCertificate(tbs, signatures[at] ?? new Uint8Array())
      const certificate = new X509Certificate(der)
      if (!certificate.verify(key) || certificate.serialNumber.toLowerCase() !== record.serial || !equalBytes(certificate.raw, der)) {
        throw new Problem('hsm-failed', 'The HSM gave a signature that does not verify. No certificate was issued.')
      }
      issued.push({ ...record, version: 2, state: 'issued', der, fingerprint: hex(sha256(der)) })
    })
  }
  return issued
}

/** The authority as an issuer, from its own certificate. Throws `integrity-failed` when its key is not the one in the token. */
export function issuerOf(authority: AuthorityName, record: CertificateRecord, hsm: Hsm): Issuer {
  const parts = certificateParts(record.der ?? new Uint8Array())
  if (!equalBytes(parts.spki, hsm.rootPublicKey(AUTHORITIES[authority]))) {
    throw new Problem('integrity-failed', `The certificate of the ${authority} CA is not that of the key in the token.`)
  }
  return { name: parts.subject, keyIdentifier: keyIdentifier(parts.spki), notBefore: record.notBefore, notAfter: record.notAfter }
}

/** DER of the subject and the SPKI of one of our own certificates (version 3, so the order of fields is known). */
function certificateParts(der: Uint8Array): { readonly subject: Uint8Array; readonly spki: Uint8Array } {
  const [tbs] = readDerValues(readDer(der).content)
  const [, , , , , subject, spki] = readDerValues(tbs?.content ?? new Uint8Array())
  if (subject === undefined || spki === undefined) throw new Problem('integrity-failed', 'A stored certificate cannot be read.')
  return { subject: subject.raw, spki: spki.raw }
}

const spkiKey = (spki: Uint8Array) => createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })

export const certificatePem = (der: Uint8Array): string => new X509Certificate(der).toString()

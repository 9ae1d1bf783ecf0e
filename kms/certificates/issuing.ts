import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto'
import { equalBytes, hex, sha256 } from '../../core/bytes.ts'
import { readDer, readDerValues } from '../../core/der.ts'
import { isEcdsaSignature } from '../../core/ecdsa.ts'
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

/** What certificates that are planned together share. */
export interface PlanBatch {
  readonly profile: ProfileName
  /** `undefined`: the certificate is self-signed. */
  readonly issuer: Issuer | IssuerNames | undefined
  readonly organization: string
  /** Base URL of the CRLs, for the distribution point. Absent: none. */
  readonly crlUrl?: string | undefined
  readonly now: Date
  /** Default and longest: the profile's. */
  readonly days?: number
}

/** What is each certificate's own. */
export interface PlanSubject {
  readonly subject: DistinguishedName
  readonly subjectKind: SubjectKind
  readonly subjectId: string
  readonly spki: Uint8Array
  readonly names: readonly GeneralName[]
  /** 16 random bytes. */
  readonly random: Uint8Array
}

export type PlanRequest = PlanBatch & PlanSubject

/** Certificates begin this long before they are made, for verifiers whose clock is slow. */
const BACKDATED_MS = 5 * 60_000
const DAY_MS = 86_400_000

/** Pure. The end is never after the issuer's, and the beginning never before it (the shell model of validity). */
export const planCertificate = (request: PlanRequest): PlannedCertificate => certificatePlanner(request)(request)

/** {@link planCertificate} for many: the profile is compiled once. Pure. */
export function certificatePlanner({ profile, issuer, organization, crlUrl, now, days }: PlanBatch): (subject: PlanSubject) => PlannedCertificate {
  const second = Math.floor(now.getTime() / 1000) * 1000
  const within = issuer !== undefined && 'notAfter' in issuer ? issuer : undefined
  const notBefore = new Date(Math.max(second - BACKDATED_MS, within?.notBefore.getTime() ?? 0))
  const longest = PROFILES[profile].days
  const notAfter = new Date(Math.min(second + Math.min(days ?? longest, longest) * DAY_MS, within?.notAfter.getTime() ?? Number.POSITIVE_INFINITY))
  const compiled = issuer && compileProfile(profile, issuer, organization, crlUrl)
  return ({ subject: name, subjectKind, subjectId, spki, names, random }) => {
    const subject = encodeName(name)
    const serial = serialFrom(random)
    const template = compiled ?? compileProfile(profile, { name: subject, keyIdentifier: keyIdentifier(spki) }, organization, crlUrl)
    const tbs = spliceTbs(template, { serial, notBefore, notAfter, subject, spki, names })
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
}

/**
 * Signs, and checks what came back before anybody sees it: each certificate holds the planned bytes and a signature that verifies under the authority's key.
 * One of each batch is read by OpenSSL as well: all of a batch are spliced alike, and its reading costs twice what the rest does.
 * Returns the records as issued, in their order. Throws `hsm-failed` when a check fails.
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
    const ders = batch.map(({ tbs }, at) => assembleCertificate(tbs, signatures[at] ?? new Uint8Array()))
    const checks = await Promise.all(batch.map(({ tbs }, at) => isEcdsaSignature(key, tbs, signatures[at] ?? new Uint8Array())))
    if (!checks.every(Boolean) || !batch.every(({ record }, at) => at > 0 || isReadable(ders[at] ?? new Uint8Array(), record.serial, key))) {
      throw new Problem('hsm-failed', 'The HSM gave a signature that does not verify. No certificate was issued.')
    }
    batch.forEach(({ record }, at) => {
      const der = ders[at] ?? new Uint8Array()
      issued.push({ ...record, version: 2, state: 'issued', der, fingerprint: hex(sha256(der)) })
    })
  }
  return issued
}

/** Whether OpenSSL reads the same in the bytes. */
function isReadable(der: Uint8Array, serial: string, key: KeyObject): boolean {
  const certificate = new X509Certificate(der)
  return certificate.verify(key) && certificate.serialNumber.toLowerCase() === serial && equalBytes(certificate.raw, der)
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
export function certificateParts(der: Uint8Array): { readonly subject: Uint8Array; readonly spki: Uint8Array } {
  const [tbs] = readDerValues(readDer(der).content)
  const [, , , , , subject, spki] = readDerValues(tbs?.content ?? new Uint8Array())
  if (subject === undefined || spki === undefined) throw new Problem('integrity-failed', 'A stored certificate cannot be read.')
  return { subject: subject.raw, spki: spki.raw }
}

export const spkiKey = (spki: Uint8Array) => createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })

export const certificatePem = (der: Uint8Array): string => new X509Certificate(der).toString()

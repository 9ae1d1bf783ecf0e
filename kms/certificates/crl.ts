import { verify } from 'node:crypto'
import { equalBytes, hex, sha256 } from '../../core/bytes.ts'
import { constructed, readDer, readDerValues, sequence, smallInteger, TAG, time, tlv } from '../../core/der.ts'
import { Problem } from '../../core/problem.ts'
import type { Row, SealedRow } from '../../core/row.ts'
import type { CertificateRecord, RevocationReason } from './certificate.ts'
import { authorityKeyIdentifier, crlNumber, reasonCode } from './extensions.ts'
import { spkiKey } from './issuing.ts'
import { type AuthorityName, ECDSA_SHA256, type IssuerNames } from './profile.ts'
import { assembleCertificate } from './splice.ts'

/** A CRL is good for this long; a new one comes each day, so that verifiers outlive some days without the service. */
export const CRL_DAYS = 7

/** A list as it is served. */
export interface IssuedCrl {
  /** CRLNumber (RFC 5280 5.2.3). */
  readonly number: number
  /** Whole seconds. */
  readonly thisUpdate: Date
  readonly nextUpdate: Date
  /** Entries. */
  readonly count: number
  /** Of what it lists, how many were revoked within {@link OVERLAP_MS} before {@link thisUpdate} or later: another count in the database means a new list. */
  readonly recent: number
  /** SHA-256 of the DER. */
  readonly digest: Uint8Array
}

/** What is known of an authority's CRLs. */
export interface CrlRecord {
  readonly authority: AuthorityName
  /** Of the row. */
  readonly version: number
  /** The highest number that was ever taken. Above the issued one: a crash or failure burnt it, or its list is being signed. */
  readonly plannedNumber: number
  /** SHA-256 of the TBSCertList that was planned with it. */
  readonly plannedTbsSha256: Uint8Array
  readonly issued?: IssuedCrl
}

export interface FoundCrl {
  readonly record: CrlRecord
  readonly sealed: SealedRow
}

export const crlRow = ({ authority, version, plannedNumber, plannedTbsSha256, issued }: CrlRecord): Row => ({
  table: 'crls',
  schema: 1,
  id: authority,
  version,
  columns: {
    planned_number: plannedNumber,
    planned_tbs_sha256: plannedTbsSha256,
    number: issued?.number,
    this_update: issued?.thisUpdate.getTime(),
    next_update: issued?.nextUpdate.getTime(),
    count: issued?.count,
    recent: issued?.recent,
    digest: issued?.digest,
  },
})

/**
 * Revocations are looked for from this long before the last list: the clocks of nodes differ, and a revocation may commit after a list that was made after it.
 * Those that are listed already are passed over.
 */
export const OVERLAP_MS = 3_600_000

/** RFC 5280 5.3.1. `unspecified` is said by leaving the extension out. */
const REASON_CODES = { keyCompromise: 1, affiliationChanged: 3, superseded: 4, cessationOfOperation: 5, privilegeWithdrawn: 9 } as const satisfies Record<
  Exclude<RevocationReason, 'unspecified'>,
  number
>
const REASONS = new Map(Object.entries(REASON_CODES).map(([reason, code]) => [reason, sequence(reasonCode(code))]))

/** One of `revokedCertificates` (RFC 5280 5.1.2.6). Always a two-byte header and a serial of 16 bytes: {@link listedIn} counts on it. */
export const crlEntry = ({ serial, revoked }: Pick<CertificateRecord, 'serial' | 'revoked'>): Uint8Array =>
  sequence(
    tlv(TAG.integer, Buffer.from(serial, 'hex')),
    time(revoked?.at ?? new Date(0)),
    ...[REASONS.get(revoked?.reason ?? '')].filter((extensions) => extensions !== undefined),
  )

export interface CrlParts {
  readonly issuer: IssuerNames
  readonly number: number
  readonly thisUpdate: Date
  readonly nextUpdate: Date
  /** {@link crlEntry}s, one after the other. */
  readonly entries: Uint8Array
}

/** The DER of a TBSCertList, version 2 (RFC 5280 5.1.2). A list of nothing leaves `revokedCertificates` out (5.1.2.6). */
export const encodeTbsCrl = ({ issuer, number, thisUpdate, nextUpdate, entries }: CrlParts): Uint8Array =>
  sequence(
    smallInteger(1),
    ECDSA_SHA256,
    issuer.name,
    time(thisUpdate),
    time(nextUpdate),
    ...(entries.length === 0 ? [] : [sequence(entries)]),
    constructed(0, sequence(authorityKeyIdentifier(issuer.keyIdentifier), crlNumber(number))),
  )

/** The CertificateList, from its TBSCertList and the raw r||s signature. Throws `hsm-failed` on a signature that does not verify under the key (SPKI DER). */
export function assembleCrl(tbs: Uint8Array, signature: Uint8Array, spki: Uint8Array): Uint8Array {
  if (!verify('sha256', tbs, { key: spkiKey(spki), dsaEncoding: 'ieee-p1363' }, signature)) {
    throw new Problem('hsm-failed', 'The HSM gave a signature that does not verify. No CRL was issued.')
  }
  return assembleCertificate(tbs, signature)
}

/** What a list says. */
export interface Listed {
  /** Its entries as they stand there. */
  readonly entries: Uint8Array
  /** Their serials, 32 hex digits each. */
  readonly serials: ReadonlySet<string>
}
export const NOTHING_LISTED: Listed = { entries: new Uint8Array(), serials: new Set() }

/** Throws `integrity-failed` unless the SHA-256 of the DER is the digest in the row that names it. */
export function assertIssuedCrl(der: Uint8Array, { authority, digest }: { readonly authority: AuthorityName; readonly digest: Uint8Array }): void {
  if (!equalBytes(sha256(der), digest)) throw notTheIssued(authority)
}

const notTheIssued = (authority: AuthorityName): Problem =>
  new Problem('integrity-failed', `The stored CRL of the ${authority} CA is not the one that was issued.`)

/** The entries of one of our own lists. Throws `integrity-failed` unless its SHA-256 is `digest`. */
export function listedIn(der: Uint8Array, { authority, digest, count }: { authority: AuthorityName; digest: Uint8Array; count: number }): Listed {
  assertIssuedCrl(der, { authority, digest })
  const [tbs] = readDerValues(readDer(der).content)
  const fields = readDerValues(tbs?.content ?? new Uint8Array())
  const entries = fields.length === 7 ? (fields[5]?.content ?? new Uint8Array()) : new Uint8Array()
  const serials = new Set<string>()
  for (let at = 0; at < entries.length; at += 2 + (entries[at + 1] ?? 0)) serials.add(hex(entries.subarray(at + 4, at + 20)))
  if (serials.size !== count) throw notTheIssued(authority)
  return { entries, serials }
}

import { constructed, oid, sequence, smallInteger } from '../../core/der.ts'
import { ROOT_KEYS, type RootKeyId } from '../../pkcs11/index.ts'
import {
  authorityKeyIdentifier,
  basicConstraints,
  crlDistributionPoint,
  extendedKeyUsage,
  keyUsage,
  onlySubjectsBelow,
  type Purpose,
  type Usage,
} from './extensions.ts'
import { type DistinguishedName, encodeName } from './names.ts'

/** The three authorities, and the key in the token that each signs with. */
export const AUTHORITIES = { root: ROOT_KEYS.root, callers: ROOT_KEYS.callers, cards: ROOT_KEYS.cards } as const satisfies Record<string, RootKeyId>
export type AuthorityName = keyof typeof AUTHORITIES
export const AUTHORITY_NAMES = ['root', 'callers', 'cards'] as const satisfies readonly AuthorityName[]

/** What else the token signs with for others to check: each of these keys has a certificate under the root. */
export const SERVICE_KEYS = { delivery: ROOT_KEYS.delivery, statement: ROOT_KEYS.statement } as const satisfies Record<string, RootKeyId>
export type ServicePurpose = keyof typeof SERVICE_KEYS
export const SERVICE_PURPOSES = Object.keys(SERVICE_KEYS) as ServicePurpose[]

interface Profile {
  readonly issuer: AuthorityName
  /** Of a CA: how many CAs may follow. */
  readonly pathLength?: number
  readonly usages: readonly Usage[]
  readonly purposes?: readonly Purpose[]
  /** Of a CA: the OU below which its subjects stand. */
  readonly subjectsBelow?: string
  readonly days: number
}

/** What certificates there are; docs/certificates.md has the same table in words. `days` is the longest, and for all but clients the only, validity. */
export const PROFILES = {
  'root-ca': { issuer: 'root', pathLength: 1, usages: ['keyCertSign', 'cRLSign'], days: 7305 },
  'callers-ca': { issuer: 'root', pathLength: 0, usages: ['keyCertSign', 'cRLSign'], purposes: ['clientAuth'], subjectsBelow: 'callers', days: 3652 },
  'cards-ca': { issuer: 'root', pathLength: 0, usages: ['keyCertSign', 'cRLSign'], subjectsBelow: 'cards', days: 3652 },
  'client': { issuer: 'callers', usages: ['digitalSignature'], purposes: ['clientAuth'], days: 825 },
  'tls-server': { issuer: 'root', usages: ['digitalSignature'], purposes: ['serverAuth'], days: 90 },
  'delivery': { issuer: 'root', usages: ['digitalSignature'], days: 1826 },
  'statement': { issuer: 'root', usages: ['digitalSignature'], days: 1826 },
  'card': { issuer: 'cards', usages: ['digitalSignature'], days: 3652 },
} as const satisfies Record<string, Profile>
export type ProfileName = keyof typeof PROFILES

export const CA_PROFILES = { root: 'root-ca', callers: 'callers-ca', cards: 'cards-ca' } as const satisfies Record<AuthorityName, ProfileName>

/** Subjects, all below the operator's organisation. The CN of a client holds a colon, so that nobody takes it for a DNS name. */
export const subjectOf = {
  authority: (organization: string, name: AuthorityName): DistinguishedName => [
    ['O', organization],
    ['CN', `Gridseal ${name} CA`],
  ],
  service: (organization: string, name: string): DistinguishedName => [
    ['O', organization],
    ['OU', 'services'],
    ['CN', `service:${name}`],
  ],
  client: (organization: string, caller: { readonly kind: string; readonly name: string }): DistinguishedName => [
    ['O', organization],
    ['OU', 'callers'],
    ['CN', `${caller.kind}:${caller.name}`],
  ],
  card: (organization: string, iccid: string): DistinguishedName => [
    ['O', organization],
    ['OU', 'cards'],
    ['serialNumber', iccid],
  ],
} as const

/** What of an issuer stands in the certificates that it signs. */
export interface IssuerNames {
  /** DER of its subject. */
  readonly name: Uint8Array
  readonly keyIdentifier: Uint8Array
}

/** A profile compiled for one issuer: the parts of a TBSCertificate that do not change. */
export interface Template {
  /** `version [0] EXPLICIT v3`. */
  readonly version: Uint8Array
  /** Signature algorithm and issuer, between serial and validity. */
  readonly issuer: Uint8Array
  /** The extensions that are the same in each certificate; those of the subject follow. */
  readonly extensions: Uint8Array
}

/** ecdsa-with-SHA256 (RFC 5758 3.2): no parameters. */
export const ECDSA_SHA256 = sequence(oid('1.2.840.10045.4.3.2'))
const V3 = constructed(0, smallInteger(2))

/** Where the CRL of an authority is served, below the base URL that verifiers reach. */
export const crlUrlOf = (crlUrl: string, authority: AuthorityName): string => `${crlUrl}/crl/${authority}.crl`

/**
 * Compiles a profile for an issuer. `organization` stands in name constraints. `crlUrl`: base URL of the CRLs; absent, certificates name none.
 * The root's own certificate never does: a trust anchor is not revoked by its own word.
 */
export function compileProfile(name: ProfileName, issuer: IssuerNames, organization: string, crlUrl?: string): Template {
  const profile: Profile = PROFILES[name]
  const extensions = [
    basicConstraints(profile.pathLength),
    keyUsage(profile.usages),
    ...(profile.purposes === undefined ? [] : [extendedKeyUsage(profile.purposes)]),
    ...(profile.subjectsBelow === undefined
      ? []
      : [
          onlySubjectsBelow(
            encodeName([
              ['O', organization],
              ['OU', profile.subjectsBelow],
            ]),
          ),
        ]),
    authorityKeyIdentifier(issuer.keyIdentifier),
    ...(crlUrl === undefined || name === 'root-ca' ? [] : [crlDistributionPoint(crlUrlOf(crlUrl, profile.issuer))]),
  ]
  return { version: V3, issuer: Buffer.concat([ECDSA_SHA256, issuer.name]), extensions: Buffer.concat(extensions) }
}

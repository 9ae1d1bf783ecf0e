import { X509Certificate } from 'node:crypto'
import { Certificate } from 'pkijs'
import { BitString } from 'asn1js'
import { equalBytes, fromBase64, sha256 } from '../core/bytes.ts'
import type { Row } from '../core/row.ts'

/**
 * A card vendor. Who changes its encryption certificate gets all its keys: the certificate stands inside the row MAC and the log, and two officers
 * confirm its fingerprint, which they have from the vendor by another way.
 */
export interface Vendor {
  readonly id: string
  /** As people call it. */
  readonly name: string
  /** Its name as a caller: `acme-cards` of `urn:gridseal:vendor:acme-cards`. */
  readonly callerName: string
  /** X.509, DER: RSA of 3072 bits at least. Transport keys are encrypted to it. */
  readonly certificate: Uint8Array
  /** SHA-256 of `certificate`. */
  readonly fingerprint: Uint8Array
  /** URNs of the officers who confirmed the fingerprint: none, one or two. */
  readonly confirmers: readonly string[]
  readonly registeredBy: string
  /** RFC 3339. */
  readonly registeredAt: string
  readonly version: number
}

export const isConfirmed = (vendor: Vendor): boolean => vendor.confirmers.length >= 2

/** What of a vendor is sealed. */
export const vendorRow = (v: Vendor): Row => ({
  table: 'vendors',
  schema: 1,
  id: v.id,
  version: v.version,
  columns: {
    name: v.name,
    caller_name: v.callerName,
    certificate: v.certificate,
    fingerprint: v.fingerprint,
    first_confirmer: v.confirmers[0],
    second_confirmer: v.confirmers[1],
    registered_by: v.registeredBy,
    registered_at: v.registeredAt,
  },
})

const PEM = /^-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]{1,16384})-----END CERTIFICATE-----\r?\n?$/
const KEY_USAGE = '2.5.29.15'
const KEY_ENCIPHERMENT = 0x20
const [MIN_BITS, MAX_BITS] = [3072, 4096]

/** Reads a vendor's encryption certificate: exactly one, PEM, RSA of 3072 to 4096 bits, valid now, no CA, for key encipherment where it says what it is for. */
export function readEncryptionCertificate(pem: string, now: Date): { readonly der: Uint8Array; readonly fingerprint: Uint8Array } | { readonly fault: string } {
  const body = PEM.exec(pem)?.[1]
  if (body === undefined) return { fault: 'this must be one certificate in PEM, and nothing else' }
  const der = fromBase64(body.replaceAll(/[\r\n]/g, ''))
  const certificate = parse(der)
  if (certificate === undefined || !equalBytes(certificate.raw, der)) return { fault: 'this is no X.509 certificate' }
  const fault = encryptionFault(certificate, now)
  return fault === undefined ? { der, fingerprint: sha256(der) } : { fault }
}

/** Why keys cannot be encrypted to this certificate at this time; undefined where they can. OpenSSL takes certificates whose key or extensions nobody can read. */
export function encryptionFault(certificate: X509Certificate, now: Date): string | undefined {
  try {
    return faultOf(certificate, now)
  } catch {
    return 'its key or its extensions cannot be read'
  }
}

function faultOf(certificate: X509Certificate, now: Date): string | undefined {
  const { asymmetricKeyType, asymmetricKeyDetails } = certificate.publicKey
  const bits = asymmetricKeyDetails?.modulusLength ?? 0
  if (asymmetricKeyType !== 'rsa') return 'the key must be RSA (rsaEncryption)'
  if (bits < MIN_BITS || bits > MAX_BITS) return `the RSA key must have ${MIN_BITS} to ${MAX_BITS} bits, it has ${bits}`
  if (asymmetricKeyDetails?.publicExponent !== 65_537n) return 'the public exponent must be 65537'
  if (certificate.ca) return 'a CA certificate encrypts nothing: this must be an end entity'
  const [from, to] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)]
  if (Number.isNaN(from) || Number.isNaN(to)) return 'its dates cannot be read'
  if (now.getTime() < from) return `it is not valid before ${certificate.validFrom}`
  if (now.getTime() >= to) return `it is not valid since ${certificate.validTo}`
  return mayEncipherKeys(certificate.raw) ? undefined : 'its key usage does not allow key encipherment (RFC 5280 4.2.1.3)'
}

/** SubjectPublicKeyInfo, DER, of the vendor's encryption key. */
export const recipientOf = (vendor: Vendor): Uint8Array => new X509Certificate(vendor.certificate).publicKey.export({ format: 'der', type: 'spki' })

function parse(der: Uint8Array): X509Certificate | undefined {
  try {
    return new X509Certificate(der)
  } catch {
    return undefined
  }
}

/** A certificate without the extension says nothing, and may. */
function mayEncipherKeys(der: Uint8Array): boolean {
  const usage = Certificate.fromBER(new Uint8Array(der)).extensions?.find(({ extnID }) => extnID === KEY_USAGE)?.parsedValue as unknown
  return usage === undefined || (usage instanceof BitString && ((usage.valueBlock.valueHexView[0] ?? 0) & KEY_ENCIPHERMENT) !== 0)
}

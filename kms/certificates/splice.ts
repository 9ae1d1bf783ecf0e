import { bitString, constructed, ecdsaSignature, readDer, readDerValues, sequence, tlv, TAG, time } from '../../core/der.ts'
import { sha256 } from '../../core/bytes.ts'
import { subjectAltName, subjectKeyIdentifier } from './extensions.ts'
import type { GeneralName } from './names.ts'
import { ECDSA_SHA256, type Template } from './profile.ts'

/** What changes from one certificate of a profile to the next. */
export interface SubjectParts {
  /** 16 bytes, the first 01 to 7f: positive and in its shortest form. */
  readonly serial: Uint8Array
  readonly notBefore: Date
  readonly notAfter: Date
  /** DER of the subject's name. */
  readonly subject: Uint8Array
  /** SPKI DER. */
  readonly spki: Uint8Array
  /** The subject's alternative names; none leaves the extension out. */
  readonly names: readonly GeneralName[]
}

/** A serial number (RFC 5280 4.1.2.2): 16 bytes, positive, 126 bits of them random. */
export function serialFrom(random: Uint8Array): Uint8Array {
  const serial = Uint8Array.from(random.subarray(0, 16))
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40
  return serial
}

/** The DER of a TBSCertificate (RFC 5280 4.1). */
export function spliceTbs(template: Template, { serial, notBefore, notAfter, subject, spki, names }: SubjectParts): Uint8Array {
  const own = names.length === 0 ? [subjectKeyIdentifier(keyIdentifier(spki))] : [subjectKeyIdentifier(keyIdentifier(spki)), subjectAltName(names)]
  return sequence(
    template.version,
    tlv(TAG.integer, serial),
    template.issuer,
    sequence(time(notBefore), time(notAfter)),
    subject,
    spki,
    constructed(3, sequence(template.extensions, ...own)),
  )
}

/** The DER of the certificate, from its TBSCertificate and the raw r||s signature over it. */
export const assembleCertificate = (tbs: Uint8Array, signature: Uint8Array): Uint8Array => sequence(tbs, ECDSA_SHA256, bitString(ecdsaSignature(signature)))

/** The first 160 bits of SHA-256 of the public key's bits (RFC 7093 2, method 1). */
export function keyIdentifier(spki: Uint8Array): Uint8Array {
  const [, bits] = readDerValues(readDer(spki).content)
  if (bits?.tag !== TAG.bitString) throw new RangeError('not a public key')
  return sha256(bits.content.subarray(1)).subarray(0, 20)
}

import { bitString, boolean, constructed, enumerated, integer, octetString, oid, primitive, sequence, smallInteger } from '../../core/der.ts'
import { directoryName, encodeGeneralName, type GeneralName } from './names.ts'

/** Extensions of certificates (RFC 5280 4.2.1), of CRLs (5.2) and of their entries (5.3), each as the DER of an `Extension`. */

const CRITICAL = boolean(true)
const extension = (id: Uint8Array, critical: boolean, value: Uint8Array): Uint8Array =>
  critical ? sequence(id, CRITICAL, octetString(value)) : sequence(id, octetString(value))

const ID = {
  subjectKeyIdentifier: oid('2.5.29.14'),
  keyUsage: oid('2.5.29.15'),
  subjectAltName: oid('2.5.29.17'),
  basicConstraints: oid('2.5.29.19'),
  crlNumber: oid('2.5.29.20'),
  reasonCode: oid('2.5.29.21'),
  nameConstraints: oid('2.5.29.30'),
  crlDistributionPoints: oid('2.5.29.31'),
  authorityKeyIdentifier: oid('2.5.29.35'),
  extKeyUsage: oid('2.5.29.37'),
} as const

const PURPOSES = { serverAuth: oid('1.3.6.1.5.5.7.3.1'), clientAuth: oid('1.3.6.1.5.5.7.3.2') } as const
export type Purpose = keyof typeof PURPOSES

/** Bits of KeyUsage that are used here (4.2.1.3), as numbers of a bit from the left. */
const USAGE_BITS = { digitalSignature: 0, keyCertSign: 5, cRLSign: 6 } as const
export type Usage = keyof typeof USAGE_BITS

/** 4.2.1.1, the key identifier alone. */
export const authorityKeyIdentifier = (keyIdentifier: Uint8Array): Uint8Array =>
  extension(ID.authorityKeyIdentifier, false, sequence(primitive(0, keyIdentifier)))

/** 4.2.1.2. */
export const subjectKeyIdentifier = (keyIdentifier: Uint8Array): Uint8Array => extension(ID.subjectKeyIdentifier, false, octetString(keyIdentifier))

/** 4.2.1.3, critical. Trailing zero bits are left out, as DER wants of a named bit list. */
export function keyUsage(usages: readonly Usage[]): Uint8Array {
  const bits = usages.map((usage) => USAGE_BITS[usage])
  const byte = bits.reduce<number>((all, bit) => all | (0x80 >> bit), 0)
  return extension(ID.keyUsage, true, bitString(Uint8Array.of(byte), 7 - Math.max(...bits)))
}

/** 4.2.1.6. Critical only where the subject is empty, which it never is here. */
export const subjectAltName = (names: readonly GeneralName[]): Uint8Array => extension(ID.subjectAltName, false, sequence(...names.map(encodeGeneralName)))

/** 4.2.1.9, critical. `pathLength` undefined: not a CA. */
export const basicConstraints = (pathLength: number | undefined): Uint8Array =>
  extension(ID.basicConstraints, true, pathLength === undefined ? sequence() : sequence(boolean(true), smallInteger(pathLength)))

/** 4.2.1.12. */
export const extendedKeyUsage = (purposes: readonly Purpose[]): Uint8Array =>
  extension(ID.extKeyUsage, false, sequence(...purposes.map((purpose) => PURPOSES[purpose])))

/** 4.2.1.10, critical: subjects only below `permitted`, no DNS name and no IP address at all. (URIs cannot be constrained: a URN has no host, so any constraint would refuse all.) */
export const onlySubjectsBelow = (permitted: Uint8Array): Uint8Array =>
  extension(
    ID.nameConstraints,
    true,
    sequence(
      constructed(0, sequence(directoryName(permitted))),
      constructed(1, sequence(primitive(2, Buffer.alloc(0))), sequence(primitive(7, Buffer.alloc(8))), sequence(primitive(7, Buffer.alloc(32)))),
    ),
  )

/** 4.2.1.13: one distribution point with one full name, where the issuer's whole CRL is. */
export const crlDistributionPoint = (url: string): Uint8Array =>
  extension(ID.crlDistributionPoints, false, sequence(sequence(constructed(0, constructed(0, encodeGeneralName({ kind: 'uri', value: url }))))))

/** 5.2.3. */
export const crlNumber = (number: number): Uint8Array => extension(ID.crlNumber, false, integer(number))

/** 5.3.1. */
export const reasonCode = (code: number): Uint8Array => extension(ID.reasonCode, false, enumerated(code))

import { createPublicKey, webcrypto } from 'node:crypto'
import { CertificationRequest, CryptoEngine } from 'pkijs'
import { equalBytes, fromBase64, hex } from '../../core/bytes.ts'
import { type DerValue, oid, readDer, readDerValues, TAG, unsigned } from '../../core/der.ts'

/** The most characters of a CSR in PEM. One for P-384 with a page of names has under 2,000. */
export const CSR_CHARACTERS = 8192

/** The one thing taken from a CSR: a public key whose private key made the CSR's signature. */
export interface Csr {
  readonly kind: 'csr'
  /** SPKI DER: P-256 or P-384, named curve, uncompressed point on the curve. */
  readonly spki: Uint8Array
}

/** What is wrong with a CSR, for its sender. */
export interface CsrFault {
  readonly kind: 'fault'
  readonly message: string
}

/** ecdsa-with-SHA256, -SHA384, -SHA512 (RFC 5758 3.2). SHA-1 is not among them. */
const SIGNATURE_ALGORITHMS = ['1.2.840.10045.4.3.2', '1.2.840.10045.4.3.3', '1.2.840.10045.4.3.4'].map((id) => hex(oid(id)))
/** Lengths of the SPKI of an uncompressed point on a named curve (RFC 5480 2). */
const SPKI_BYTES: Readonly<Record<string, number>> = { prime256v1: 91, secp384r1: 120 }

const PEM = /^-----BEGIN CERTIFICATE REQUEST-----\r?\n((?:[A-Za-z0-9+/]{1,76}={0,2}\r?\n)+)-----END CERTIFICATE REQUEST-----(?:\r?\n)?$/

const engine = new CryptoEngine({ name: 'node', crypto: webcrypto as Crypto })

/**
 * Reads a PKCS#10 request (RFC 2986) in PEM (RFC 7468), exactly one, and verifies its signature with its own key.
 * Names, extensions and attributes in it are never looked at: they are wishes of whoever wrote it.
 */
export async function parseCsr(pem: string): Promise<Csr | CsrFault> {
  if (pem.length > CSR_CHARACTERS) return fault(`The CSR is longer than ${CSR_CHARACTERS} characters.`)
  const [, lines] = PEM.exec(pem) ?? []
  if (lines === undefined) return fault('The CSR is not one PEM block of CERTIFICATE REQUEST (RFC 7468), with nothing before or after it.')
  const der = fromBase64(lines.replaceAll(/\s/g, ''))
  try {
    const parts = partsOf(der)
    if (parts === undefined) return fault('The CSR is not signed with ECDSA over SHA-256, SHA-384 or SHA-512, or is not a PKCS#10 request.')
    const spki = parts.spki.raw
    if (!isAcceptedKey(spki)) return fault('The key of the CSR is not an EC key on P-256 or P-384 (named curve, uncompressed point).')
    if (!isSignature(parts.signature)) return fault('The signature of the CSR is not an ECDSA-Sig-Value in DER.')
    const request = CertificationRequest.fromBER(Uint8Array.from(der))
    if (!equalBytes(new Uint8Array(request.subjectPublicKeyInfo.toSchema().toBER()), spki)) return fault('The CSR can be read in two ways.')
    if (!(await request.verify(engine))) return fault('The signature of the CSR is not that of its key.')
    return { kind: 'csr', spki }
  } catch {
    return fault('The CSR is not DER of a PKCS#10 request, or its signature cannot be verified.')
  }
}

const fault = (message: string): CsrFault => ({ kind: 'fault', message })

/** SPKI and signature of a request of exactly three DER values, signed by an accepted algorithm. Throws a RangeError on what is not DER. */
function partsOf(der: Uint8Array): { readonly spki: DerValue; readonly signature: DerValue } | undefined {
  const [info, algorithm, signature, ...more] = contents(readDer(der))
  if (info === undefined || algorithm === undefined || signature === undefined || more.length > 0) return undefined
  const [id, ...parameters] = contents(algorithm)
  if (id === undefined || parameters.length > 0 || !SIGNATURE_ALGORITHMS.includes(hex(id.raw))) return undefined
  const [, , spki] = contents(info)
  return spki && { spki, signature }
}

/** A BIT STRING of whole bytes that holds an ECDSA-Sig-Value: two positive INTEGERs in their shortest form. */
function isSignature({ tag, content }: DerValue): boolean {
  if (tag !== TAG.bitString || content[0] !== 0) return false
  const numbers = contents(readDer(content.subarray(1)))
  return numbers.length === 2 && numbers.every((number) => equalBytes(number.raw, unsigned(number.content)))
}

const contents = (value: DerValue): DerValue[] => {
  if (value.tag !== TAG.sequence) throw new RangeError('not a SEQUENCE')
  return readDerValues(value.content)
}

/** createPublicKey throws on a point that is not on its curve. */
function isAcceptedKey(spki: Uint8Array): boolean {
  const { asymmetricKeyType, asymmetricKeyDetails } = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  return asymmetricKeyType === 'ec' && SPKI_BYTES[asymmetricKeyDetails?.namedCurve ?? ''] === spki.length
}

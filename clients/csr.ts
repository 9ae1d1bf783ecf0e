import { webcrypto } from 'node:crypto'
import { Crypto } from '@peculiar/webcrypto'
import { BitString, Integer, Utf8String } from 'asn1js'
import { AttributeTypeAndValue, BasicConstraints, Certificate, CertificationRequest, CryptoEngine, Extension, Time } from 'pkijs'

/** Keys and requests of the other side: vendors, modules, officers. Their private keys are made here and never reach the service. */

const crypto = new Crypto()
const engine = new CryptoEngine({ name: 'peculiar', crypto })

/** A private key of a TLS client, and the request for its certificate. */
export interface TlsRequest {
  /** PKCS#8, PEM. */
  readonly privateKey: string
  /** PKCS#10, PEM. */
  readonly csr: string
}

/** A P-256 key and a PKCS#10 request signed with it. The service takes only the public key; `commonName` is for who reads the request. */
export async function makeTlsRequest(commonName: string): Promise<TlsRequest> {
  const keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
  const request = new CertificationRequest()
  request.version = 0
  request.subject.typesAndValues.push(commonNameOf(commonName))
  request.attributes = []
  await request.subjectPublicKeyInfo.importKey(keys.publicKey, engine)
  await request.sign(keys.privateKey, 'SHA-256', engine)
  return { privateKey: await exportKey(keys.privateKey), csr: pem('CERTIFICATE REQUEST', request.toSchema().toBER()) }
}

export interface EncryptionCertificate {
  /** PKCS#8, PEM. */
  readonly privateKey: string
  /** Self-signed, PEM. Its SHA-256 is what two officers compare with the vendor out of band. */
  readonly certificate: string
}

/** An RSA-3072 key (exponent 65537) to which transport keys are encrypted, in a self-signed certificate for keyEncipherment alone. */
export async function makeEncryptionCertificate(
  commonName: string,
  { validityDays = 730, now = new Date() }: { readonly validityDays?: number; readonly now?: Date } = {},
): Promise<EncryptionCertificate> {
  // signed as RSASSA-PKCS1-v1_5; the same key encrypts with OAEP
  const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 3072, publicExponent: Uint8Array.of(1, 0, 1) }
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = new Certificate()
  certificate.version = 2
  const serial = webcrypto.getRandomValues(new Uint8Array(16))
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40
  certificate.serialNumber = new Integer({ valueHex: serial.buffer })
  certificate.issuer.typesAndValues.push(commonNameOf(commonName))
  certificate.subject.typesAndValues.push(commonNameOf(commonName))
  certificate.notBefore = timeAt(now.getTime() - 300_000)
  certificate.notAfter = timeAt(now.getTime() + validityDays * 86_400_000)
  await certificate.subjectPublicKeyInfo.importKey(keys.publicKey, engine)
  certificate.extensions = [
    new Extension({ extnID: '2.5.29.19', critical: true, extnValue: new BasicConstraints().toSchema().toBER() }),
    new Extension({ extnID: '2.5.29.15', critical: true, extnValue: new BitString({ valueHex: Uint8Array.of(0x20).buffer, unusedBits: 5 }).toBER() }),
  ]
  await certificate.sign(keys.privateKey, 'SHA-256', engine)
  return { privateKey: await exportKey(keys.privateKey), certificate: pem('CERTIFICATE', certificate.toSchema().toBER()) }
}

const commonNameOf = (value: string) => new AttributeTypeAndValue({ type: '2.5.4.3', value: new Utf8String({ value }) })

/** Whole seconds (RFC 5280 4.1.2.5), in the form that the year wants. */
function timeAt(ms: number): Time {
  const value = new Date(Math.floor(ms / 1000) * 1000)
  return new Time({ type: value.getUTCFullYear() < 2050 ? 0 : 1, value })
}

const exportKey = async (key: CryptoKey): Promise<string> => pem('PRIVATE KEY', await crypto.subtle.exportKey('pkcs8', key))

const pem = (label: string, der: ArrayBuffer): string =>
  `-----BEGIN ${label}-----\n${Buffer.from(der)
    .toString('base64')
    .replaceAll(/.{64}(?=.)/g, '$&\n')}\n-----END ${label}-----\n`

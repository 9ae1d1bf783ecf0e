import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { BitString, Integer, Sequence, Set, Utf8String } from 'asn1js'
import { AlgorithmIdentifier, AttributeTypeAndValue, BasicConstraints, Certificate, Extension, PublicKeyInfo, RelativeDistinguishedNames, Time } from 'pkijs'

const [CN, OU] = ['2.5.4.3', '2.5.4.11']
const ECDSA_SHA256 = '1.2.840.10045.4.3.2'
const RSA_SHA256 = '1.2.840.113549.1.1.11'

export interface CertificateDraft {
  readonly subject: readonly (readonly [type: 'OU' | 'CN', value: string])[]
  readonly issuer?: Certificate
  /** SPKI DER. */
  readonly publicKey: Uint8Array
  readonly signer: KeyObject
  readonly ca?: boolean
  /** The first octet of the key usage bits. Absent: no extension. */
  readonly keyUsage?: number
  readonly notBefore?: Date
  readonly notAfter?: Date
}

/** A certificate for tests, DER, signed in software. */
export function makeCertificate(draft: CertificateDraft): { readonly certificate: Certificate; readonly der: Uint8Array; readonly pem: string } {
  const certificate = new Certificate({ version: 2 })
  certificate.serialNumber = new Integer({ valueHex: new Uint8Array([1, ...randomBytes(8)]).buffer })
  certificate.subject = encodeName(draft.subject)
  certificate.issuer = draft.issuer?.subject ?? certificate.subject
  certificate.notBefore = new Time({ value: draft.notBefore ?? new Date(Date.now() - 3_600_000) })
  certificate.notAfter = new Time({ value: draft.notAfter ?? new Date(Date.now() + 86_400_000) })
  certificate.subjectPublicKeyInfo = PublicKeyInfo.fromBER(new Uint8Array(draft.publicKey))
  const constraints = new BasicConstraints({ cA: draft.ca ?? false })
  certificate.extensions = [new Extension({ extnID: '2.5.29.19', critical: true, extnValue: constraints.toSchema().toBER() })]
  if (draft.keyUsage !== undefined) {
    const usage = new BitString({ valueHex: new Uint8Array([draft.keyUsage]).buffer })
    certificate.extensions.push(new Extension({ extnID: '2.5.29.15', critical: true, extnValue: usage.toBER() }))
  }
  const algorithm = new AlgorithmIdentifier({ algorithmId: draft.signer.asymmetricKeyType === 'rsa' ? RSA_SHA256 : ECDSA_SHA256 })
  certificate.signature = algorithm
  certificate.signatureAlgorithm = algorithm
  const tbs = new Uint8Array(certificate.encodeTBS().toBER())
  certificate.tbsView = tbs
  certificate.signatureValue = new BitString({ valueHex: new Uint8Array(sign('sha256', tbs, draft.signer)).buffer })
  const der = new Uint8Array(certificate.toSchema(true).toBER())
  const pem = `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64').replaceAll(/.{64}/g, '$&\n').trimEnd()}\n-----END CERTIFICATE-----\n`
  return { certificate, der, pem }
}

/** One attribute a RDN. (pkijs would put all of them into one.) */
function encodeName(attributes: CertificateDraft['subject']): RelativeDistinguishedNames {
  const names = attributes.map(
    ([type, value]) => new Set({ value: [new AttributeTypeAndValue({ type: type === 'CN' ? CN : OU, value: new Utf8String({ value }) }).toSchema()] }),
  )
  return RelativeDistinguishedNames.fromBER(new Sequence({ value: names }).toBER())
}

const spki = (key: KeyObject): Uint8Array => createPublicKey(key.export({ format: 'pem', type: 'pkcs8' }).toString()).export({ format: 'der', type: 'spki' })

/** An RSA key and its self-signed encryption certificate, as a vendor makes them. */
export function makeEncryptionPair(options: { readonly bits?: number } & Partial<CertificateDraft> = {}): {
  readonly privateKey: string
  readonly pem: string
  readonly der: Uint8Array
} {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: options.bits ?? 3072 })
  const { pem, der } = makeCertificate({ subject: [['CN', 'vendor encryption']], publicKey: spki(privateKey), signer: privateKey, keyUsage: 0x20, ...options })
  return { privateKey: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(), pem, der }
}

/** A root, and what it certifies for the delivery key (SPKI DER). */
export function makeDeliveryChain(
  deliveryKey: Uint8Array,
  options: Partial<CertificateDraft> = {},
): { readonly root: Uint8Array; readonly chain: readonly Uint8Array[] } {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const root = makeCertificate({ subject: [['CN', 'Gridseal root CA']], publicKey: spki(privateKey), signer: privateKey, ca: true, keyUsage: 0x06 })
  const delivery = makeCertificate({
    subject: [
      ['OU', 'services'],
      ['CN', 'service:delivery'],
    ],
    issuer: root.certificate,
    publicKey: deliveryKey,
    signer: privateKey,
    keyUsage: 0x80,
    ...options,
  })
  return { root: root.der, chain: [delivery.der, root.der] }
}

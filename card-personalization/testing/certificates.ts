import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { BitString, Integer, PrintableString, Sequence, Set as SetOf, Utf8String } from 'asn1js'
import { digestRow } from '../../core/row.ts'
import { ROOT_KEYS } from '../../pkcs11/index.ts'
import type { CardCertifier } from '../operations/deps.ts'
import { AlgorithmIdentifier, AttributeTypeAndValue, BasicConstraints, Certificate, Extension, PublicKeyInfo, RelativeDistinguishedNames, Time } from 'pkijs'

const ATTRIBUTES = { CN: '2.5.4.3', OU: '2.5.4.11', serialNumber: '2.5.4.5' } as const
const ECDSA_SHA256 = '1.2.840.10045.4.3.2'
const RSA_SHA256 = '1.2.840.113549.1.1.11'

export interface CertificateDraft {
  readonly subject: readonly (readonly [type: keyof typeof ATTRIBUTES, value: string])[]
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
    ([type, value]) =>
      new SetOf({
        value: [
          new AttributeTypeAndValue({
            type: ATTRIBUTES[type],
            value: type === 'serialNumber' ? new PrintableString({ value }) : new Utf8String({ value }),
          }).toSchema(),
        ],
      }),
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
): { readonly root: Uint8Array; readonly chain: readonly Uint8Array[]; readonly rootPair: Parameters<typeof softCertifier>[0] } {
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
  return { root: root.der, chain: [delivery.der, root.der], rootPair: { certificate: root.certificate, der: root.der, signer: privateKey } }
}

interface SoftCertificates {
  readonly serials: readonly string[]
  readonly ders: readonly (readonly [cardId: string, der: Uint8Array])[]
}

/** A cards' CA in software below the given root, whose certificates stand in memory: reserved, then issued, as the real one's. */
export function softCertifier(root: {
  readonly certificate: Certificate
  readonly der: Uint8Array
  readonly signer: KeyObject
}): CardCertifier<SoftCertificates, SoftCertificates> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const ca = makeCertificate({
    subject: [['CN', 'Gridseal cards CA']],
    issuer: root.certificate,
    publicKey: spki(privateKey),
    signer: root.signer,
    ca: true,
    keyUsage: 0x06,
  })
  const reserved = new Set<string>()
  const issued = new Map<string, Uint8Array>()
  return {
    signer: ROOT_KEYS.cards,
    plan: (cards) =>
      Promise.resolve({
        serials: cards.map(() => randomBytes(16).toString('hex')),
        ders: cards.map(
          ({ cardId, iccid, spki: publicKey }) => [cardId, makeCardCertificate({ ca: ca.certificate, signer: privateKey, iccid, publicKey })] as const,
        ),
      }),
    reserve: (_tx, { serials }) => {
      for (const serial of serials) reserved.add(serial)
      return Promise.resolve([])
    },
    sign: (permit, planned) => {
      permit.assertAllows('sign', ROOT_KEYS.cards)
      if (!planned.serials.every((serial) => reserved.has(serial))) throw new Error('a serial was not reserved before signing')
      return Promise.resolve(planned)
    },
    record: (_tx, { serials, ders }) => {
      for (const [cardId, der] of ders) issued.set(cardId, der)
      return Promise.resolve(serials.map((id) => digestRow({ table: 'certificates', schema: 1, id, version: 2, columns: {} })))
    },
    ders: (cardIds) => Promise.resolve(new Map(cardIds.map((id) => [id, issued.get(id) ?? new Uint8Array()]))),
    chain: () => Promise.resolve([ca.der, root.der]),
  }
}

/** The certificate of a card's key, DER. */
export const makeCardCertificate = ({
  ca,
  signer,
  iccid,
  publicKey,
}: {
  ca: Certificate
  signer: KeyObject
  iccid: string
  publicKey: Uint8Array
}): Uint8Array =>
  makeCertificate({
    subject: [
      ['OU', 'cards'],
      ['serialNumber', iccid],
    ],
    issuer: ca,
    publicKey,
    signer,
    keyUsage: 0x80,
  }).der

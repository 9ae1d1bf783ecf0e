import { X509Certificate } from 'node:crypto'
import forge from 'node-forge'

const { asn1, pki } = forge
type Asn1 = forge.asn1.Asn1

export interface Pkcs12Request {
  /** PKCS#8, PEM. EC or RSA. */
  readonly privateKey: string
  /** PEM. */
  readonly certificate: string
  /** The certificates above it, any number, PEM. */
  readonly chain: string
  /** Of the file. Printable ASCII, at least 8 characters: other characters are encoded differently by different programs. */
  readonly password: string
  /** What a browser shows. ASCII. */
  readonly friendlyName: string
  /**
   * `aes-256` (default): PBES2 with PBKDF2-HMAC-SHA-256 and AES-256-CBC, and a SHA-256 MAC; for every browser of today.
   * `insecure3des`: pbeWithSHAAnd3-KeyTripleDES-CBC and a SHA-1 MAC, for old card-industry tools that open nothing else.
   */
  readonly encryption?: 'aes-256' | 'insecure3des'
}

/** Rounds of the key derivation from the password. */
const ROUNDS = 60_000
const SALT_BYTES = 16

const OID = {
  data: '1.2.840.113549.1.7.1',
  encryptedData: '1.2.840.113549.1.7.6',
  certBag: '1.2.840.113549.1.12.10.1.3',
  shroudedKeyBag: '1.2.840.113549.1.12.10.1.2',
  x509Certificate: '1.2.840.113549.1.9.22.1',
  friendlyName: '1.2.840.113549.1.9.20',
  localKeyId: '1.2.840.113549.1.9.21',
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
} as const

/**
 * A PKCS#12 file (RFC 7292), DER: the private key and the certificates, both encrypted.
 * It is put together from node-forge's ASN.1 and password-based encryption, because node-forge's own key and certificate objects take RSA alone.
 */
export function makePkcs12({ privateKey, certificate, chain, password, friendlyName, encryption = 'aes-256' }: Pkcs12Request): Uint8Array {
  if (!/^[\x20-\x7e]{8,}$/.test(password)) throw new RangeError('the password is 8 or more printable ASCII characters')
  const own = new X509Certificate(certificate)
  const encrypt = (content: Asn1): Asn1 =>
    pki.encryptPrivateKeyInfo(content, password, {
      count: ROUNDS,
      saltSize: SALT_BYTES,
      ...(encryption === 'aes-256' ? { algorithm: 'aes256', prfAlgorithm: 'sha256' } : { algorithm: '3des' }),
    })
  const attributes = bagAttributes(friendlyName, own)
  const above = chain.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? []
  const certificates = [bag(OID.certBag, certBag(own), attributes), ...above.map((pem) => bag(OID.certBag, certBag(new X509Certificate(pem))))]
  const key = bag(OID.shroudedKeyBag, encrypt(asn1.fromDer(forge.pem.decode(privateKey)[0]?.body ?? '')), attributes)
  const safes = sequence(encryptedSafe(encrypt(sequence(...certificates))), dataSafe(sequence(key)))
  const file = sequence(integer(3), dataSafe(safes), macData(derOf(safes), password, encryption === 'aes-256' ? 'sha256' : 'sha1'))
  return Buffer.from(derOf(file), 'binary')
}

const universal = (type: forge.asn1.Type, constructed: boolean, value: string | Asn1[]): Asn1 => asn1.create(asn1.Class.UNIVERSAL, type, constructed, value)
const sequence = (...parts: Asn1[]): Asn1 => universal(asn1.Type.SEQUENCE, true, parts)
const set = (...parts: Asn1[]): Asn1 => universal(asn1.Type.SET, true, parts)
const oid = (dotted: string): Asn1 => universal(asn1.Type.OID, false, asn1.oidToDer(dotted).getBytes())
const octets = (bytes: string): Asn1 => universal(asn1.Type.OCTETSTRING, false, bytes)
const integer = (value: number): Asn1 => universal(asn1.Type.INTEGER, false, asn1.integerToDer(value).getBytes())
const explicit = (content: Asn1): Asn1 => asn1.create(asn1.Class.CONTEXT_SPECIFIC, 0, true, [content])
const derOf = (value: Asn1): string => asn1.toDer(value).getBytes()

/** SafeBag (RFC 7292 4.2). */
const bag = (type: string, value: Asn1, attributes?: Asn1): Asn1 => sequence(oid(type), explicit(value), ...(attributes === undefined ? [] : [attributes]))

/** CertBag (4.2.3). */
const certBag = (certificate: X509Certificate): Asn1 => sequence(oid(OID.x509Certificate), explicit(octets(certificate.raw.toString('binary'))))

/** The same on the key and its certificate, so that programs find the pair: friendlyName and localKeyId (the certificate's SHA-1, as is usual). */
function bagAttributes(friendlyName: string, certificate: X509Certificate): Asn1 {
  const localKeyId = Buffer.from(certificate.fingerprint.replaceAll(':', ''), 'hex').toString('binary')
  return set(sequence(oid(OID.friendlyName), set(universal(asn1.Type.BMPSTRING, false, friendlyName))), sequence(oid(OID.localKeyId), set(octets(localKeyId))))
}

/** ContentInfo of data. */
const dataSafe = (content: Asn1): Asn1 => sequence(oid(OID.data), explicit(octets(derOf(content))))

/** ContentInfo of EncryptedData (RFC 2315 13), from an EncryptedPrivateKeyInfo: it is the same algorithm and ciphertext in another frame. */
function encryptedSafe(encrypted: Asn1): Asn1 {
  const [algorithm, ciphertext] = encrypted.value as [Asn1, Asn1]
  const content = asn1.create(asn1.Class.CONTEXT_SPECIFIC, 0, false, ciphertext.value)
  return sequence(oid(OID.encryptedData), explicit(sequence(integer(0), sequence(oid(OID.data), algorithm, content))))
}

/** MacData (4): HMAC under a key made from the password (appendix B, purpose 3). */
function macData(content: string, password: string, hash: 'sha256' | 'sha1'): Asn1 {
  const digest = forge.md[hash]
  const salt = forge.random.getBytesSync(SALT_BYTES)
  const key = pbe.generatePkcs12Key(password, forge.util.createBuffer(salt), 3, ROUNDS, digest.create().digestLength, digest.create())
  const mac = forge.hmac.create()
  mac.start(digest.create(), key)
  mac.update(content)
  const algorithm = sequence(oid(OID[hash]), universal(asn1.Type.NULL, false, ''))
  return sequence(sequence(algorithm, octets(mac.digest().getBytes())), octets(salt), integer(ROUNDS))
}

/** The part of node-forge that its declarations leave out. */
const { pbe } = pki as unknown as {
  readonly pbe: {
    generatePkcs12Key(
      password: string,
      salt: forge.util.ByteBuffer,
      purpose: number,
      rounds: number,
      bytes: number,
      digest: forge.md.MessageDigest,
    ): forge.util.ByteBuffer
  }
}

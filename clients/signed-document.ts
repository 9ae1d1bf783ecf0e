import { verify, X509Certificate } from 'node:crypto'
import { base64url, fromBase64url } from '../core/bytes.ts'
import { chainInHeader } from '../core/signed-document.ts'

/** Why something that the service signed is not believed. Its message holds no key. */
export class Refusal extends Error {}

export interface Trust {
  /** What the document is called when it is refused: `manifest`. */
  readonly what: string
  /** The type that its header must tell. */
  readonly type: string
  /** The key that may sign it: the CN of its certificate is `service:` and this. */
  readonly service: string
  /** The root certificate that is trusted, PEM or DER; got by another way than the document. */
  readonly trustedRoot: string | Uint8Array
  readonly at: Date
}

/** The content of a document (core/signed-document.ts), once its signature and its chain are right. Throws a {@link Refusal}. */
export function openSignedDocument(text: string, trust: Trust): unknown {
  const { what, type } = trust
  const [head = '', payload = '', signature = '', ...rest] = text.split('.')
  const chain = chainInHeader(parseJson(head), type)
  if (rest.length > 0 || chain === undefined) throw new Refusal(`this is no signed ${what} of this format`)
  const signer = checkChain(chain, trust)
  const bytes = fromBase64url(signature)
  if (bytes.length !== 64 || base64url(bytes) !== signature) throw new Refusal(`the signature of the ${what} is not of the form r||s`)
  if (!verify('sha256', Buffer.from(`${head}.${payload}`), { key: signer.publicKey, dsaEncoding: 'ieee-p1363' }, bytes))
    throw new Refusal(`the signature of the ${what} is wrong`)
  return parseJson(payload)
}

export const isValidAt = (certificate: X509Certificate, at: Date): boolean => new Date(certificate.validFrom) <= at && at <= new Date(certificate.validTo)

function parseJson(part: string): unknown {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString('utf8'))
  } catch {
    return undefined
  }
}

/** The signer's certificate. It must be that of the service's key, not any other that the root signed: that of the TLS listener, or an authority. */
function checkChain(x5c: readonly string[], { what, service, trustedRoot, at }: Trust): X509Certificate {
  const root = new X509Certificate(trustedRoot)
  const [signer, ...above] = x5c.map((text) => readCertificate(text, what))
  if (signer === undefined) throw new Refusal(`the ${what} has no certificate`)
  if (above.length > 1 || above.some((certificate) => certificate.fingerprint256 !== root.fingerprint256))
    throw new Refusal(`the chain of the ${what} leads to another root than the trusted one`)
  if (!signer.checkIssued(root) || !signer.verify(root.publicKey)) throw new Refusal(`the certificate of the ${what} was not issued by the trusted root`)
  const subject = signer.subject.split('\n')
  if (signer.ca || signer.keyUsage !== undefined || !subject.includes('OU=services') || !subject.includes(`CN=service:${service}`)) {
    throw new Refusal(`the certificate of the ${what} is not for service:${service}`)
  }
  if (signer.publicKey.asymmetricKeyType !== 'ec' || signer.publicKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw new Refusal(`the key of the ${what} is not a P-256 key`)
  for (const certificate of [signer, root]) {
    if (!isValidAt(certificate, at)) throw new Refusal(`a certificate of the ${what} is not valid at ${at.toISOString()}`)
  }
  return signer
}

/** `text`: DER in base64. Throws a {@link Refusal}. */
export function readCertificate(text: string, what: string): X509Certificate {
  const certificate = parseCertificate(text)
  if (certificate === undefined) throw new Refusal(`the ${what} holds something else than certificates`)
  return certificate
}

export function parseCertificate(text: string): X509Certificate | undefined {
  try {
    return new X509Certificate(Buffer.from(text, 'base64'))
  } catch {
    return undefined
  }
}

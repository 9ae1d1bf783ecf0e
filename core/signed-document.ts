import { base64, base64url, utf8 } from './bytes.ts'

/**
 * A document that the service signs for people outside it: JWS compact (RFC 7515 3.1), ES256, with the certificates up to the root in its header. Pure:
 * the service writes it, and the programs of the other side read it, by the same definitions. `type` tells what it is, so that one is never taken for another.
 */
interface DocumentHeader {
  readonly alg: 'ES256'
  readonly typ: string
  /** DER, base64: the signer's, then those above it. */
  readonly x5c: readonly string[]
}

/** What is signed (RFC 7515 5.1), ASCII. `chain`: the signer's certificate and those above it, DER. */
export function documentToSign(type: string, content: unknown, chain: readonly Uint8Array[]): string {
  const header: DocumentHeader = { alg: 'ES256', typ: type, x5c: chain.map((der) => base64(der)) }
  return `${base64url(utf8(JSON.stringify(header)))}.${base64url(utf8(JSON.stringify(content)))}`
}

/** The document. `signature`: of {@link documentToSign}, raw r||s, 64 bytes. */
export const signedDocument = (input: string, signature: Uint8Array): string => `${input}.${base64url(signature)}`

/** The certificates that a header of exactly this form names; undefined for any other, or one of another type. */
export function chainInHeader(header: unknown, type: string): readonly string[] | undefined {
  if (typeof header !== 'object' || header === null || Object.keys(header).sort().join() !== 'alg,typ,x5c') return undefined
  const { alg, typ, x5c } = header as Record<keyof DocumentHeader, unknown>
  if (alg !== 'ES256' || typ !== type || !Array.isArray(x5c) || x5c.length < 1 || x5c.length > 4) return undefined
  return x5c.every((one): one is string => typeof one === 'string' && one.length <= 8192) ? x5c : undefined
}

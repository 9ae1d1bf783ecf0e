import { createPrivateKey, createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { writeDurably } from '../core/durable-file.ts'

/** The certificate is renewed at a start that finds less than this left. */
const RENEW_BEFORE_MS = 30 * 24 * 3600 * 1000

export interface TlsIdentity {
  /** PEM, leaf first. */
  readonly cert: string
  readonly key: string
}

/** Issues a certificate for a public key (SPKI DER): PEM, leaf first. */
export type IssueTlsCertificate = (request: {
  readonly spki: Uint8Array
  readonly dnsNames: readonly string[]
  readonly ipAddresses: readonly string[]
}) => Promise<string>

/**
 * The TLS listener's key and certificate, in `<data>/tls`. The key is software, a named exception: TLS needs it in the process that talks to the network, and it opens nothing but that listener.
 * Order: key written, certificate issued and recorded, certificate written; a crash between leaves a key without certificate, and the next start issues one.
 */
export async function loadTlsIdentity({
  folder,
  names,
  issue,
  nowMs,
}: {
  readonly folder: string
  readonly names: readonly string[]
  readonly issue: IssueTlsCertificate
  readonly nowMs: number
}): Promise<TlsIdentity> {
  const keyFile = join(folder, 'key.pem')
  const certificateFile = join(folder, 'certificate.pem')
  if (!existsSync(keyFile)) {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    writeDurably(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
  }
  const key = readFileSync(keyFile, 'utf8')
  const stored = existsSync(certificateFile) ? readFileSync(certificateFile, 'utf8') : undefined
  if (stored !== undefined && serves({ pem: stored, key, names, nowMs })) return { cert: stored, key }
  const spki = createPublicKey(createPrivateKey(key)).export({ type: 'spki', format: 'der' })
  const cert = await issue({ spki, dnsNames: names.filter((name) => isIP(name) === 0), ipAddresses: names.filter((name) => isIP(name) !== 0) })
  writeDurably(certificateFile, cert)
  return { cert, key }
}

function serves({
  pem,
  key,
  names,
  nowMs,
}: {
  readonly pem: string
  readonly key: string
  readonly names: readonly string[]
  readonly nowMs: number
}): boolean {
  try {
    const certificate = new X509Certificate(pem)
    return (
      certificate.checkPrivateKey(createPrivateKey(key)) &&
      Date.parse(certificate.validTo) - nowMs > RENEW_BEFORE_MS &&
      names.every((name) => (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined)
    )
  } catch {
    return false
  }
}

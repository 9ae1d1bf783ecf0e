import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'

/** What is wrong with a certificate and a private key (PEM) that somebody names together. */
export type PairFault = 'certificate' | 'key' | 'mismatch'

/** Of a certificate, which others may follow, and the key that is to be its own; undefined where all is well. */
export function pairFault(certificate: string, privateKey: string): PairFault | undefined {
  const read = certificateOf(certificate)
  if (read === undefined) return 'certificate'
  const key = keyOf(privateKey)
  if (key === undefined) return 'key'
  return read.checkPrivateKey(key) ? undefined : 'mismatch'
}

/** The first in the text; undefined where it begins with none. */
export function certificateOf(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem)
  } catch {
    return undefined
  }
}

function keyOf(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem)
  } catch {
    return undefined
  }
}

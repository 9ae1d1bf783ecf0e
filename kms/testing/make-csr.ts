import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { base64 } from '../../core/bytes.ts'
import { bitString, constructed, oid, sequence, smallInteger } from '../../core/der.ts'
import { encodeName } from '../certificates/names.ts'

export const ecPair = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve })
export const spkiOf = (key: KeyObject): Uint8Array => key.export({ format: 'der', type: 'spki' })
export const pemOf = (der: Uint8Array, label = 'CERTIFICATE REQUEST'): string =>
  `-----BEGIN ${label}-----\n${base64(der).replaceAll(/.{64}(?=.)/g, '$&\n')}\n-----END ${label}-----\n`

export interface CsrParts {
  readonly pair?: { readonly publicKey: KeyObject; readonly privateKey: KeyObject }
  readonly spki?: Uint8Array
  readonly attributes?: readonly Uint8Array[]
  readonly algorithm?: string
  readonly hash?: string
  readonly signature?: (genuine: Uint8Array) => Uint8Array
}

/** A CSR written by hand, so that each part can be wrong by itself. */
export function csrDer(parts: CsrParts = {}): Uint8Array {
  const { pair = ecPair('P-256'), attributes = [], algorithm = '1.2.840.10045.4.3.2', hash = 'sha256', signature = (genuine) => genuine } = parts
  const { spki = spkiOf(pair.publicKey) } = parts
  const info = sequence(smallInteger(0), encodeName([['CN', 'officer:root']]), spki, constructed(0, ...attributes))
  return sequence(info, sequence(oid(algorithm)), bitString(signature(sign(hash, info, pair.privateKey))))
}

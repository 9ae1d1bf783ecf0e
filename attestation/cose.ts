import { type KeyObject, verify } from 'node:crypto'
import { concat, equalBytes, utf8 } from '../core/bytes.ts'
import { byteString, decodeCbor, Tagged } from './cbor.ts'

/** COSE_Sign1 (RFC 9052 4.2) with ES256 (RFC 9053 2.1): ECDSA with SHA-256 on P-256, the signature raw r||s. */

export interface Sign1 {
  /** The encoded protected header, as it is signed. */
  readonly protectedBytes: Uint8Array
  readonly payload: Uint8Array
  /** Raw r||s, 64 bytes. */
  readonly signature: Uint8Array
}

const SIGN1_TAG = 18
const CWT_TAG = 61
const LABEL_ALG = 1
const LABEL_CRIT = 2
const ES256 = -7
const EMPTY = new Uint8Array(0)
/** {1: -7} */
const PROTECTED = Uint8Array.of(0xa1, LABEL_ALG, 0x26)
const EMPTY_MAP = Uint8Array.of(0xa0)
const SIGNATURE_BYTES = 64
/** An array of four, and its first item: "Signature1". */
const CONTEXT = concat(Uint8Array.of(0x84, 0x6a), utf8('Signature1'))
/** Tag 61, tag 18, an array of four. */
const CWT_SIGN1 = Uint8Array.of(0xd8, CWT_TAG, 0xc0 | SIGN1_TAG, 0x84)

/** What is signed: the Sig_structure (RFC 9052 4.4). `externalAad`: signed with it and not sent; default none. */
export function signatureInput({
  protectedBytes,
  payload,
  externalAad = EMPTY,
}: {
  readonly protectedBytes?: Uint8Array
  readonly payload: Uint8Array
  readonly externalAad?: Uint8Array
}): Uint8Array {
  const header = protectedBytes ?? PROTECTED
  // RFC 9052 3: an empty map is signed as the string of no bytes.
  return concat(CONTEXT, byteString(equalBytes(header, EMPTY_MAP) ? EMPTY : header), byteString(externalAad), byteString(payload))
}

/** A CWT (RFC 8392 6): 61(18([protected {alg: ES256}, {}, payload, signature])). Throws a RangeError unless the signature has 64 bytes. */
export function assembleSign1({ payload, signature }: { readonly payload: Uint8Array; readonly signature: Uint8Array }): Uint8Array {
  if (signature.length !== SIGNATURE_BYTES) throw new RangeError(`a signature of ES256 has ${SIGNATURE_BYTES} bytes`)
  return concat(CWT_SIGN1, byteString(PROTECTED), EMPTY_MAP, byteString(payload), byteString(signature))
}

/**
 * Reads what {@link assembleSign1} writes, or the same without the CWT tag; undefined on anything else: other headers, a kid, no tag, CBOR that is
 * not deterministic. Does not verify.
 */
export function readSign1(bytes: Uint8Array): Sign1 | undefined {
  const parts = partsOf(decoded(bytes), false)
  if (parts === undefined || parts.unprotected.size > 0 || !equalBytes(parts.protectedBytes, PROTECTED)) return undefined
  const { protectedBytes, payload, signature } = parts
  return { protectedBytes, payload, signature }
}

/**
 * Whether `publicKey` (P-256) signed the message. Laxer than {@link readSign1}, for messages of others: the tag may be missing, other header parameters
 * may be there, ES256 may stand in either header. Refuses another algorithm, parameters that must be understood (`crit`), and one in both headers.
 */
export function verifySign1(bytes: Uint8Array, publicKey: KeyObject, externalAad?: Uint8Array): boolean {
  const parts = partsOf(decoded(bytes), true)
  if (parts === undefined || publicKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1') return false
  const { protectedBytes, unprotected, payload, signature } = parts
  const header = protectedBytes.length === 0 ? new Map<unknown, unknown>() : decoded(protectedBytes)
  if (!(header instanceof Map) || header.has(LABEL_CRIT) || unprotected.has(LABEL_CRIT)) return false
  if ([...unprotected.keys()].some((label) => header.has(label))) return false
  if ((header.get(LABEL_ALG) ?? unprotected.get(LABEL_ALG)) !== ES256) return false
  const signed = signatureInput({ protectedBytes, payload, ...(externalAad === undefined ? {} : { externalAad }) })
  return verify('sha256', signed, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature)
}

interface Parts extends Sign1 {
  readonly unprotected: ReadonlyMap<unknown, unknown>
}

function partsOf(value: unknown, untagged: boolean): Parts | undefined {
  const message = value instanceof Tagged && value.tag === CWT_TAG ? (value.value as unknown) : value
  const tagged = message instanceof Tagged && message.tag === SIGN1_TAG
  const parts: unknown = tagged ? message.value : untagged && message === value ? message : undefined
  if (!Array.isArray(parts) || parts.length !== 4) return undefined
  const [protectedBytes, unprotected, payload, signature] = parts as readonly unknown[]
  if (!(protectedBytes instanceof Uint8Array && unprotected instanceof Map && payload instanceof Uint8Array && signature instanceof Uint8Array))
    return undefined
  return signature.length === SIGNATURE_BYTES ? { protectedBytes, unprotected, payload, signature } : undefined
}

function decoded(bytes: Uint8Array): unknown {
  try {
    return decodeCbor(bytes)
  } catch {
    return undefined
  }
}

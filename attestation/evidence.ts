import { concat, frame, hex, sha256 } from '../core/bytes.ts'
import { UUID_PATTERN } from '../core/ids.ts'
import { CborError, decodeCbor, encodeCbor } from './cbor.ts'
import { assembleSign1, readSign1, signatureInput } from './cose.ts'
import { imeiDigits, imeiOfDigits } from './imei.ts'

/** A card's evidence: an Entity Attestation Token (RFC 9711) as a CWT (RFC 8392), signed with the card's key. It says which device the card sees itself in. */

/** Claim 265 (RFC 9711 4.3.2): which claims there are, all of them and no others, and how they are encoded. */
export const EVIDENCE_PROFILE = 'urn:gridseal:eat:card-evidence:1'

export interface EvidenceClaims {
  /** Claim 10, the challenge, 32 bytes. */
  readonly nonce: Uint8Array
  /** Claim 6: seconds since 1970. A card has no clock of its own: it is what the terminal says. */
  readonly issuedAt: number
  /** Claim 256, 33 bytes: see {@link ueidOf}. */
  readonly ueid: Uint8Array
  /** Claim 257, "imei": 14 digits, as the terminal told the card. */
  readonly imei: string
  /** Claim 257, "udid": UUID in lower case. */
  readonly udid?: string
}

/** `evidence-malformed`: not a COSE_Sign1 of deterministic CBOR with exactly these claims. `evidence-profile`: another profile. `evidence-imei`: no IMEI. */
export type EvidenceFault = 'evidence-malformed' | 'evidence-profile' | 'evidence-imei'

const CLAIM = { issuedAt: 6, nonce: 10, ueid: 256, sueids: 257, profile: 265 } as const
const NONCE_BYTES = 32
const UEID_BYTES = 33
const TYPE_RAND = 0x01
const TYPE_IMEI = 0x03

/** `toBeSigned`: what the card signs with ES256 (a COSE Sig_structure). `assemble` takes the raw r||s, 64 bytes. Throws a RangeError on claims that {@link readEvidence} would not read. */
export function evidenceToSign(claims: EvidenceClaims): { readonly toBeSigned: Uint8Array; assemble(signature: Uint8Array): Uint8Array } {
  const payload = encodeClaims(claims)
  if (typeof readClaims(payload) === 'string') throw new RangeError('claims that no evidence can have')
  return { toBeSigned: signatureInput({ payload }), assemble: (signature) => assembleSign1({ payload, signature }) }
}

/** Reads a token of any origin; never throws. Does not verify: `signature` (raw r||s) must be one of the card's key over `toBeSigned`. */
export function readEvidence(
  bytes: Uint8Array,
):
  | { readonly ok: true; readonly claims: EvidenceClaims; readonly toBeSigned: Uint8Array; readonly signature: Uint8Array }
  | { readonly ok: false; readonly fault: EvidenceFault } {
  const message = readSign1(bytes)
  if (message === undefined) return { ok: false, fault: 'evidence-malformed' }
  const claims = readClaims(message.payload)
  return typeof claims === 'string' ? { ok: false, fault: claims } : { ok: true, claims, toBeSigned: signatureInput(message), signature: message.signature }
}

/**
 * The card's UEID: 01 || SHA-256(frame("gridseal-ueid-v1", SPKI, EF.ICCID)), 33 bytes. `spki`: its public key, DER; `efIccid`: 10 bytes. Type 01 (RAND)
 * may be made by hashing what identifies the entity (RFC 9711 4.2.1.1); a card with a new key is another one.
 */
export function ueidOf({ spki, efIccid }: { readonly spki: Uint8Array; readonly efIccid: Uint8Array }): Uint8Array {
  return concat(Uint8Array.of(TYPE_RAND), sha256(frame(['gridseal-ueid-v1', spki, efIccid])))
}

function encodeClaims({ nonce, issuedAt, ueid, imei, udid }: EvidenceClaims): Uint8Array {
  const sueids = new Map([['imei', concat(Uint8Array.of(TYPE_IMEI), imeiDigits(imei))]])
  if (udid !== undefined) sueids.set('udid', concat(Uint8Array.of(TYPE_RAND), uuidBytes(udid)))
  return encodeCbor(
    new Map<number, unknown>([
      [CLAIM.issuedAt, issuedAt],
      [CLAIM.nonce, nonce],
      [CLAIM.ueid, ueid],
      [CLAIM.sueids, sueids],
      [CLAIM.profile, EVIDENCE_PROFILE],
    ]),
  )
}

function readClaims(payload: Uint8Array): EvidenceClaims | EvidenceFault {
  const claims = decodeMap(payload)
  const profile = claims?.get(CLAIM.profile)
  if (claims === undefined || typeof profile !== 'string') return 'evidence-malformed'
  if (profile !== EVIDENCE_PROFILE) return 'evidence-profile'
  const nonce = claims.get(CLAIM.nonce)
  const issuedAt = claims.get(CLAIM.issuedAt)
  const ueid = claims.get(CLAIM.ueid)
  const sueids = claims.get(CLAIM.sueids)
  if (claims.size !== Object.keys(CLAIM).length || !isBytes(nonce, NONCE_BYTES) || !isSeconds(issuedAt)) return 'evidence-malformed'
  if (!isBytes(ueid, UEID_BYTES) || ueid[0] !== TYPE_RAND || !(sueids instanceof Map)) return 'evidence-malformed'
  const devices = readDevices(sueids)
  return typeof devices === 'string' ? devices : { nonce, issuedAt, ueid, ...devices }
}

/** Claim 257 (RFC 9711 4.2.2): identifiers by label, each a type byte and its value. */
function readDevices(sueids: ReadonlyMap<unknown, unknown>): Pick<EvidenceClaims, 'imei' | 'udid'> | EvidenceFault {
  const udid = sueids.get('udid')
  const device = sueids.get('imei')
  if (sueids.size !== (sueids.has('udid') ? 2 : 1) || !(device instanceof Uint8Array)) return 'evidence-malformed'
  if (sueids.has('udid') && !(isBytes(udid, 17) && udid[0] === TYPE_RAND)) return 'evidence-malformed'
  const imei = device[0] === TYPE_IMEI ? imeiOfDigits(device.subarray(1)) : undefined
  if (imei === undefined) return 'evidence-imei'
  return isBytes(udid, 17) ? { imei, udid: uuidText(udid.subarray(1)) } : { imei }
}

function decodeMap(bytes: Uint8Array): ReadonlyMap<unknown, unknown> | undefined {
  try {
    const value = decodeCbor(bytes)
    return value instanceof Map ? value : undefined
  } catch (error) {
    if (error instanceof CborError) return undefined
    throw error
  }
}

const isBytes = (value: unknown, length: number): value is Uint8Array => value instanceof Uint8Array && value.length === length
const isSeconds = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0

function uuidBytes(text: string): Uint8Array {
  if (!UUID_PATTERN.test(text)) throw new RangeError('not a UUID in lower case')
  return Buffer.from(text.replaceAll('-', ''), 'hex')
}

const uuidText = (bytes: Uint8Array): string => hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')

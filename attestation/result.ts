import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { z } from 'zod'
import { base64url, equalBytes, fromBase64url, sha256, utf8 } from '../core/bytes.ts'

/**
 * Attestation results: EAR (draft-ietf-rats-ear, profile #03) as a JWT signed with ES256, which anybody can verify offline with the service's public keys.
 * Claims that begin with `gridseal_` are this service's own. An ICCID is in none.
 */

export const RESULT_PROFILE = 'tag:ietf.org,2026:rats/ear#03'
/** The longest that a result holds, in seconds. */
export const LONGEST_RESULT_SECONDS = 3600
/** The appraisal policy: which reasons lead to which trustworthiness claims. See docs/attestation.md. */
export const APPRAISAL_POLICY = 'urn:gridseal:appraisal:1'

/** Trustworthiness claims (draft-ietf-rats-ar4si 2.3), -128 to 127 each; absent: no claim. */
export interface TrustVector {
  readonly 'instance-identity'?: number
  readonly 'configuration'?: number
  readonly 'sourced-data'?: number
}

/** From the most trusted to the least: `none` affirms nothing. */
const STATUSES = ['affirming', 'none', 'warning', 'contraindicated'] as const
export type Status = (typeof STATUSES)[number]

/** AR4SI 2.3.2: negative values mirror the positive ones (affirming is 2 to 31 and -2 to -32, and so on); -1, 0 and 1 affirm nothing. */
function tierOf(value: number): Status {
  const size = value < 0 ? -value - 1 : value
  if (value === -1 || value === 0 || value === 1) return 'none'
  if (size < 32) return 'affirming'
  return size < 96 ? 'warning' : 'contraindicated'
}

/** The tier of the worst claim. 0 is no claim, as if it were absent; without any claim it is `none`. */
export function statusOf(vector: Readonly<Record<string, number>> | TrustVector): Status {
  const tiers = Object.values(vector as Readonly<Record<string, number>>)
    .filter((value) => value !== 0)
    .map((value) => STATUSES.indexOf(tierOf(value)))
  return (tiers.length === 0 ? undefined : STATUSES[Math.max(...tiers)]) ?? 'none'
}

const isBetter = (status: Status, than: Status): boolean => STATUSES.indexOf(status) < STATUSES.indexOf(than)

const isBase64url = (text: string): boolean => base64url(fromBase64url(text)) === text
const bytesText = z.string().max(100).refine(isBase64url)
const seconds = z.int().nonnegative()

/** Claims that are not known are left out: a receiver must ignore them (draft-ietf-rats-ear 4). */
const CLAIMS = z.object({
  eat_profile: z.literal(RESULT_PROFILE),
  iat: seconds,
  exp: seconds,
  ear_verifier_id: z.object({ developer: z.string(), build: z.string() }),
  submods: z.strictObject({
    card: z.object({
      ear_status: z.enum(STATUSES),
      ear_trustworthiness_vector: z.record(z.string(), z.int().min(-128).max(127)),
      ear_appraisal_policy_ids: z.array(z.string()).min(1),
      // RFC 9711 4.1: 8 to 64 bytes.
      eat_nonce: bytesText.min(11).max(86),
      ueid: bytesText.exactOptional(),
      gridseal_method: z.string(),
      gridseal_level: z.enum(['L0', 'L1']).exactOptional(),
      gridseal_reasons: z.array(z.string()),
      gridseal_binding: z.object({ state: z.string(), imei: z.string().exactOptional(), udid: z.string().exactOptional() }).exactOptional(),
    }),
  }),
})
export type ResultClaims = z.infer<typeof CLAIMS>

export interface Appraisal {
  /** Seconds since 1970. */
  readonly issuedAt: number
  /** Seconds since 1970: at most {@link LONGEST_RESULT_SECONDS} later. */
  readonly expiresAt: number
  /** Of the challenge that the card answered. */
  readonly nonce: Uint8Array
  /** 33 bytes; absent of a card without a certificate. */
  readonly ueid?: Uint8Array
  readonly vector: TrustVector
  /** How strong the evidence of the device is. L0: what others saw. L1: signed by the card. Absent: nothing is said of a device. */
  readonly level?: 'L0' | 'L1'
  /** Codes; empty when all is well. */
  readonly reasons: readonly string[]
  /** How the card proved itself. */
  readonly method: string
  /** What is known of the device. `imei`: 14 digits. `udid`: UUID. */
  readonly binding?: { readonly state: string; readonly imei?: string; readonly udid?: string }
  /** Name and version of the software. */
  readonly build: string
}

/** Throws a RangeError when it would expire before it is issued, or hold longer than {@link LONGEST_RESULT_SECONDS}. */
export function buildResult({ issuedAt, expiresAt, nonce, ueid, vector, level, reasons, method, binding, build }: Appraisal): ResultClaims {
  if (!(expiresAt > issuedAt && expiresAt - issuedAt <= LONGEST_RESULT_SECONDS))
    throw new RangeError(`a result holds for at most ${LONGEST_RESULT_SECONDS} seconds`)
  return CLAIMS.parse({
    eat_profile: RESULT_PROFILE,
    iat: issuedAt,
    exp: expiresAt,
    ear_verifier_id: { developer: 'gridseal', build },
    submods: {
      card: {
        ear_status: statusOf(vector),
        ear_trustworthiness_vector: { ...vector },
        ear_appraisal_policy_ids: [APPRAISAL_POLICY],
        eat_nonce: base64url(nonce),
        ...(ueid === undefined ? {} : { ueid: base64url(ueid) }),
        gridseal_method: method,
        ...(level === undefined ? {} : { gridseal_level: level }),
        gridseal_reasons: [...reasons],
        ...(binding === undefined ? {} : { gridseal_binding: { ...binding } }),
      },
    },
  })
}

const encodeJson = (value: unknown): string => base64url(utf8(JSON.stringify(value)))

/** The JWS signing input (RFC 7515 5.1), ASCII: what is signed with ES256. `keyId`: the `kid` of {@link jwkOf}. */
export const resultSigningInput = (claims: ResultClaims, keyId: string): string =>
  `${encodeJson({ alg: 'ES256', typ: 'JWT', kid: keyId })}.${encodeJson(claims)}`

/** The JWT in compact form. `signature`: raw r||s, 64 bytes. */
export function compactResult(input: string, signature: Uint8Array): string {
  if (signature.length !== 64) throw new RangeError('a signature of ES256 has 64 bytes')
  return `${input}.${base64url(signature)}`
}

const JWK = z.object({
  kty: z.literal('EC'),
  crv: z.literal('P-256'),
  x: z.string(),
  y: z.string(),
  alg: z.literal('ES256'),
  use: z.literal('sig'),
  kid: z.string(),
})
/** A public key (RFC 7517). `kid`: its SHA-256 thumbprint (RFC 7638), base64url. */
export type Jwk = Readonly<z.infer<typeof JWK>>
export interface KeySet {
  readonly keys: readonly Jwk[]
}

/** `spki`: DER of a P-256 key. Throws a RangeError on another kind of key. */
export function jwkOf(spki: Uint8Array): Jwk {
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  const { crv, x, y } = key.export({ format: 'jwk' })
  if (crv !== 'P-256' || x === undefined || y === undefined) throw new RangeError('results are signed with keys of P-256')
  // RFC 7638 3.2: the required members, in the order of their names.
  const kid = base64url(sha256(utf8(JSON.stringify({ crv, kty: 'EC', x, y }))))
  return { kty: 'EC', crv, x, y, alg: 'ES256', use: 'sig', kid }
}

/** Every key that results which have not expired may be signed with. */
export const keySetOf = (spkis: readonly Uint8Array[]): KeySet => ({ keys: spkis.map(jwkOf) })

/** `claims`: those that this file knows. */
export type ResultReport = { readonly ok: true; readonly status: Status; readonly claims: ResultClaims } | { readonly ok: false; readonly reason: string }

/** A token that is not a result, or not one now. */
class ResultFault extends Error {}

const MAX_LENGTH = 16_384
/** How far the clock of the issuer may be ahead, in seconds. */
const LEEWAY_SECONDS = 60
const HEADER = z.strictObject({ alg: z.literal('ES256'), typ: z.literal('JWT'), kid: z.string() })

/**
 * Verifies offline. `keySet`: a JWK Set of the service, from whom one believes and not from who brings the token; keys of other kinds in it are passed
 * over. `nonce`: of the challenge, where one made it. Strict (RFC 8725 3): one algorithm, one form of header. Never throws.
 */
export function verifyResult({
  token,
  keySet,
  at,
  nonce,
}: {
  readonly token: string
  readonly keySet: unknown
  readonly at: Date
  readonly nonce?: Uint8Array
}): ResultReport {
  try {
    const claims = openToken(token, keySet)
    checkTimes(claims, Math.floor(at.getTime() / 1000))
    const { ear_status: status, ear_trustworthiness_vector: vector, eat_nonce } = claims.submods.card
    if (isBetter(status, statusOf(vector))) throw new ResultFault(`the status ${status} is better than its worst claim, ${statusOf(vector)}`)
    if (nonce !== undefined && !equalBytes(fromBase64url(eat_nonce), nonce)) throw new ResultFault('it answers another nonce')
    return { ok: true, status, claims }
  } catch (error) {
    return { ok: false, reason: error instanceof ResultFault ? error.message : 'it cannot be read' }
  }
}

/** The claims, once the signature is right. */
function openToken(token: string, keySet: unknown): ResultClaims {
  if (typeof token !== 'string' || token.length > MAX_LENGTH) throw new ResultFault('it is too long')
  const [header = '', payload = '', signature = '', ...more] = token.split('.')
  if (more.length > 0 || ![header, payload, signature].every((part) => part !== '' && isBase64url(part)))
    throw new ResultFault('it is not a JWT in compact form')
  const head = HEADER.safeParse(parseJson(header))
  if (!head.success) throw new ResultFault('its header is not {alg: ES256, typ: JWT, kid}')
  const key = findKey(keySet, head.data.kid)
  const bytes = fromBase64url(signature)
  if (bytes.length !== 64 || !verify('sha256', utf8(`${header}.${payload}`), { key, dsaEncoding: 'ieee-p1363' }, bytes))
    throw new ResultFault('the signature is wrong')
  const claims = CLAIMS.safeParse(parseJson(payload))
  if (!claims.success) throw new ResultFault(`it is signed, but no result of the profile ${RESULT_PROFILE}: ${claims.error.issues[0]?.path.join('.') ?? ''}`)
  return claims.data
}

function findKey(keySet: unknown, kid: string): KeyObject {
  const { keys } = z.object({ keys: z.array(z.unknown()) }).parse(keySet)
  const known = keys.map((key) => JWK.safeParse(key).data).find((key) => key?.kid === kid)
  if (known === undefined) throw new ResultFault('the key set has no key of this kid for ES256')
  const { kty, crv, x, y } = known
  return createPublicKey({ key: { kty, crv, x, y }, format: 'jwk' })
}

function checkTimes({ iat, exp }: ResultClaims, now: number): void {
  if (!Number.isFinite(now)) throw new ResultFault('there is no such time')
  if (exp <= iat || exp - iat > LONGEST_RESULT_SECONDS)
    throw new ResultFault(`it holds for ${exp - iat} seconds: a result holds for at most ${LONGEST_RESULT_SECONDS}`)
  if (iat > now + LEEWAY_SECONDS) throw new ResultFault('it was issued in the future')
  if (exp <= now) throw new ResultFault('it has expired')
}

/** JSON in UTF-8, in base64url. */
function parseJson(part: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(fromBase64url(part))) as unknown
  } catch {
    return undefined
  }
}

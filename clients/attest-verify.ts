import { base64url, fromBase64url } from '../core/bytes.ts'
import { type ResultReport, verifyResult } from '../attestation/result.ts'

/** Text that was handed over and is not what it should be: keys, nonce or time. */
export class AttestInputError extends Error {
  override readonly name = 'AttestInputError'
}

const RFC3339 = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$/

/**
 * Verifies an attestation result offline. `token`: the JWT; `keys`: the service's JWK Set as JSON, from whom one believes and not from who brings the
 * result; `nonce`: base64url, of the challenge, where one made it; `at`: RFC 3339, the time to verify for.
 * Throws an {@link AttestInputError} when keys, nonce or time will not do; a bad result is a report.
 */
export function verifyResultText({
  token,
  keys,
  nonce,
  at,
}: {
  readonly token: string
  readonly keys: string
  readonly nonce?: string
  readonly at: string
}): ResultReport {
  const time = new Date(at)
  if (!RFC3339.test(at) || Number.isNaN(time.getTime())) throw new AttestInputError('the time is not one of RFC 3339, like 2026-11-25T12:00:00Z')
  if (nonce !== undefined && (nonce === '' || base64url(fromBase64url(nonce)) !== nonce))
    throw new AttestInputError('the nonce is not base64url without padding')
  return verifyResult({ token: token.trim(), keySet: parseKeySet(keys), at: time, ...(nonce === undefined ? {} : { nonce: fromBase64url(nonce) }) })
}

function parseKeySet(text: string): { readonly keys: readonly unknown[] } {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new AttestInputError('the keys are not JSON')
  }
  if (typeof value !== 'object' || value === null || !('keys' in value) || !Array.isArray(value.keys))
    throw new AttestInputError('the keys are not a JWK Set (RFC 7517 5)')
  return { keys: value.keys }
}

const MEANINGS = {
  affirming: 'the card proved itself, and nothing speaks against it',
  none: 'nothing is said of the card',
  warning: 'the card proved itself, with a reservation',
  contraindicated: 'the card is not to be trusted',
} as const

/** The report for a person to read. */
export function describeResult(report: ResultReport): string {
  if (!report.ok) return printable(`NOT A VALID RESULT: ${report.reason}`)
  const { status, claims } = report
  const {
    ear_trustworthiness_vector: vector,
    gridseal_method: method,
    gridseal_level: level,
    gridseal_reasons: reasons,
    gridseal_binding: binding,
  } = claims.submods.card
  const device =
    binding === undefined
      ? undefined
      : [binding.state, ...(binding.imei === undefined ? [] : [`IMEI ${binding.imei}`]), ...(binding.udid === undefined ? [] : [`UDID ${binding.udid}`])]
  return printable(
    [
      `VALID RESULT: ${status} (${MEANINGS[status]})`,
      `by ${method}${level === undefined ? '' : `, level ${level}`}${reasons.length === 0 ? '' : `; reasons: ${reasons.join(', ')}`}`,
      `claims: ${
        Object.entries(vector)
          .map(([name, value]) => `${name} ${value}`)
          .join(', ') || 'none'
      }`,
      ...(device === undefined ? [] : [`device: ${device.join(', ')}`]),
      `issued ${timeText(claims.iat)}, expires ${timeText(claims.exp)}, by ${claims.ear_verifier_id.build}`,
      `nonce ${claims.submods.card.eat_nonce}${claims.submods.card.ueid === undefined ? '' : `, ueid ${claims.submods.card.ueid}`}`,
    ].join('\n'),
  )
}

/** The signer's times may be beyond what a Date holds only by years; then the number will do. */
const timeText = (seconds: number): string => (seconds <= 8.64e12 ? new Date(seconds * 1000).toISOString() : String(seconds))

/** What a terminal would obey or show otherwise (controls, directions) is written as escapes. */
const printable = (text: string): string => text.replaceAll(/[^\P{C}\n]/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16) ?? ''}}`)

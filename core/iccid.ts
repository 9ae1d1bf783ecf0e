/**
 * ICCIDs (ITU-T E.118): `89`, country, issuer, account, and a Luhn digit; 19 digits in the standard, 20 in the practice of many issuers.
 * They are text everywhere: 20 digits exceed 64 bits.
 */

const DIGITS = /^[0-9]+$/

/** The first and the last of ICCIDs in a row: of one length, without check digits. */
export type IccidRange = readonly [first: string, last: string]

/** The Luhn digit (ISO/IEC 7812-1 annex B) that completes `body`. */
export function luhnDigit(body: string): string {
  let sum = 0
  for (let at = body.length - 1, double = true; at >= 0; at--, double = !double) {
    const digit = body.charCodeAt(at) - 48
    const value = double ? digit * 2 : digit
    sum += value > 9 ? value - 9 : value
  }
  return String((10 - (sum % 10)) % 10)
}

/** Takes off the filler `F` that the trade writes behind 19 digits. */
export const trimFiller = (text: string): string => (text.length === 20 && /[Ff]$/.test(text) ? text.slice(0, -1) : text)

/** Why `text` is not an ICCID, for its sender; undefined where it is one. */
export function iccidFault(text: string): string | undefined {
  if (!DIGITS.test(text)) return 'an ICCID has digits only'
  if (text.length !== 19 && text.length !== 20) return `an ICCID has 19 or 20 digits, this has ${text.length}`
  if (!text.startsWith('89')) return 'an ICCID begins with 89, the industry identifier of telecommunication (ITU-T E.118)'
  const expected = luhnDigit(text.slice(0, -1))
  if (!text.endsWith(expected)) return `the check digit is ${text.slice(-1)}, by Luhn it must be ${expected}`
  return undefined
}

/** The ICCID `by` places further: the body counts up and the check digit is computed anew. Undefined where the body runs out of digits. */
export function nextIccid(iccid: string, by = 1): string | undefined {
  const body = iccid.slice(0, -1)
  const next = (BigInt(body) + BigInt(by)).toString()
  return next.length === body.length && next.startsWith('89') ? next + luhnDigit(next) : undefined
}

/** EF.ICCID (2FE2; TS 102 221 13.2): 10 bytes of nibble-swapped BCD, with the filler F behind 19 digits. It is the diversification data of the card's keys. */
export function encodeEfIccid(iccid: string): Uint8Array {
  const padded = iccid.padEnd(20, 'F')
  const bytes = Buffer.alloc(10)
  for (let at = 0; at < 10; at++) bytes[at] = Number.parseInt(`${padded[2 * at + 1]}${padded[2 * at]}`, 16)
  return bytes
}

/** The inverse of {@link encodeEfIccid}. Undefined where the bytes are not an EF.ICCID. */
export function decodeEfIccid(bytes: Uint8Array): string | undefined {
  if (bytes.length !== 10) return undefined
  let text = ''
  for (const byte of bytes) text += (byte & 0x0f).toString(16) + (byte >> 4).toString(16)
  const iccid = trimFiller(text)
  return DIGITS.test(iccid) ? iccid : undefined
}

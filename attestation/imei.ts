import { luhnDigit } from '../core/iccid.ts'

/**
 * IMEIs (3GPP TS 23.003 6.2, annex B): TAC (8 digits) and serial number (6). Those 14 digits are the device; the check digit behind them is never
 * transmitted, and the software version (IMEISV, 16 digits) changes with updates. So the 14 are the canonical form.
 */

const IMEI = /^[0-9]{14}$/

/** The 14 digits of `text`: 14 digits, 15 with a check digit that is right, or 16 with a software version. Otherwise why not, for its sender. */
export function readImei(text: string): { readonly imei: string } | { readonly fault: string } {
  if (!/^[0-9]+$/.test(text)) return { fault: 'an IMEI has digits only' }
  if (text.length < 14 || text.length > 16)
    return { fault: `an IMEI has 14 digits, 15 with its check digit or 16 with a software version; this has ${text.length}` }
  const imei = text.slice(0, 14)
  const expected = luhnDigit(imei)
  if (text.length === 15 && !text.endsWith(expected)) return { fault: `the check digit is ${text.slice(-1)}, by Luhn it must be ${expected}` }
  return { imei }
}

/** 14 bytes, each the value of one digit, 0 to 9: the identifier of a UEID of type 0x03 (RFC 9711 4.2.1.1), without check digit and software version. */
export function imeiDigits(imei: string): Uint8Array {
  if (!IMEI.test(imei)) throw new RangeError('not the 14 digits of an IMEI')
  return Uint8Array.from(imei, Number)
}

/** The inverse of {@link imeiDigits}. Undefined where the bytes are not 14 digits. */
export function imeiOfDigits(bytes: Uint8Array): string | undefined {
  return bytes.length === 14 && bytes.every((digit) => digit <= 9) ? bytes.join('') : undefined
}

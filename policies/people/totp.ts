/** Time-based one-time codes: RFC 6238 over RFC 4226, with SHA-1, 6 digits and steps of 30 s, which every authenticator program knows. Pure. */

export const STEP_SECONDS = 30
export const DIGITS = 6

/** The time step of a moment: seconds since 1970 by 30 (RFC 6238 4.2). */
export const stepAt = (at: Date): number => Math.floor(at.getTime() / 1000 / STEP_SECONDS)

/** The steps whose codes are taken at a moment: that one and the one before it, for what the code needed to come here (RFC 6238 5.2). */
export const stepsAt = (at: Date): readonly [now: number, before: number] => [stepAt(at), stepAt(at) - 1]

/** Dynamic truncation (RFC 4226 5.3) of an HMAC-SHA-1, as decimal digits. */
export function codeOf(hmac: Uint8Array, digits: number = DIGITS): string {
  const view = new DataView(hmac.buffer, hmac.byteOffset, hmac.byteLength)
  const offset = view.getUint8(hmac.byteLength - 1) & 0x0f
  const truncated = view.getUint32(offset) & 0x7fff_ffff
  return String(truncated % 10 ** digits).padStart(digits, '0')
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/** RFC 4648 6, without padding. */
export function base32(bytes: Uint8Array): string {
  let [text, bits, held] = ['', 0, 0]
  for (const byte of bytes) {
    held = (held << 8) | byte
    bits += 8
    for (; bits >= 5; bits -= 5) text += BASE32[(held >>> (bits - 5)) & 31] ?? ''
    held &= 0xff
  }
  return bits === 0 ? text : text + (BASE32[(held << (5 - bits)) & 31] ?? '')
}

/** What authenticator programs read from a QR code (Key URI format). Issuer and account are shown to the person. */
export const otpauthUri = ({ issuer, account, secret }: { readonly issuer: string; readonly account: string; readonly secret: Uint8Array }): string =>
  `otpauth://totp/${encodeURIComponent(issuer)}:${encodeURIComponent(account)}?secret=${base32(secret)}&issuer=${encodeURIComponent(issuer)}&algorithm=SHA1&digits=${String(DIGITS)}&period=${String(STEP_SECONDS)}`

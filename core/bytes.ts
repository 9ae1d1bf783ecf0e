import { hash } from 'node:crypto'

/** What browsers take in place of this file: clients/browser/bytes.ts, by the field `browser` of package.json. */

export const utf8 = (text: string): Uint8Array => Buffer.from(text, 'utf8')
/** The text of UTF-8; what is none becomes U+FFFD. */
export const fromUtf8 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
/** One character a byte, U+0000 to U+00FF. */
export const fromLatin1 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
export const hex = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
export const fromHex = (text: string): Uint8Array => Buffer.from(text, 'hex')
export const base64 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
export const fromBase64 = (text: string): Uint8Array => Buffer.from(text, 'base64')
/** Base64 of RFC 4648 4 in its one form: padded, no other characters, no stray bits. Undefined for anything else. */
export function fromStrictBase64(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : undefined
}
export const base64url = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url')
export const fromBase64url = (text: string): Uint8Array => Buffer.from(text, 'base64url')
export const concat = (...parts: readonly Uint8Array[]): Uint8Array => Buffer.concat(parts)
export const equalBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

export const sha256 = (...parts: readonly Uint8Array[]): Uint8Array =>
  hash('sha256', parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts), 'buffer')

/** Fields made unambiguous: each as a 4-byte big-endian length and its bytes. Text is UTF-8. */
export function frame(fields: readonly (Uint8Array | string)[]): Uint8Array {
  let length = 4 * fields.length
  for (const field of fields) length += typeof field === 'string' ? Buffer.byteLength(field) : field.length
  const out = Buffer.allocUnsafe(length)
  let at = 0
  for (const field of fields) {
    const start = at + 4
    if (typeof field === 'string') at = start + out.write(field, start)
    else {
      out.set(field, start)
      at = start + field.length
    }
    out.writeUInt32BE(at - start, start - 4)
  }
  return out
}

/** The inverse of {@link frame}. Throws a RangeError when the lengths do not fill the bytes exactly. */
export function unframe(bytes: Uint8Array): Uint8Array[] {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const fields: Uint8Array[] = []
  let at = 0
  while (at < view.length) {
    const start = at + 4
    const end = start + view.readUInt32BE(at)
    if (end > view.length) throw new RangeError('a field runs past the end')
    fields.push(view.subarray(start, end))
    at = end
  }
  return fields
}

/** A small writer and strict reader of DER (X.690). The writer is what the hot path splices certificates from; the reader takes nothing that is not DER. */

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const

/** One value: tag, length, and the parts one after the other. Tags of one byte only. */
export function tlv(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((total, part) => total + part.length, 0)
  const lengthBytes = length < 0x80 ? 0 : length < 0x100 ? 1 : length < 0x10000 ? 2 : length < 0x1000000 ? 3 : 4
  const out = Buffer.allocUnsafe(2 + lengthBytes + length)
  out[0] = tag
  if (lengthBytes === 0) out[1] = length
  else {
    out[1] = 0x80 | lengthBytes
    out.writeUIntBE(length, 2, lengthBytes)
  }
  let at = 2 + lengthBytes
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

export const sequence = (...parts: readonly Uint8Array[]): Uint8Array => tlv(TAG.sequence, ...parts)
/** A SET OF: the parts in the ascending order of their encodings (X.690 11.6). */
export const setOf = (...parts: readonly Uint8Array[]): Uint8Array => tlv(TAG.set, ...[...parts].sort(Buffer.compare))
export const boolean = (value: boolean): Uint8Array => tlv(TAG.boolean, Uint8Array.of(value ? 0xff : 0))
export const octetString = (...content: readonly Uint8Array[]): Uint8Array => tlv(TAG.octetString, ...content)
export const bitString = (bytes: Uint8Array, unusedBits = 0): Uint8Array => tlv(TAG.bitString, Uint8Array.of(unusedBits), bytes)
export const utf8String = (text: string): Uint8Array => tlv(TAG.utf8String, Buffer.from(text, 'utf8'))
/** X.680 41.4. Throws a RangeError on a character that a PrintableString has not: no `@`, `*`, `_` or `&`. */
export function printableString(text: string): Uint8Array {
  if (!/^[A-Za-z0-9 '()+,\-./:=?]*$/.test(text)) throw new RangeError('not a PrintableString')
  return tlv(TAG.printableString, Buffer.from(text, 'ascii'))
}
/** `[n] EXPLICIT`, or an IMPLICIT constructed value's content. */
export const constructed = (n: number, ...parts: readonly Uint8Array[]): Uint8Array => tlv(0xa0 | n, ...parts)
/** `[n] IMPLICIT` of a primitive type: its content octets. */
export const primitive = (n: number, content: Uint8Array): Uint8Array => tlv(0x80 | n, content)

/** A non-negative INTEGER from its big-endian magnitude: shortest form, a zero byte before a set high bit (X.690 8.3). */
export function unsigned(magnitude: Uint8Array): Uint8Array {
  let start = 0
  while (start < magnitude.length - 1 && magnitude[start] === 0) start += 1
  const digits = magnitude.length === 0 ? Uint8Array.of(0) : magnitude.subarray(start)
  return (digits[0] ?? 0) & 0x80 ? tlv(TAG.integer, Uint8Array.of(0), digits) : tlv(TAG.integer, digits)
}

/** A small INTEGER, 0 to 255. */
export const smallInteger = (value: number): Uint8Array => unsigned(Uint8Array.of(value))

/** An INTEGER, 0 to 2^48 - 1. */
export function integer(value: number): Uint8Array {
  const magnitude = Buffer.alloc(6)
  magnitude.writeUIntBE(value, 0, 6)
  return unsigned(magnitude)
}

/** An ENUMERATED, 0 to 127. */
export const enumerated = (value: number): Uint8Array => tlv(TAG.enumerated, Uint8Array.of(value))

export function oid(dotted: string): Uint8Array {
  const arcs = dotted.split('.').map(Number)
  const [first = 0, second = 0, ...rest] = arcs
  const content: number[] = []
  for (const arc of [first * 40 + second, ...rest]) {
    const digits = [arc % 128]
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) digits.unshift((left % 128) | 0x80)
    content.push(...digits)
  }
  return tlv(TAG.oid, Uint8Array.from(content))
}

/** A Time of RFC 5280 4.1.2.5: whole seconds in UTC, as UTCTime through 2049 and as GeneralizedTime from 2050. */
export function time(date: Date): Uint8Array {
  const digits = `${date.toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`
  return date.getUTCFullYear() < 2050 ? tlv(TAG.utcTime, Buffer.from(digits.slice(2), 'ascii')) : tlv(TAG.generalizedTime, Buffer.from(digits, 'ascii'))
}

/** `ECDSA-Sig-Value` (RFC 5480 appendix A) from raw r||s. */
export function ecdsaSignature(raw: Uint8Array): Uint8Array {
  if (raw.length === 0 || raw.length % 2 !== 0) throw new RangeError('a raw ECDSA signature is r and s of one length')
  return sequence(unsigned(raw.subarray(0, raw.length / 2)), unsigned(raw.subarray(raw.length / 2)))
}

export interface DerValue {
  readonly tag: number
  /** Tag, length and content. */
  readonly raw: Uint8Array
  readonly content: Uint8Array
}

/** The value that fills the bytes. Throws a RangeError on anything else: not DER, cut short, or with bytes after it. */
export function readDer(bytes: Uint8Array): DerValue {
  const value = readAt(bytes, 0)
  if (value.raw.length !== bytes.length) throw new RangeError('there are bytes after the DER value')
  return value
}

/** The values one after the other, as the content of a constructed value holds them. Throws as {@link readDer}. */
export function readDerValues(content: Uint8Array): DerValue[] {
  const values: DerValue[] = []
  for (let at = 0; at < content.length; ) {
    const value = readAt(content, at)
    values.push(value)
    at += value.raw.length
  }
  return values
}

function readAt(bytes: Uint8Array, start: number): DerValue {
  const byte = (at: number): number => {
    const found = bytes[at]
    if (found === undefined) throw new RangeError('the DER value is cut short')
    return found
  }
  const tag = byte(start)
  if ((tag & 0x1f) === 0x1f) throw new RangeError('tags of more than one byte are not taken')
  let at = start + 2
  let length = byte(start + 1)
  if (length >= 0x80) {
    const count = length & 0x7f
    if (count === 0 || count > 4) throw new RangeError('the length is indefinite or too long')
    length = 0
    for (const end = at + count; at < end; at += 1) length = length * 256 + byte(at)
    if (length < 0x80 || length < 256 ** (count - 1)) throw new RangeError('the length is not in its shortest form')
  }
  if (at + length > bytes.length) throw new RangeError('the DER value is cut short')
  return { tag, raw: bytes.subarray(start, at + length), content: bytes.subarray(at, at + length) }
}

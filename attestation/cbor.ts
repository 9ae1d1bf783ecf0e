import { decode, encode, rfc8949EncodeOptions, Tagged } from 'cborg'
import { concat, equalBytes } from '../core/bytes.ts'

/**
 * The CBOR that cards' evidence is written in: deterministic (RFC 8949 4.2.1), so that one value has one encoding, and small. Integers, byte and text
 * strings, arrays, maps with integer or text keys, false, true, null, and the tags 18 (COSE_Sign1) and 61 (CWT). Nothing else: no floats, no undefined.
 */

export { Tagged } from 'cborg'

/** Bytes that are not such CBOR, or a value that has no such CBOR. */
export class CborError extends Error {
  override readonly name = 'CborError'
}

const MAX_BYTES = 4096
/** Of arrays, maps and tags in each other. */
const MAX_DEPTH = 16
const TAGS = [18, 61] as const

/** `value`: of integers (bigint beyond 2^53), text, Uint8Array, arrays, Map or plain objects, {@link Tagged}. Throws a {@link CborError} on what {@link decodeCbor} would not read. */
export function encodeCbor(value: unknown): Uint8Array {
  const bytes = write(value)
  decodeCbor(bytes)
  return bytes
}

/** Strict: takes only bytes that {@link encodeCbor} makes of the value. Maps become `Map`. Throws a {@link CborError}. */
export function decodeCbor(bytes: Uint8Array): unknown {
  if (bytes.length > MAX_BYTES) throw new CborError(`more than ${MAX_BYTES} bytes`)
  // INVARIANT: before the decoder, which recurses without limit and believes every count.
  if (skipItem(bytes, 0, 0) !== bytes.length) throw new CborError('bytes behind the end')
  const value = read(bytes)
  if (!equalBytes(write(value), bytes)) throw new CborError('not the deterministic encoding')
  return value
}

/** A byte string of less than 64 KiB (RFC 8949 3.1, major type 2). */
export function byteString(bytes: Uint8Array): Uint8Array {
  const { length } = bytes
  if (length > 0xffff) throw new CborError('a byte string of 64 KiB or more')
  const head = length < 24 ? [0x40 | length] : length < 0x100 ? [0x58, length] : [0x59, length >> 8, length & 0xff]
  return concat(Uint8Array.from(head), bytes)
}

function write(value: unknown): Uint8Array {
  try {
    return encode(value, rfc8949EncodeOptions)
  } catch (error) {
    throw new CborError('a value that has no CBOR here', { cause: error })
  }
}

function read(bytes: Uint8Array): unknown {
  try {
    return decode(bytes, {
      strict: true,
      allowIndefinite: false,
      allowUndefined: false,
      useMaps: true,
      rejectDuplicateMapKeys: true,
      tags: Tagged.preserve(...TAGS),
    })
  } catch (error) {
    throw new CborError('malformed', { cause: error })
  }
}

/** Where the item at `at` ends. Looks at heads only (RFC 8949 3). `outer`: how many arrays, maps and tags it lies in. */
function skipItem(bytes: Uint8Array, at: number, outer: number): number {
  const { major, argument, end } = headAt(bytes, at)
  if (major <= 1 || major === 7) return end
  if (major <= 3) {
    if (argument > bytes.length - end) throw new CborError('cut off')
    return end + argument
  }
  if (outer === MAX_DEPTH) throw new CborError(`deeper than ${MAX_DEPTH}`)
  if (major === 6) return skipItem(bytes, end, outer + 1)
  let next = end
  // A count beyond the bytes is found out at the end of the bytes.
  for (let item = 0; item < argument; item++) {
    if (major === 5) next = skipKey(bytes, next)
    next = skipItem(bytes, next, outer + 1)
  }
  return next
}

/** Integers and text: keys that the decoder can tell the same of. */
function skipKey(bytes: Uint8Array, at: number): number {
  const { major } = headAt(bytes, at)
  if (major !== 0 && major !== 1 && major !== 3) throw new CborError('a key that is neither integer nor text')
  return skipItem(bytes, at, MAX_DEPTH)
}

/** The head of an item: major type, argument (an approximation beyond 2^53), and where the head ends. */
function headAt(bytes: Uint8Array, at: number): { readonly major: number; readonly argument: number; readonly end: number } {
  const first = bytes[at]
  if (first === undefined) throw new CborError('cut off')
  const major = first >> 5
  const info = first & 0x1f
  if (info > 27) throw new CborError('a length that is indefinite or reserved')
  // false, true, null.
  if (major === 7 && (info < 20 || info > 22)) throw new CborError('a float or a simple value')
  if (info < 24) return { major, argument: info, end: at + 1 }
  const end = at + 1 + 2 ** (info - 24)
  if (end > bytes.length) throw new CborError('cut off')
  return { major, argument: bytes.subarray(at + 1, end).reduce((total, byte) => total * 256 + byte, 0), end }
}

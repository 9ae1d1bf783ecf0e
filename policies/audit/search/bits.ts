/** Which of the entries of a segment something is true of. Pure. */

/** Entries of one segment: those with the indexes from `segment * SEGMENT_ENTRIES` on. */
export const SEGMENT_ENTRIES = 4096
const BYTES = SEGMENT_ENTRIES / 8

/** One bit an entry: entry `n` of the segment is bit `n % 8` of byte `n / 8`. 512 bytes. */
export type Bits = Uint8Array

export const segmentOf = (index: number): number => Math.floor(index / SEGMENT_ENTRIES)
export const noBits = (): Bits => new Uint8Array(BYTES)

/** The first `count` entries. */
export function firstBits(count: number): Bits {
  const bits = noBits().fill(0xff, 0, count >> 3)
  if (count % 8 !== 0) bits[count >> 3] = (1 << (count % 8)) - 1
  return bits
}

export function bitsAt(places: readonly number[]): Bits {
  const bits = noBits()
  for (const place of places) bits[place >> 3] = (bits[place >> 3] ?? 0) | (1 << (place & 7))
  return bits
}

/** Into `into`, which it answers. */
export function orInto(into: Bits, other: Bits): Bits {
  for (let at = 0; at < BYTES; at += 1) into[at] = (into[at] as number) | (other[at] as number)
  return into
}

export function andInto(into: Bits, other: Bits): Bits {
  for (let at = 0; at < BYTES; at += 1) into[at] = (into[at] as number) & (other[at] as number)
  return into
}

/** Those of `all` that are not in `bits`. */
export function without(all: Bits, bits: Bits): Bits {
  const rest = noBits()
  for (let at = 0; at < BYTES; at += 1) rest[at] = (all[at] as number) & ~(bits[at] as number)
  return rest
}

const COUNTS = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(2).replaceAll('0', '').length)

export function countOf(bits: Bits): number {
  let count = 0
  for (let at = 0; at < BYTES; at += 1) count += COUNTS[bits[at] as number] as number
  return count
}

/** How many both have. */
export function countOfBoth(a: Bits, b: Bits): number {
  let count = 0
  for (let at = 0; at < BYTES; at += 1) count += COUNTS[(a[at] as number) & (b[at] as number)] as number
  return count
}

/** Rising. */
export function placesOf(bits: Bits): number[] {
  const places: number[] = []
  for (let at = 0; at < BYTES; at += 1) {
    const byte = bits[at] as number
    for (let bit = 0; byte >> bit !== 0; bit += 1) if (((byte >> bit) & 1) === 1) places.push(at * 8 + bit)
  }
  return places
}

/**
 * At least one bit of a whole segment as they are stored, the shortest of three: nothing, when all entries have them; up to 255 places, each as a big-endian uint16, rising;
 * else the 512 bytes.
 */
export function encodeBits(places: readonly number[]): Uint8Array {
  if (places.length === 0) throw new RangeError('bits of nothing are not stored')
  if (places.length === SEGMENT_ENTRIES) return new Uint8Array()
  if (places.length * 2 >= BYTES) return bitsAt(places)
  const list = Buffer.alloc(places.length * 2)
  places.forEach((place, at) => list.writeUInt16BE(place, at * 2))
  return list
}

/** The inverse of {@link encodeBits}. Throws a RangeError on what that never writes. */
export function decodeBits(stored: Uint8Array): Bits {
  if (stored.length === 0) return firstBits(SEGMENT_ENTRIES)
  if (stored.length === BYTES) return Uint8Array.from(stored)
  const bits = noBits()
  for (let at = 0; at < stored.length; at += 2) {
    const place = placeAt(stored, at)
    bits[place >> 3] = (bits[place >> 3] as number) | (1 << (place & 7))
  }
  return bits
}

/** As {@link countOfBoth}, of bits as they are stored: a list is short, and is not made bits. Throws as {@link decodeBits}. */
export function countOfStored(stored: Uint8Array, bits: Bits): number {
  if (stored.length === 0) return countOf(bits)
  if (stored.length === BYTES) return countOfBoth(stored, bits)
  let count = 0
  for (let at = 0; at < stored.length; at += 2) {
    const place = placeAt(stored, at)
    count += ((bits[place >> 3] as number) >> (place & 7)) & 1
  }
  return count
}

function placeAt(stored: Uint8Array, at: number): number {
  const place = ((stored[at] as number) << 8) | (stored[at + 1] ?? SEGMENT_ENTRIES)
  if (stored.length < BYTES && place < SEGMENT_ENTRIES) return place
  throw new RangeError('these are no bits of a segment')
}

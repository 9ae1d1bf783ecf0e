import { concat, frame, sha256 } from '../../core/bytes.ts'
import { MAX_ENTRY_BYTES } from './entry.ts'

/** A group is what a writer commits at once: entries side by side, chained to the groups before it, under one MAC of the token. Pure. */

/** The most entries and bytes that a writer puts into one group. */
export const MAX_GROUP_ENTRIES = 4096
export const MAX_GROUP_BYTES = 8 * 1024 * 1024

/** What the MAC of a group covers. */
export interface GroupHead {
  readonly writer: number
  readonly epoch: number
  /** The sequence number of the first entry. An epoch starts at 0. */
  readonly firstSeq: number
  readonly count: number
  /** See {@link nextChain}. */
  readonly chain: Uint8Array
}

/** The entry bundle of C2SP tlog-tiles: each entry as a big-endian uint16 length and its bytes. */
export function encodeBundle(entries: readonly Uint8Array[]): Uint8Array {
  const parts = entries.flatMap((entry) => {
    if (entry.length > MAX_ENTRY_BYTES) throw new RangeError('an entry is too long for a bundle')
    return [Uint8Array.of(entry.length >> 8, entry.length & 255), entry]
  })
  return concat(...parts)
}

/** The inverse of {@link encodeBundle}. Throws a RangeError when the lengths do not fill the bytes exactly. */
export function decodeBundle(bundle: Uint8Array): Uint8Array[] {
  const entries: Uint8Array[] = []
  let at = 0
  while (at < bundle.length) {
    const [high, low] = bundle.subarray(at, at + 2)
    if (high === undefined || low === undefined) throw new RangeError('a bundle ends inside a length')
    const end = at + 2 + high * 256 + low
    if (end > bundle.length) throw new RangeError('a bundle ends inside an entry')
    entries.push(bundle.subarray(at + 2, end))
    at = end
  }
  return entries
}

/** Where the chain of an epoch starts: SHA-256 of ("gridseal-chain-v1", writer, epoch), framed. */
export const startChain = (writer: number, epoch: number): Uint8Array => sha256(frame(['gridseal-chain-v1', String(writer), String(epoch)]))

/** The chain after a group: SHA-256(chain before || SHA-256(bundle)). */
export const nextChain = (chain: Uint8Array, bundle: Uint8Array): Uint8Array => sha256(chain, sha256(bundle))

/** The bytes that are MACed: ("gridseal-group-v1", writer, epoch, first sequence, count, chain), framed; numbers in decimal. */
export const groupMessage = ({ writer, epoch, firstSeq, count, chain }: GroupHead): Uint8Array =>
  frame(['gridseal-group-v1', String(writer), String(epoch), String(firstSeq), String(count), chain])

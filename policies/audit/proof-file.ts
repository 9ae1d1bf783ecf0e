import { base64, fromStrictBase64 } from '../../core/bytes.ts'

/** Proofs of inclusion as text (C2SP tlog-proof v1, files `.tlog-proof`). Form only: whether a proof holds, its reader finds out. Pure. */

export interface ProofFile {
  /** The entry's place in the log, from 0. */
  readonly index: number
  /** From the leaf's sibling up to a child of the root (RFC 6962 2.1.1), 32 bytes each. */
  readonly hashes: readonly Uint8Array[]
  /** The checkpoint, a signed note, as the log gave it. */
  readonly note: string
  /** Signed by nobody, so nothing to believe. Not empty. */
  readonly extra?: Uint8Array
}

/** Text that is not a proof, or a proof that has no text. */
export class ProofFileError extends Error {
  override readonly name = 'ProofFileError'
}

const HEADER = 'c2sp.org/tlog-proof@v1'
/** As of a note, with room for what stands before it. */
const MAX_LENGTH = 1_100_000
const MAX_EXTRA_BYTES = 65_535
/** Indexes are below 2^53: no path is longer. */
const MAX_HASHES = 53
const INDEX = /^index (0|[1-9][0-9]{0,15})$/
const HASH = /^[A-Za-z0-9+/]{43}=$/

/** Throws a {@link ProofFileError} on parts that {@link parseProof} would not read. */
export function encodeProof(proof: ProofFile): string {
  const { index, hashes, note, extra } = proof
  checkParts(proof)
  const head = [HEADER, ...(extra === undefined ? [] : [`extra ${base64(extra)}`]), `index ${index}`, ...hashes.map(base64)]
  return `${head.join('\n')}\n\n${note}`
}

/** Strict: what it takes is byte for byte what {@link encodeProof} makes of it. Throws a {@link ProofFileError}. */
export function parseProof(text: string): ProofFile {
  if (text.length > MAX_LENGTH) throw new ProofFileError('the proof is too long')
  const end = text.indexOf('\n\n')
  if (end < 0) throw new ProofFileError('the proof has no checkpoint: it was cut off, or is not a tlog-proof')
  const [header, ...lines] = text.slice(0, end).split('\n')
  if (header !== HEADER) throw new ProofFileError(`the first line is not ${HEADER}`)
  const extra = lines[0]?.startsWith('extra ') === true ? strictBase64(lines.shift()?.slice('extra '.length) ?? '') : undefined
  const digits = INDEX.exec(lines.shift() ?? '')?.[1]
  if (digits === undefined) throw new ProofFileError('the line of the index is missing, or not a number without leading zeros')
  if (lines.length > MAX_HASHES) throw new ProofFileError('the proof has too many hashes')
  const hashes = lines.map((line) => {
    if (!HASH.test(line)) throw new ProofFileError('a hash is not the base64 of 32 bytes')
    return strictBase64(line)
  })
  const proof: ProofFile = { index: Number(digits), hashes, note: text.slice(end + 2), ...(extra === undefined ? {} : { extra }) }
  checkParts(proof)
  return proof
}

function checkParts({ index, hashes, note, extra }: ProofFile): void {
  if (!Number.isSafeInteger(index) || index < 0) throw new ProofFileError('the index is not one of an entry')
  if (hashes.length > MAX_HASHES || hashes.some(({ length }) => length !== 32))
    throw new ProofFileError('the proof has too many hashes, or one that has not 32 bytes')
  if (extra !== undefined && (extra.length === 0 || extra.length > MAX_EXTRA_BYTES)) throw new ProofFileError('the extra data is empty or too long')
  if (note.startsWith('\n') || !note.endsWith('\n') || note.length > 1_000_000) throw new ProofFileError('the checkpoint is empty, cut off or too long')
}

/** Base64 of RFC 4648 4, padded, with no stray bits. */
function strictBase64(text: string): Uint8Array {
  const bytes = fromStrictBase64(text)
  if (bytes === undefined) throw new ProofFileError('not canonical base64')
  return bytes
}

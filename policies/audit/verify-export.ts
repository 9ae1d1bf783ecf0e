import { ahead } from '../../core/ahead.ts'
import { concat } from '../../core/bytes.ts'
import { digestLines, type ExportDigest } from './entry-digest.ts'
import { type LogReport, type LogVerifier, openByAny } from './verify.ts'

/** How the pieces of a log are verified: here and now, or as whoever runs it can do it better. */
export interface VerifyingSettings<Digest> {
  /** Digests a piece, which is then its own: in another thread, say. */
  readonly digest?: (piece: Uint8Array) => Digest | Promise<Digest>
  /** Pieces under way at once. */
  readonly window?: number
  /** Runs what checks signatures; browsers check them later. Default: at once. */
  readonly settle?: Settle
  /** Told of the entries that were followed, piece by piece. */
  readonly onProgress?: (entries: number) => void
}

/** Gives what `work` gives. It may run `work` again: it has no effects. */
export type Settle = <Result>(work: () => Result) => Result | Promise<Result>

export const atOnce: Settle = (work) => work()

/** Lines of about so many bytes are digested together. */
const PIECE_BYTES = 512 * 1024
/** No line of an export is longer: what has no line end by then is none. */
const MAX_LINE_BYTES = 4 * 1024 * 1024

/** Follows an exported log, as it comes, to its end. Throws what `chunks` throws; a bad log is a report. */
export async function verifyExport(
  verifier: LogVerifier,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { digest = digestLines, window = 4, settle = atOnce, onProgress }: VerifyingSettings<ExportDigest> = {},
): Promise<LogReport> {
  for await (const piece of ahead(piecesOf(chunks), window, digest)) {
    const notes = piece.lines.flatMap((line) => (line.is === 'checkpoint' ? [line.note] : []))
    verifier.addExported(piece, await Promise.all(notes.map(async (note) => settle(() => openByAny(note, verifier.keys)))))
    onProgress?.(piece.kinds.length)
  }
  return verifier.finish()
}

/** Cuts at line ends. Each piece has memory of its own. */
async function* piecesOf(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let held: Uint8Array[] = []
  let heldBytes = 0
  for await (const chunk of chunks) {
    held.push(chunk)
    heldBytes += chunk.length
    if (heldBytes < PIECE_BYTES) continue
    const end = chunk.lastIndexOf(NEWLINE) + 1
    if (end === 0 && heldBytes <= MAX_LINE_BYTES) continue
    const cut = end === 0 ? chunk.length : end
    held[held.length - 1] = chunk.subarray(0, cut)
    yield Uint8Array.from(concat(...held))
    held = [chunk.subarray(cut)]
    heldBytes = chunk.length - cut
  }
  if (heldBytes > 0) yield Uint8Array.from(concat(...held))
}

const NEWLINE = 10

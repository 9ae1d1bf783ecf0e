import { NoteError, parseLogKey } from '../../policies/audit/checkpoint.ts'
import { checkConsistency, type ConsistencyReport, openPair, proofFromTiles } from '../../policies/audit/consistency.ts'
import type { TileSource } from '../../policies/audit/tile-source.ts'
import { type LogReport, LogVerifier, openByAny } from '../../policies/audit/verify.ts'
import { verifyExport } from '../../policies/audit/verify-export.ts'
import { verifyTiles } from '../../policies/audit/verify-tiles.ts'
import { type EntryProof, type ProofReport, verifyEntryProof } from '../audit-proof.ts'
import { settled } from './public-key.ts'

/**
 * The verifier of the audit log in a web page: the code of `gridseal audit verify`, without Node. A bundler takes it with what the field `browser` of
 * package.json names. Keys are in C2SP note form, the oldest first. All of them throw a NoteError when a key or a known checkpoint will not do.
 */

interface Trusted {
  readonly keys: readonly string[]
  /** Signed checkpoints kept from earlier, which the log must still contain. */
  readonly known?: readonly string[]
  readonly onProgress?: (entries: number) => void
}

/** An export: `(await fetch(url)).body`, or a file's `stream()`. */
export async function verifyExportedLog(chunks: ReadableStream<Uint8Array>, { onProgress, ...trusted }: Trusted): Promise<LogReport> {
  return verifyExport(await verifierOf(trusted), chunksOf(chunks), { settle: settled, ...(onProgress === undefined ? {} : { onProgress }) })
}

/** A tlog-tiles log with entries, such as a mirror. */
export async function verifyTiledLog(source: TileSource, { onProgress, ...trusted }: Trusted): Promise<LogReport> {
  return verifyTiles(await verifierOf(trusted), source, { settle: settled, ...(onProgress === undefined ? {} : { onProgress }) })
}

/** One entry by its proof. */
export const verifyProof = (proof: EntryProof): Promise<ProofReport> => settled(() => verifyEntryProof(proof))

/** Whether the newer of two checkpoints extends the older one, by the hash tiles of the log. */
export async function verifyConsistency(
  pair: { readonly older: string; readonly newer: string },
  { keys, tiles }: { readonly keys: readonly string[]; readonly tiles: TileSource },
): Promise<ConsistencyReport> {
  const read = keys.map(parseLogKey)
  const opened = await settled(() => openPair(pair, read))
  if ('ok' in opened) return opened
  const proof = await proofFromTiles(tiles, opened.from.checkpoint.size, opened.to.checkpoint.size)
  if (proof === undefined) return { ok: false, reason: 'a tile is missing or short' }
  return settled(() => checkConsistency(pair, read, proof))
}

async function verifierOf({ keys, known = [] }: Pick<Trusted, 'keys' | 'known'>): Promise<LogVerifier> {
  const read = keys.map(parseLogKey)
  const key = read.at(-1)
  if (key === undefined) throw new NoteError('a log is verified with its key')
  const checkpoints = await Promise.all(
    known.map(async (note) => {
      const opened = await settled(() => openByAny(note, read))
      if ('fault' in opened) throw new NoteError(`a checkpoint kept from earlier: ${opened.fault}`)
      return opened.checkpoint
    }),
  )
  return new LogVerifier(key, { replaced: read.slice(0, -1), known: checkpoints })
}

/** Not every browser iterates over a stream by itself. */
async function* chunksOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    yield value
  }
}

import { equalBytes } from '../../../core/bytes.ts'
import type { Entry } from '../entry.ts'
import { decodeBundle } from '../group.ts'
import { append, type Edge, edgeAt, EMPTY_EDGE, leafHash, rootOf } from '../merkle.ts'
import { readUnchecked } from '../search/segment-reader.ts'
import { readTile, type TileSource } from '../tile-source.ts'
import { widthIn } from '../tile-path.ts'
import { nodesOf, TILE_WIDTH, tilesFor } from '../tiles.ts'

/** An archive that is not what was verified: it changed meanwhile. */
export class ArchiveError extends Error {
  override readonly name = 'ArchiveError'
}

export interface ArchivedEntry {
  readonly index: number
  readonly entry: Entry
}

/**
 * The entries of an archive that was verified, from the first up to an index that is a multiple of 256, a bundle at a time. Answers at its end the root over them,
 * made of their bytes: they are what was verified where it is the same.
 * Throws an {@link ArchiveError} for a bundle that is missing or none, and an EntryError.
 */
export async function* archivedEntries(source: TileSource, before: number): AsyncGenerator<readonly ArchivedEntry[], Uint8Array> {
  let edge: Edge = EMPTY_EDGE
  for (let index = 0; index * TILE_WIDTH < before; index += 1) {
    const bundle = await bundleAt(source, index)
    edge = append(edge, bundle.map(leafHash))
    yield bundle.map((bytes, at) => ({ index: index * TILE_WIDTH + at, entry: readUnchecked(bytes) }))
  }
  return rootOf(edge)
}

/** The exact bytes of one entry. The same errors. */
export async function archivedEntry(source: TileSource, index: number): Promise<Uint8Array> {
  const number = Math.floor(index / TILE_WIDTH)
  const bytes = (await bundleAt(source, number, (index % TILE_WIDTH) + 1))[index % TILE_WIDTH]
  if (bytes === undefined) throw new ArchiveError(`the archive has no entry ${index}`)
  return bytes
}

/** The root that the tiles of an archive of `of` entries make at a size. Undefined where one is missing. */
export async function archivedRoot(source: TileSource, size: number, of: number): Promise<Uint8Array | undefined> {
  const tiles = new Map<string, Uint8Array>()
  for (const place of tilesFor((nodeAt) => edgeAt(size, nodeAt)))
    tiles.set(`${place.level}/${place.index}`, (await readTile(source, { ...place, width: widthIn(of, place) }))?.bytes ?? new Uint8Array())
  try {
    return rootOf(
      edgeAt(
        size,
        nodesOf((level, index) => tiles.get(`${level}/${index}`)),
      ),
    )
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

export const isSameRoot = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean => a !== undefined && b !== undefined && equalBytes(a, b)

/** A bundle with so many entries, or more. */
async function bundleAt(source: TileSource, index: number, width = TILE_WIDTH): Promise<Uint8Array[]> {
  for (let wide = width; wide <= TILE_WIDTH; wide += 1) {
    const stored = await readTile(source, { level: 'entries', index, width: wide })
    if (stored === undefined) continue
    try {
      return decodeBundle(stored.bytes)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      throw new ArchiveError(`the bundle ${index} of the archive is damaged`, { cause: error })
    }
  }
  throw new ArchiveError(`the archive has no bundle ${index}`)
}

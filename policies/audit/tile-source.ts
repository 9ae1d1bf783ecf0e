import { type TilePath, tilePath } from './tile-path.ts'
import { TILE_WIDTH } from './tiles.ts'

/** A tlog-tiles log to read: a folder, a server, what a page was given. Not trusted. */
export interface TileSource {
  /** A resource by its path under the log's prefix; undefined where there is none. Throws where it cannot be known. */
  read(path: string): Promise<Uint8Array | undefined>
}

/** What was read, and how wide it has to be. */
export interface StoredTile {
  readonly bytes: Uint8Array
  readonly width: number
}

/** A partial tile or bundle, or the full one in its place, which logs may keep alone. Undefined where there is neither. */
export async function readTile(source: TileSource, path: TilePath): Promise<StoredTile | undefined> {
  for (const width of path.width < TILE_WIDTH ? [path.width, TILE_WIDTH] : [TILE_WIDTH]) {
    const bytes = await source.read(tilePath({ ...path, width }))
    if (bytes !== undefined) return { bytes, width }
  }
  return undefined
}

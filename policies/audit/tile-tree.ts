import { type Edge, edgeAt, EMPTY_EDGE } from './merkle.ts'
import { widthIn } from './tile-path.ts'
import { readTile, type TileSource } from './tile-source.ts'
import { nodesOf, type Tile, TILE_WIDTH, tilesFor } from './tiles.ts'

/** A tree to go on from: all that appending to it needs, whatever its size. */
export interface TreeEnd {
  readonly edge: Edge
  /** The right-most tiles that are not full. */
  readonly partials: readonly Tile[]
}

/** The end of a tree of this size, of its stored tiles, which are not trusted: the root over the edge is to be compared. Undefined where one is missing or short. */
export async function treeEnd(source: TileSource, size: number): Promise<TreeEnd | undefined> {
  if (size === 0) return { edge: EMPTY_EDGE, partials: [] }
  const partials: Tile[] = []
  for (let level = 0; size >= TILE_WIDTH ** level; level += 1) {
    const index = Math.floor(size / TILE_WIDTH ** (level + 1))
    const width = widthIn(size, { level, index })
    if (width === 0) continue
    const stored = await readTile(source, { level, index, width })
    if (stored?.bytes.length !== 32 * (stored?.width ?? 0)) return undefined
    partials.push({ level, index, hashes: stored.bytes.slice(0, 32 * width) })
  }
  const tiles = new Map(partials.map(({ level, index, hashes }) => [`${level}/${index}`, hashes]))
  for (const place of tilesFor((nodeAt) => edgeAt(size, nodeAt))) {
    const name = `${place.level}/${place.index}`
    if (!tiles.has(name)) tiles.set(name, (await readTile(source, { ...place, width: widthIn(size, place) }))?.bytes ?? new Uint8Array())
  }
  try {
    return {
      edge: edgeAt(
        size,
        nodesOf((level, index) => tiles.get(`${level}/${index}`)),
      ),
      partials,
    }
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

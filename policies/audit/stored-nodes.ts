import type { NodeAt } from './merkle.ts'
import { nodesOf, type Tile, tilesFor } from './tiles.ts'

/** Reads those of these tiles that are there. */
export type ReadTiles = (places: readonly { readonly level: number; readonly index: number }[]) => Promise<Tile[]>

/**
 * The nodes that `walk` asks for, out of one reading of tiles: it is run once to learn which. The function throws a RangeError for a node whose tile is missing or
 * short. Each node is made once: neighbouring paths share most of theirs.
 */
export async function storedNodes(read: ReadTiles, walk: (nodeAt: NodeAt) => unknown): Promise<NodeAt> {
  const tiles = new Map((await read(tilesFor(walk))).map((tile) => [`${tile.level}/${tile.index}`, tile.hashes]))
  const made = new Map<string, Uint8Array>()
  const fromTiles = nodesOf((level, index) => tiles.get(`${level}/${index}`))
  return (level, index) => {
    const name = `${level}/${index}`
    const node = made.get(name) ?? fromTiles(level, index)
    made.set(name, node)
    return node
  }
}

import { concat } from '../../core/bytes.ts'
import { type NodeAt, nodeHash } from './merkle.ts'

/** Hash tiles of C2SP tlog-tiles: the nodes of tree level 8*level, 256 a tile, side by side. Pure. */

export const TILE_HEIGHT = 8
export const TILE_WIDTH = 256

export interface Tile {
  /** Tile level: its hashes are nodes of tree level 8 * level. */
  readonly level: number
  readonly index: number
  /** 1 to 256 hashes of 32 bytes. Fewer than 256: the right-most tile of its level. */
  readonly hashes: Uint8Array
}

/** Collects the nodes that {@link append} shows it into tiles. It starts from the partial tiles of the tree as it is. */
export class TileWriter {
  readonly #open = new Map<number, { index: number; hashes: Uint8Array[] }>()
  #full: Tile[] = []
  readonly #touched = new Set<number>()

  constructor(partials: readonly Tile[]) {
    for (const { level, index, hashes } of partials) {
      const list: Uint8Array[] = []
      for (let at = 0; at < hashes.length; at += 32) list.push(hashes.subarray(at, at + 32))
      this.#open.set(level, { index, hashes: list })
    }
  }

  /** Throws a RangeError when a node does not follow the last one of its level: the partial tiles are not this tree's. */
  readonly visit = (treeLevel: number, index: number, node: Uint8Array): void => {
    if (treeLevel % TILE_HEIGHT !== 0) return
    const level = treeLevel / TILE_HEIGHT
    const tileIndex = Math.floor(index / TILE_WIDTH)
    const open = this.#open.get(level) ?? { index: tileIndex, hashes: [] }
    if (open.index !== tileIndex || open.hashes.length !== index % TILE_WIDTH) throw new RangeError(`the partial tile of level ${level} is not this tree's`)
    open.hashes.push(node)
    this.#touched.add(level)
    if (open.hashes.length === TILE_WIDTH) {
      this.#full.push({ level, index: open.index, hashes: concat(...open.hashes) })
      this.#open.delete(level)
    } else this.#open.set(level, open)
  }

  /** The tiles that became full since it was asked last. */
  takeFull(): readonly Tile[] {
    const taken = this.#full
    this.#full = []
    return taken
  }

  /** The right-most tiles that changed and are not full. */
  partial(): Tile[] {
    return [...this.#open].filter(([level]) => this.#touched.has(level)).map(([level, { index, hashes }]) => ({ level, index, hashes: concat(...hashes) }))
  }
}

/** The right-most tiles of a tree that grows, from its tiles as they are. */
export class OpenTiles {
  #partials: readonly Tile[]

  constructor(partials: readonly Tile[] = []) {
    this.#partials = partials
  }

  /** Those that are not full. */
  get partials(): readonly Tile[] {
    return this.#partials
  }

  /** The tiles that became full by the nodes that `show` shows, from tree level `lowest` on. */
  grow(show: (visit: TileWriter['visit']) => void, lowest = 0): readonly Tile[] {
    const writer = new TileWriter(this.#partials)
    show((treeLevel, index, node) => {
      if (treeLevel >= lowest) writer.visit(treeLevel, index, node)
    })
    const [full, open] = [writer.takeFull(), writer.partial()]
    const changed = new Set([...full, ...open].map(({ level }) => level))
    this.#partials = [...this.#partials.filter(({ level }) => !changed.has(level)), ...open]
    return full
  }
}

/** Which tile holds the node, and which of its hashes the node is the root of. */
export function placeOf(treeLevel: number, index: number): { readonly level: number; readonly tile: number; readonly from: number; readonly count: number } {
  const level = Math.floor(treeLevel / TILE_HEIGHT)
  const count = 2 ** (treeLevel % TILE_HEIGHT)
  const first = index * count
  return { level, tile: Math.floor(first / TILE_WIDTH), from: first % TILE_WIDTH, count }
}

/** The tiles that hold the nodes that `walk` asks for. */
export function tilesFor(walk: (nodeAt: NodeAt) => unknown): { readonly level: number; readonly index: number }[] {
  const places = new Map<string, { readonly level: number; readonly index: number }>()
  walk((treeLevel, at) => {
    const { level, tile } = placeOf(treeLevel, at)
    places.set(`${level}/${tile}`, { level, index: tile })
    return NOWHERE
  })
  return [...places.values()]
}

const NOWHERE = new Uint8Array(32)

/** Nodes out of tiles. The function throws a RangeError for a node that the tiles do not hold in full. */
export const nodesOf =
  (tileAt: (level: number, index: number) => Uint8Array | undefined): NodeAt =>
  (treeLevel, index) => {
    const { level, tile, from, count } = placeOf(treeLevel, index)
    const hashes = tileAt(level, tile)
    if (hashes === undefined || hashes.length < (from + count) * 32) throw new RangeError(`tile ${level}/${tile} is missing or short`)
    let row: Uint8Array[] = Array.from({ length: count }, (_, at) => hashes.subarray((from + at) * 32, (from + at + 1) * 32))
    while (row.length > 1) {
      row = row.flatMap((left, at) => {
        const right = row[at + 1]
        return at % 2 === 0 && right !== undefined ? [nodeHash(left, right)] : []
      })
    }
    const [node] = row
    if (node === undefined) throw new RangeError('an empty tile')
    return node
  }

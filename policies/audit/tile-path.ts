import { TILE_WIDTH } from './tiles.ts'

/** Paths of C2SP tlog-tiles under the log's prefix: `tile/<L>/<N>[.p/<W>]`, `tile/entries/<N>[.p/<W>]`. Pure. */

export interface TilePath {
  /** Of the hash tile, or the entries below level 0. */
  readonly level: number | 'entries'
  readonly index: number
  /** 1 to 256: how many hashes or entries it has. */
  readonly width: number
}

const MAX_LEVEL = 63
const PATH = /^tile\/(entries|0|[1-9]\d?)\/((?:x\d{3}\/)*\d{3})(?:\.p\/([1-9]\d{0,2}))?$/

/** Such as `tile/0/x001/x234/067.p/12`. */
export function tilePath({ level, index, width }: TilePath): string {
  const groups: string[] = []
  for (let rest = index; groups.length === 0 || rest > 0; rest = Math.floor(rest / 1000)) groups.unshift(String(rest % 1000).padStart(3, '0'))
  const place = groups.map((group, at) => (at < groups.length - 1 ? `x${group}` : group)).join('/')
  return `tile/${level}/${place}${width < TILE_WIDTH ? `.p/${width}` : ''}`
}

/** Undefined for what is no path in the one form that {@link tilePath} gives. */
export function parseTilePath(path: string): TilePath | undefined {
  const [, level = '', place = '', width] = PATH.exec(path) ?? []
  const found: TilePath = {
    level: level === 'entries' ? level : Number(level),
    index: Number(place.replaceAll(/[x/]/g, '')),
    width: width === undefined ? TILE_WIDTH : Number(width),
  }
  // One path for one tile: no groups of zeros before the first, no width of a full one, no index without loss.
  return level !== '' && (found.level === 'entries' || found.level <= MAX_LEVEL) && Number.isSafeInteger(found.index) && tilePath(found) === path
    ? found
    : undefined
}

/** How wide the tile is in a log of this size: 0 where there is none. */
export function widthIn(size: number, { level, index }: Pick<TilePath, 'level' | 'index'>): number {
  const hashes = Math.floor(size / TILE_WIDTH ** (level === 'entries' ? 0 : level))
  return Math.max(0, Math.min(TILE_WIDTH, hashes - index * TILE_WIDTH))
}

/** Every hash tile of a log of this size, but those that are full already in a log of `from` entries, lowest level first. */
export function* tilesOf(size: number, from = 0): Generator<TilePath> {
  for (let level = 0; widthIn(size, { level, index: 0 }) > 0; level += 1) {
    for (let index = Math.floor(from / TILE_WIDTH ** (level + 1)); ; index += 1) {
      const width = widthIn(size, { level, index })
      if (width === 0) break
      yield { level, index, width }
    }
  }
}

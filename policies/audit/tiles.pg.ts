import type { Tile } from './tiles.ts'

export interface TileRow {
  readonly level: number
  readonly index: string
  readonly hashes: Buffer
}

/** Full tiles and right-most ones, for {@link placesAsked}. One statement: a tile that becomes full meanwhile is seen in one of the two tables. */
export const TILES_AT = `
  WITH asked AS (SELECT DISTINCT * FROM unnest($1::int[], $2::bigint[]) AS a (level, index))
  SELECT level, index, hashes FROM asked JOIN audit_partial_tiles USING (level, index)
  UNION ALL SELECT level, index, hashes FROM asked JOIN audit_tiles USING (level, index)`

export const placesAsked = (places: readonly { readonly level: number; readonly index: number }[]): readonly unknown[] => [
  places.map(({ level }) => level),
  places.map(({ index }) => index),
]

export const tileOf = ({ level, index, hashes }: TileRow): Tile => ({ level, index: Number(index), hashes })

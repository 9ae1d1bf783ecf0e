import type { Sql } from '../../core/tx.ts'
import { edgeAt, rootOf } from './merkle.ts'
import { storedNodes } from './stored-nodes.ts'
import { placesAsked, type TileRow, tileOf, TILES_AT } from './tiles.pg.ts'

/** The root that the stored tiles make at a size. Undefined where one is missing or short. */
export async function storedRoot(sql: Sql, size: number): Promise<Uint8Array | undefined> {
  const nodeAt = await storedNodes(
    async (places) => (await sql.query<TileRow>(TILES_AT, placesAsked(places))).map(tileOf),
    (node) => edgeAt(size, node),
  )
  try {
    return rootOf(edgeAt(size, nodeAt))
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

import type { LogKey } from './checkpoint.ts'
import { consistencyProof, verifyConsistency } from './merkle.ts'
import { widthIn } from './tile-path.ts'
import { readTile, type TileSource } from './tile-source.ts'
import { nodesOf, tilesFor } from './tiles.ts'
import { type OpenedCheckpoint, openByAny } from './verify.ts'

/** Whether a newer checkpoint of a log extends an older one (RFC 6962 2.1.2). Pure. */

export type ConsistencyReport =
  | { readonly ok: true; readonly origin: string; readonly from: number; readonly to: number }
  | { readonly ok: false; readonly reason: string }

/** The two checkpoints opened, or why they cannot be compared. `keys`: of the log, in their order. */
export function openPair(
  { older, newer }: { readonly older: string; readonly newer: string },
  keys: readonly LogKey[],
): { readonly from: OpenCheckpoint; readonly to: OpenCheckpoint } | { readonly ok: false; readonly reason: string } {
  const [from, to] = [openByAny(older, keys), openByAny(newer, keys)]
  if ('fault' in from) return { ok: false, reason: `the older checkpoint: ${from.fault}` }
  if ('fault' in to) return { ok: false, reason: `the newer checkpoint: ${to.fault}` }
  if (from.checkpoint.size > to.checkpoint.size)
    return { ok: false, reason: `the newer checkpoint is over ${to.checkpoint.size} entries, the older one over ${from.checkpoint.size}` }
  if (from.signer > to.signer) return { ok: false, reason: 'the newer checkpoint is by a key that had been replaced before the older one was signed' }
  return { from, to }
}

type OpenCheckpoint = Extract<OpenedCheckpoint, { readonly signer: number }>

/** `proof`: of RFC 6962 2.1.2, between the two sizes. The empty tree proves nothing: a checkpoint over it is extended by no other. */
export function checkConsistency(
  pair: { readonly older: string; readonly newer: string },
  keys: readonly LogKey[],
  proof: readonly Uint8Array[],
): ConsistencyReport {
  const opened = openPair(pair, keys)
  if ('ok' in opened) return opened
  const [from, to] = [opened.from.checkpoint, opened.to.checkpoint]
  if (!verifyConsistency({ from: from.size, to: to.size, fromRoot: from.root, toRoot: to.root, proof }))
    return { ok: false, reason: `the proof does not lead from the root over ${from.size} entries to the one over ${to.size}` }
  return { ok: true, origin: to.origin, from: from.size, to: to.size }
}

/** The proof, made of stored tiles. They are not trusted: it is to be checked. Undefined where a tile is missing or short, and for sizes without a proof. */
export async function proofFromTiles(source: TileSource, from: number, to: number): Promise<Uint8Array[] | undefined> {
  if (!(from > 0 && from <= to)) return undefined
  const places = tilesFor((nodeAt) => consistencyProof(from, to, nodeAt))
  const stored = await Promise.all(places.map((place) => readTile(source, { ...place, width: widthIn(to, place) })))
  const tiles = new Map(places.map(({ level, index }, at) => [`${level}/${index}`, stored[at]?.bytes]))
  try {
    return consistencyProof(
      from,
      to,
      nodesOf((level, index) => tiles.get(`${level}/${index}`)),
    )
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

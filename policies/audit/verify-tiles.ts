import { ahead } from '../../core/ahead.ts'
import { equalBytes, fromUtf8 } from '../../core/bytes.ts'
import { digestBundle, type EntryDigest } from './entry-digest.ts'
import { tilePath, type TilePath, widthIn } from './tile-path.ts'
import { readTile, type StoredTile, type TileSource } from './tile-source.ts'
import { OpenTiles, TILE_HEIGHT, TILE_WIDTH } from './tiles.ts'
import { type LogReport, type LogVerifier, openByAny } from './verify.ts'
import { atOnce, type VerifyingSettings } from './verify-export.ts'

/**
 * Follows a whole tlog-tiles log up to its checkpoint: entries out of bundles, the tree that they make against the stored tiles of every level, its root
 * against the checkpoint. Throws what the source throws; a bad log is a report. Without a checkpoint that holds, or beyond a missing bundle, nothing can be
 * followed. `onCheckpoint`: what else the checkpoint has to keep, such as a quorum of witnesses.
 */
export async function verifyTiles(
  verifier: LogVerifier,
  source: TileSource,
  {
    digest = digestBundle,
    window = 8,
    settle = atOnce,
    onProgress,
    onCheckpoint,
  }: VerifyingSettings<EntryDigest> & { readonly onCheckpoint?: (note: string) => void | Promise<void> } = {},
): Promise<LogReport> {
  const note = await source.read('checkpoint')
  if (note === undefined) {
    verifier.find('resource-missing', 'there is no checkpoint')
    return verifier.finish()
  }
  const text = fromUtf8(note)
  const opened = await settle(() => openByAny(text, verifier.keys))
  if ('fault' in opened) {
    verifier.addCheckpoint(opened)
    return verifier.finish()
  }
  await onCheckpoint?.(text)
  const { size } = opened.checkpoint
  const fetched = ahead(bundlesOf(size), window, async (path) => {
    const [bundle, leaves] = await Promise.all([readTile(source, path), readTile(source, { ...path, level: 0 })])
    return { path, leaves, bundle, piece: bundle && (await digestOf(bundle, digest)) }
  })
  const open = new OpenTiles()
  for await (const { path, leaves, bundle, piece } of fetched) {
    if (piece === undefined) {
      if (bundle === undefined) verifier.find('resource-missing', `${tilePath(path)} is not there`)
      else verifier.find('bundle-malformed', `${tilePath({ ...path, width: bundle.width })} is not a bundle of so many entries`)
      return verifier.finish()
    }
    const cut = cutTo(piece, path.width)
    compare(verifier, { ...path, level: 0 }, cut.leaves, leaves)
    const full = open.grow((visit) => verifier.addEntries(cut, visit), TILE_HEIGHT)
    for (const { level, index, hashes } of full) await compareStored(verifier, source, { level, index, width: TILE_WIDTH }, hashes)
    onProgress?.(cut.kinds.length)
  }
  for (const { level, index, hashes } of open.partials) await compareStored(verifier, source, { level, index, width: hashes.length / 32 }, hashes)
  verifier.addCheckpoint(opened)
  return verifier.finish()
}

/** The bundles of a log of this size. */
function* bundlesOf(size: number): Generator<TilePath> {
  for (let index = 0; index * TILE_WIDTH < size; index += 1) yield { level: 'entries', index, width: widthIn(size, { level: 'entries', index }) }
}

/** Undefined where it is no bundle, or has not as many entries as its path says. */
async function digestOf({ bytes, width }: StoredTile, digest: (piece: Uint8Array) => EntryDigest | Promise<EntryDigest>): Promise<EntryDigest | undefined> {
  try {
    const piece = await digest(bytes)
    return piece.kinds.length === width ? piece : undefined
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

/** The first entries of a piece: of a full bundle where the log is not so long yet. */
function cutTo(piece: EntryDigest, width: number): EntryDigest {
  if (piece.kinds.length === width) return piece
  const { leaves, kinds, writers, notable, firstTime, lastTime } = piece
  return {
    leaves: leaves.subarray(0, 32 * width),
    kinds: kinds.subarray(0, width),
    writers: writers.subarray(0, 3 * width),
    notable: notable.filter(({ at }) => at < width),
    ...(firstTime === undefined || lastTime === undefined ? {} : { firstTime, lastTime }),
  }
}

async function compareStored(verifier: LogVerifier, source: TileSource, path: TilePath, made: Uint8Array): Promise<void> {
  compare(verifier, path, made, await readTile(source, path))
}

function compare(verifier: LogVerifier, path: TilePath, made: Uint8Array, stored: StoredTile | undefined): void {
  if (stored === undefined) verifier.find('resource-missing', `${tilePath(path)} is not there`)
  // A full tile in place of a partial one begins with the same hashes.
  else if (stored.bytes.length !== 32 * stored.width || !equalBytes(stored.bytes.subarray(0, made.length), made))
    verifier.find('tile-mismatch', `${tilePath(path)} is not the tile that the entries make`)
}

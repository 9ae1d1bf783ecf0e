import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { ahead } from '../core/ahead.ts'
import { concat, equalBytes, fromUtf8, utf8 } from '../core/bytes.ts'
import { writeDurably } from '../core/durable-file.ts'
import { type Checkpoint, type LogKey, parseLogKey } from '../policies/audit/checkpoint.ts'
import { decodeBundle, encodeBundle } from '../policies/audit/group.ts'
import { append, leafHash, rootOf } from '../policies/audit/merkle.ts'
import { tilePath, type TilePath, tilesOf, widthIn } from '../policies/audit/tile-path.ts'
import { treeEnd } from '../policies/audit/tile-tree.ts'
import { OpenTiles, TILE_WIDTH } from '../policies/audit/tiles.ts'
import { openByAny } from '../policies/audit/verify.ts'
import { judgeCheckpoint, type WitnessPolicy } from '../policies/audit/witness-policy.ts'
import { folderSource } from './audit-source.ts'

/** The service as a mirror needs it. Not trusted. */
export interface MirroredLog {
  /** The last signed note, and the newest that enough witnesses have cosigned. */
  checkpoint(): Promise<{ readonly note: string; readonly witnessed?: string }>
  /** `count` bundles from the one at `index` on, side by side, the last of them `width` wide. */
  bundles(index: number, count: number, width: number): Promise<Uint8Array>
}

export interface MirrorSettings {
  readonly log: MirroredLog
  /** Becomes a static tlog-tiles log, entries and all: people and callers are named in it. */
  readonly folder: string
  /** The log's public keys in C2SP note form, in the order in which they signed. */
  readonly keys: readonly string[]
  /** The quorum of witnesses that must have cosigned the checkpoint that the folder gets. */
  readonly policy?: WitnessPolicy
  readonly onProgress?: (entries: number) => void
  /** Bundles asked for at once. Default 32: about 5 MB. */
  readonly batch?: number
}

export interface Mirrored {
  /** Entries before and after. */
  readonly from: number
  readonly to: number
}

/** What the log shows is not what it has signed, or not what it showed before. The folder is as it was. */
export class MirrorError extends Error {
  override readonly name = 'MirrorError'
}

/** Requests under way. */
const WINDOW = 2

/**
 * Brings a folder up to the log's last checkpoint. The tree is made here of the entries: the checkpoint is put into the folder, last, when its root is
 * theirs, and the tree then contains the one that the folder had. It may be cut off at any moment: what was fetched is not fetched again.
 * Throws a {@link MirrorError}, a NoteError when a key will not do, and what the file system and the log throw.
 */
export async function mirror(settings: MirrorSettings): Promise<Mirrored> {
  const keys = settings.keys.map(parseLogKey)
  const held = await folderSource(settings.folder).read('checkpoint')
  const before = held === undefined ? undefined : open(fromUtf8(held), keys, 'the checkpoint in the folder')
  const shown = await settings.log.checkpoint()
  const last = open(shown.note, keys, 'the checkpoint of the log')
  const from = before?.checkpoint.size ?? 0
  const { note, opened: after } = settings.policy === undefined ? { note: shown.note, opened: last } : cosigned(shown, settings.policy, keys)
  const to = after.checkpoint.size
  if (to < from && last.checkpoint.size >= from)
    throw new MirrorError(`The witnesses have cosigned ${to} entries, and the folder has ${from}. Ask again once they have cosigned more.`)
  if (to < from) throw new MirrorError(`The log was set back: it shows ${to} entries, and had signed ${from}. Keep the folder: its checkpoint proves that.`)
  if (before !== undefined && after.signer < before.signer)
    throw new MirrorError('The checkpoint of the log is by a key that was replaced before the folder’s was signed.')
  const grown = { settings, from, checkpoint: after.checkpoint, rootBefore: before?.checkpoint.root }
  if (!(await grow(grown, true)) && !(await grow(grown, false))) {
    removeLeft(settings.folder, from, to)
    throw new MirrorError(
      `The entries that the log shows are not those that it signed: its checkpoint over ${to} entries has another root. Keep the checkpoint.`,
    )
  }
  writeDurably(join(settings.folder, 'checkpoint'), utf8(note))
  for (const path of pathsBetween(from, to)) {
    // Partial ones of earlier checkpoints have had their time once the full one is there.
    if (path.width === TILE_WIDTH) rmSync(join(settings.folder, `${tilePath(path)}.p`), { recursive: true, force: true })
  }
  return { from, to }
}

/** The newest that the witnesses cosigned, by the policy of who mirrors. */
function cosigned(
  { witnessed }: { readonly witnessed?: string },
  policy: WitnessPolicy,
  keys: readonly LogKey[],
): { readonly note: string; readonly opened: ReturnType<typeof open> } {
  if (witnessed === undefined) throw new MirrorError('The service has no checkpoint that its witnesses have cosigned (GRIDSEAL_WITNESS_POLICY).')
  const opened = open(witnessed, keys, 'the checkpoint that witnesses cosigned')
  if (!judgeCheckpoint(witnessed, policy, keys).satisfied)
    throw new MirrorError(`Of the witnesses that are asked for not enough have cosigned the checkpoint over ${opened.checkpoint.size} entries.`)
  return { note: witnessed, opened }
}

function open(note: string, keys: readonly LogKey[], which: string): { readonly signer: number; readonly checkpoint: Checkpoint } {
  const opened = openByAny(note, keys)
  if ('fault' in opened) throw new MirrorError(`It does not verify, ${which}: ${opened.fault}.`)
  return opened
}

interface Growth {
  readonly settings: MirrorSettings
  readonly from: number
  readonly checkpoint: Checkpoint
  readonly rootBefore: Uint8Array | undefined
}

/** Writes bundles and tiles. False when their root is not the checkpoint's, which may lie with what an earlier run left, where that was taken. */
async function grow({ settings, from, checkpoint, rootBefore }: Growth, takesLeft: boolean): Promise<boolean> {
  const { folder, log, onProgress, batch: most = 32 } = settings
  const source = folderSource(folder)
  const end = await treeEnd(source, from)
  if (end === undefined || (rootBefore !== undefined && !equalBytes(rootOf(end.edge), rootBefore)))
    throw new MirrorError(`The tiles in the folder are not those of its own checkpoint over ${from} entries. Begin another folder.`)
  const rightmost = new OpenTiles(end.partials)
  let edge = end.edge
  const pieces = ahead(
    batchesOf(from, checkpoint.size, most, (path) => takesLeft && existsSync(join(folder, tilePath(path)))),
    WINDOW,
    async (batch) => {
      const [path] = batch.paths
      if (path === undefined) return { batch, bytes: new Uint8Array() }
      const width = batch.paths.at(-1)?.width ?? TILE_WIDTH
      return { batch, bytes: batch.isThere ? await source.read(tilePath(path)) : await log.bundles(path.index, batch.paths.length, width) }
    },
  )
  for await (const { batch, bytes } of pieces) {
    const entries = splitBundles(bytes)
    if (entries?.length !== batch.paths.reduce((sum, { width }) => sum + width, 0)) return false
    for (const path of batch.paths) {
      const bundle = entries.splice(0, path.width)
      const leaves = bundle.map(leafHash)
      const known = leaves.splice(0, Math.max(0, from - path.index * TILE_WIDTH))
      if (known.length > 0 && !equalBytes(concat(...known), end.partials[0]?.hashes ?? new Uint8Array())) return false
      if (!batch.isThere) writeDurably(join(folder, tilePath(path)), encodeBundle(bundle))
      const full = rightmost.grow((visit) => {
        edge = append(edge, leaves, visit)
      })
      for (const { level, index, hashes } of full) writeDurably(join(folder, tilePath({ level, index, width: TILE_WIDTH })), hashes)
      onProgress?.(leaves.length)
    }
  }
  if (!equalBytes(rootOf(edge), checkpoint.root)) return false
  for (const { level, index, hashes } of rightmost.partials) writeDurably(join(folder, tilePath({ level, index, width: hashes.length / 32 })), hashes)
  return true
}

interface Batch {
  readonly paths: readonly TilePath[]
  /** An earlier run left it: a single bundle. */
  readonly isThere: boolean
}

function* batchesOf(from: number, to: number, most: number, isThere: (path: TilePath) => boolean): Generator<Batch> {
  let paths: TilePath[] = []
  if (from === to) return
  for (let index = Math.floor(from / TILE_WIDTH); index * TILE_WIDTH < to; index += 1) {
    const path = { level: 'entries', index, width: widthIn(to, { level: 'entries', index }) } as const
    const left = isThere(path)
    if (paths.length > 0 && (left || paths.length === most)) {
      yield { paths, isThere: false }
      paths = []
    }
    if (left) yield { paths: [path], isThere: true }
    else paths.push(path)
  }
  if (paths.length > 0) yield { paths, isThere: false }
}

function* pathsBetween(from: number, to: number): Generator<TilePath> {
  yield* tilesOf(to, from)
  for (const { paths } of batchesOf(from, to, 1, () => false)) yield* paths
}

/** Takes away what was written beyond `from`. Of each level it is side by side: where it ends, and not the size that the log shows, is how far it is looked for. */
function removeLeft(folder: string, from: number, to: number): void {
  if (from === to) return
  // Those of right-most tiles that did not grow are the folder's own.
  const own = new Set([...pathsBetween(from, from)].map(tilePath))
  const levels = Array.from({ length: 7 }, (_, level) => level)
  for (const level of ['entries', ...levels] as const) {
    for (let index = Math.floor(from / TILE_WIDTH ** (level === 'entries' ? 1 : level + 1)); ; index += 1) {
      const width = widthIn(to, { level, index })
      const path = tilePath({ level, index, width })
      if (width > 0 && own.has(path)) continue
      if (width === 0 || !existsSync(join(folder, path))) break
      rmSync(join(folder, path))
    }
  }
}

function splitBundles(bytes: Uint8Array | undefined): Uint8Array[] | undefined {
  try {
    return bytes && decodeBundle(bytes)
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

import { generateKeyPairSync, sign } from 'node:crypto'
import { fromUtf8, utf8 } from '../../../core/bytes.ts'
import { newOperationId } from '../../../core/ids.ts'
import { checkpointText, type LogKey, logKey, signedNote } from '../checkpoint.ts'
import { encodeEntry } from '../entry.ts'
import { encodeExportLine } from '../export.ts'
import { encodeBundle } from '../group.ts'
import { append, EMPTY_EDGE, leafHash, rootOf } from '../merkle.ts'
import { tilePath } from '../tile-path.ts'
import type { TileSource } from '../tile-source.ts'
import { TILE_WIDTH, type Tile, TileWriter } from '../tiles.ts'

const pair = generateKeyPairSync('ed25519')

/** A log made of entries alone: its files as C2SP tlog-tiles names them, its export and its checkpoints. Every part is there to be changed. */
export interface TileLog extends TileSource {
  readonly key: LogKey
  readonly entries: readonly Uint8Array[]
  /** By path. */
  readonly files: Map<string, Uint8Array>
  readonly note: string
  readonly noteAt: (size: number) => string
  readonly exported: () => string
}

export const tileLogKey = logKey('grid.example/audit', 'ed25519', pair.publicKey.export({ format: 'der', type: 'spki' }))

/** `count` entries of one writer, of the usual length. */
export function usualEntries(count: number): Uint8Array[] {
  const caller = { kind: 'module', name: 'billing', id: 'm1', certificate: 'ab'.repeat(32), address: '192.0.2.7' } as const
  const decision = { effect: 'allow', rule: 'modules may sign', revision: '0123456789abcdef', at: 1_790_000_000_000, listener: 'tls' } as const
  const rest = { time: new Date(1_790_000_000_000), effect: 'transient', salt: () => new Uint8Array(16) } as const
  const [id, keyId] = [newOperationId(), newOperationId()]
  return Array.from({ length: count }, (_, seq) => {
    const draft = { kind: 'outcome', id, operation: 'kms.key.sign', caller, decision, code: 'ok', facts: { public: { keyId, algorithm: 'ec-p256' } } } as const
    return encodeEntry(draft, { ...rest, writer: { slot: 1, epoch: 1, seq } }).bytes
  })
}

export function tileLog(entries: readonly Uint8Array[]): TileLog {
  const files = new Map<string, Uint8Array>()
  const put = ({ level, index, hashes }: Tile): void => void files.set(tilePath({ level, index, width: hashes.length / 32 }), hashes)
  const leaves = entries.map(leafHash)
  const writer = new TileWriter([])
  append(EMPTY_EDGE, leaves, writer.visit)
  for (const tile of [...writer.takeFull(), ...writer.partial()]) put(tile)
  for (let from = 0; from < entries.length; from += TILE_WIDTH) {
    const bundle = entries.slice(from, from + TILE_WIDTH)
    files.set(tilePath({ level: 'entries', index: from / TILE_WIDTH, width: bundle.length }), encodeBundle(bundle))
  }
  const notes = new Map<number, string>()
  const noteAt = (size: number): string => {
    const made = notes.get(size) ?? signAt(size)
    notes.set(size, made)
    return made
  }
  const signAt = (size: number): string => {
    const text = checkpointText({ origin: tileLogKey.name, size, root: rootOf(append(EMPTY_EDGE, leaves.slice(0, size))) })
    return signedNote(text, tileLogKey, sign(null, utf8(text), pair.privateKey))
  }
  const note = noteAt(entries.length)
  files.set('checkpoint', utf8(note))
  return {
    ...{ key: tileLogKey, entries, files, note, noteAt },
    read: (path) => Promise.resolve(files.get(path)),
    exported: () =>
      [
        encodeExportLine({ kind: 'header', origin: tileLogKey.name, vkey: tileLogKey.vkey }),
        ...entries.map((bytes, index) => encodeExportLine({ kind: 'entry', index, bytes })),
        encodeExportLine({ kind: 'checkpoint', note: fromUtf8(files.get('checkpoint') ?? new Uint8Array()) }),
      ].join(''),
  }
}

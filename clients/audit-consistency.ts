import { fromStrictBase64 } from '../core/bytes.ts'
import { parseLogKey } from '../policies/audit/checkpoint.ts'
import { checkConsistency, type ConsistencyReport, openPair, proofFromTiles } from '../policies/audit/consistency.ts'
import { sourceAt } from './audit-source.ts'

/**
 * Whether a newer signed checkpoint extends an older one. `tiles`: the folder or URL of a tlog-tiles log; `proof`: the hashes of RFC 6962 2.1.2 in base64, one a
 * line, as C2SP tlog-witness writes them. Throws a NoteError when a key will not do, and what the file system or the network throws.
 */
export async function compareCheckpoints({
  older,
  newer,
  vkey,
  replaced = [],
  tiles,
  proof,
}: {
  readonly older: string
  readonly newer: string
  readonly vkey: string
  readonly replaced?: readonly string[]
  readonly tiles?: string
  readonly proof?: string
}): Promise<ConsistencyReport> {
  const keys = [...replaced, vkey].map(parseLogKey)
  const opened = openPair({ older, newer }, keys)
  if ('ok' in opened) return opened
  const [from, to] = [opened.from.checkpoint.size, opened.to.checkpoint.size]
  const hashes = tiles === undefined ? parseHashes(proof ?? '') : await proofFromTiles(sourceAt(tiles), from, to)
  if (hashes === undefined)
    return { ok: false, reason: tiles === undefined ? 'a line of the proof is not the base64 of 32 bytes' : 'a tile is missing or short' }
  return checkConsistency({ older, newer }, keys, hashes)
}

function parseHashes(text: string): Uint8Array[] | undefined {
  const hashes = (text === '' ? [] : text.replace(/\n$/, '').split('\n')).map(fromStrictBase64)
  return hashes.every((hash) => hash?.length === 32) ? hashes.flatMap((hash) => hash ?? []) : undefined
}

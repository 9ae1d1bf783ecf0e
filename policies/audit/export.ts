import { base64, fromStrictBase64 } from '../../core/bytes.ts'
import type { Edge } from './merkle.ts'

/**
 * An exported log: one JSON object a line. The header; then each entry in order of its index, and each checkpoint where its size is reached,
 * so that who reads needs no more memory than the tree's edge; the last line is a checkpoint over all. Pure.
 */
export type ExportLine =
  /** `begins`: of one that does not begin with the first entry: the tree over those before. Not trusted: with it and the entries a signed root is made, or not. */
  | { readonly kind: 'header'; readonly origin: string; readonly vkey: string; readonly begins?: Edge }
  | { readonly kind: 'entry'; readonly index: number; readonly bytes: Uint8Array }
  | { readonly kind: 'checkpoint'; readonly note: string }

const FORMAT = 'gridseal-audit-export-v1'

export function encodeExportLine(line: ExportLine): string {
  if (line.kind === 'header') {
    const begins = line.begins && { from: line.begins.size, edge: line.begins.nodes.map(base64) }
    return `${JSON.stringify({ format: FORMAT, origin: line.origin, key: line.vkey, ...begins })}\n`
  }
  if (line.kind === 'entry') return `{"index":${line.index},"entry":"${base64(line.bytes)}"}\n`
  return `${JSON.stringify({ checkpoint: line.note })}\n`
}

/** Reads a line, without its line end. `undefined` when it is none of the three. */
export function parseExportLine(text: string): ExportLine | undefined {
  const usual = ENTRY_LINE.exec(text)
  if (usual !== null) return entryLine(Number(usual[1]), usual[2] ?? '')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const line = value as Record<string, unknown>
  const { index, entry, checkpoint, origin, key } = line
  if (typeof entry === 'string' && Number.isSafeInteger(index)) return entryLine(Number(index), entry)
  if (typeof checkpoint === 'string') return { kind: 'checkpoint', note: checkpoint }
  if (line['format'] !== FORMAT || typeof origin !== 'string' || typeof key !== 'string') return undefined
  if (line['from'] === undefined && line['edge'] === undefined) return { kind: 'header', origin, vkey: key }
  const begins = parseEdge(line['from'], line['edge'])
  return begins && { kind: 'header', origin, vkey: key, begins }
}

/** A hash for each bit of the size. */
function parseEdge(size: unknown, hashes: unknown): Edge | undefined {
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size <= 0 || !Array.isArray(hashes)) return undefined
  const nodes = hashes.flatMap((hash: unknown) => (typeof hash === 'string' ? (fromStrictBase64(hash) ?? []) : []))
  const isWhole = nodes.length === hashes.length && nodes.length === [...size.toString(2)].filter((bit) => bit === '1').length
  return isWhole && nodes.every((node) => node.length === 32) ? { size, nodes } : undefined
}

/** As {@link encodeExportLine} writes it: nearly every line, and read without making a value of it. */
const ENTRY_LINE = /^\{"index":(0|[1-9]\d{0,14}),"entry":"([^"\\]*)"\}$/

function entryLine(index: number, encoded: string): ExportLine | undefined {
  const bytes = fromStrictBase64(encoded)
  return bytes && { kind: 'entry', index, bytes }
}

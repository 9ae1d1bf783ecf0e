import { existsSync, type PathLike, readFileSync, rmSync } from 'node:fs'
import { type FileHandle, open, rename } from 'node:fs/promises'
import { writeDurably } from '../core/durable-file.ts'
import { parseExportLine } from '../policies/audit/export.ts'
import type { ApiClient } from './api.ts'

export const EXPORT_FORMATS = ['ndjson', 'csv', 'ocsf'] as const
export type ExportFormat = (typeof EXPORT_FORMATS)[number]

/** What is asked for. Indexes; times as RFC 3339. */
export interface ExportAsked {
  readonly format: ExportFormat
  readonly from: number
  readonly to: number
  readonly since?: string | undefined
  readonly until?: string | undefined
}

/** Why a file cannot be gone on with. */
export class ExportError extends Error {
  override readonly name = 'ExportError'
}

export interface ExportJob extends Omit<ExportAsked, 'to'> {
  readonly client: Pick<ApiClient, 'get' | 'stream'>
  /** The index to end before. Absent: what is signed when it begins. */
  readonly to?: number | undefined
  /** Where it goes, once it is whole. Until then it is FILE.part, and FILE.part.json says what was asked for. */
  readonly file: string
  /** Told now and then: the index that was written last. */
  readonly onProgress?: (index: number, asked: ExportAsked) => void
}

const PROGRESS_MS = 500
/** Longer than several lines of the longest entries: the last whole one is in it. */
const TAIL_BYTES = 1024 * 1024

/** Of each format: the index of the entry that a line tells, and whether the lines begin with a header. */
const LINES: Readonly<Record<ExportFormat, { readonly indexOf: (line: string) => number | undefined; readonly hasHeader: boolean }>> = {
  csv: { indexOf: (line) => (/^\d+,/.test(line) ? Number.parseInt(line, 10) : undefined), hasHeader: true },
  ocsf: { indexOf: (line) => (JSON.parse(line) as { readonly metadata: { readonly sequence: number } }).metadata.sequence, hasHeader: false },
  ndjson: {
    indexOf: (line) => {
      const parsed = parseExportLine(line)
      return parsed?.kind === 'entry' ? parsed.index : undefined
    },
    hasHeader: true,
  },
}

/**
 * Writes an export into a file, whole or not at all. One that was cut off goes on where it was when the same is asked for again: at the entry that was written last,
 * which comes once more, so that what belongs to it is there. Throws an {@link ExportError} where the unfinished file is of another export.
 */
export async function exportToFile({ client, file, onProgress, ...wanted }: ExportJob): Promise<ExportAsked> {
  const part = `${file}.part`
  const asked = await settle(client, wanted, part)
  const out = await open(part, existsSync(part) ? 'r+' : 'w+', 0o600)
  try {
    const start = await resumeAt(out, asked)
    const last = await pour(await client.stream(pathOf({ ...asked, from: start.from })), out, { asked, start, onProgress })
    if ((asked.since ?? asked.until) === undefined && asked.to > asked.from && last !== asked.to - 1)
      throw new ExportError(`The export ended at entry ${String(last ?? 'none')} of ${asked.to}. Run it again: it goes on there.`)
    await out.sync()
  } finally {
    await out.close()
  }
  await rename(part, file)
  rmSync(stateOf(part), { force: true })
  return asked
}

const stateOf = (part: string): string => `${part}.json`

/** What was asked for at first. Once it has begun, an export ends where it was to end then. */
async function settle(client: ExportJob['client'], wanted: Omit<ExportJob, 'client' | 'file' | 'onProgress'>, part: string): Promise<ExportAsked> {
  const begun = existsSync(part) ? readState(stateOf(part)) : undefined
  if (begun !== undefined) {
    const same = JSON.stringify(normal({ ...wanted, to: wanted.to ?? begun.to })) === JSON.stringify(normal(begun))
    if (!same) throw new ExportError(`${part} is of another export. Ask for the same as then to go on with it, or delete it.`)
    return begun
  }
  if (existsSync(part)) throw new ExportError(`${part} is there, and ${stateOf(part)} is not: delete it, or name another file.`)
  const to = wanted.to ?? (await client.get<{ readonly size: number }>('/v1/policies/audit/checkpoint')).size
  const asked = normal({ ...wanted, to })
  writeDurably(stateOf(part), JSON.stringify(asked))
  return asked
}

const normal = ({ format, from, to, since, until }: ExportAsked): ExportAsked => ({
  ...{ format, from, to },
  ...(since === undefined ? {} : { since }),
  ...(until === undefined ? {} : { until }),
})

function readState(path: PathLike): ExportAsked | undefined {
  try {
    return normal(JSON.parse(readFileSync(path, 'utf8')) as ExportAsked)
  } catch {
    return undefined
  }
}

function pathOf(asked: ExportAsked): string {
  const query = new URLSearchParams(Object.entries(asked).map(([name, value]): [string, string] => [name, String(value)]))
  return `/v1/policies/audit/export?${query.toString()}`
}

interface Start {
  /** The index to ask from. */
  readonly from: number
  /** The length that stays of what was written. */
  readonly bytes: number
}

/** Cuts the file before the line of the last entry that is whole in it. */
async function resumeAt(out: FileHandle, { format, from }: ExportAsked): Promise<Start> {
  const last = await lastEntry(out, (await out.stat()).size, LINES[format].indexOf)
  const start = last === undefined ? { from, bytes: 0 } : { from: last.index, bytes: last.offset }
  await out.truncate(start.bytes)
  return start
}

/** Answers the index of the last entry. */
async function pour(
  chunks: AsyncIterable<Buffer>,
  out: FileHandle,
  { asked, start, onProgress }: { readonly asked: ExportAsked; readonly start: Start; readonly onProgress: ExportJob['onProgress'] },
): Promise<number | undefined> {
  const { indexOf, hasHeader } = LINES[asked.format]
  let at = start.bytes
  let isHeader = hasHeader && start.bytes > 0
  let told = performance.now()
  for await (const chunk of chunks) {
    const end = isHeader ? chunk.indexOf('\n') : -1
    const bytes = isHeader ? chunk.subarray(end < 0 ? chunk.length : end + 1) : chunk
    isHeader &&= end < 0
    for (let written = 0; written < bytes.length; ) written += (await out.write(bytes, written, bytes.length - written, at + written)).bytesWritten
    at += bytes.length
    if (performance.now() - told < PROGRESS_MS) continue
    told = performance.now()
    const last = await lastEntry(out, at, indexOf)
    if (last !== undefined) onProgress?.(last.index, asked)
  }
  return (await lastEntry(out, at, indexOf))?.index
}

/** The last line of an entry that is whole among the first `size` bytes, and where it begins. */
async function lastEntry(
  out: FileHandle,
  size: number,
  indexOf: (line: string) => number | undefined,
): Promise<{ readonly index: number; readonly offset: number } | undefined> {
  const begin = Math.max(0, size - TAIL_BYTES)
  const tail = Buffer.alloc(size - begin)
  await out.read(tail, 0, tail.length, begin)
  let end = tail.lastIndexOf('\n')
  while (end > 0) {
    const before = tail.lastIndexOf('\n', end - 1)
    // The first line of the tail may be cut.
    if (before < 0 && begin > 0) return undefined
    const index = indexOf(tail.subarray(before + 1, end).toString('utf8'))
    if (index !== undefined) return { index, offset: begin + before + 1 }
    end = before
  }
  return undefined
}

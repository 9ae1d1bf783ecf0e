import { utf8 } from '../../../core/bytes.ts'
import { Problem } from '../../../core/problem.ts'
import type { LogKey } from '../checkpoint.ts'
import { encodeExportLine } from '../export.ts'
import { type Edge, edgeAt } from '../merkle.ts'
import type { FoundEntry, LogReader } from '../reader.ts'
import { storedNodes } from '../stored-nodes.ts'

/** Exports as streams of bytes, a page of entries in memory at a time. Where an entry is gone, or is not what was committed, they throw `integrity-failed`: the file then ends short. */

interface Range {
  readonly reader: LogReader
  readonly from: number
  /** The index to end before. */
  readonly to: number
}

/** Entries read at once. One has at most 64 KiB. */
const RAW_PAGE = 1000
const CHECKED_PAGE = 500

/** What an export that does not begin with the first entry is to be verified with: the tree over those before it. Throws `integrity-failed` where tiles are missing. */
export async function beginsAt(reader: Pick<LogReader, 'tiles'>, from: number): Promise<Edge | undefined> {
  if (from === 0) return undefined
  const nodeAt = await storedNodes(
    (places) => reader.tiles(places),
    (node) => edgeAt(from, node),
  )
  try {
    return edgeAt(from, nodeAt)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new Problem('integrity-failed', `Tiles of the first ${from} entries of the audit log are missing. Keep the database as it is.`, { cause: error })
  }
}

/** The lines that a verifier takes: a header, each entry as it stands, and each checkpoint where its size is reached. What is cut off can be gone on with at an entry's index. */
export async function* exportChunks({
  reader,
  key,
  begins,
  from,
  to: end,
}: Range & { readonly key: LogKey; readonly begins?: Edge | undefined }): AsyncGenerator<Uint8Array> {
  yield utf8(encodeExportLine({ kind: 'header', origin: key.name, vkey: key.vkey, ...(begins === undefined ? {} : { begins }) }))
  for (let at = from; at < end; at += RAW_PAGE) {
    const to = Math.min(at + RAW_PAGE, end)
    const [entries, checkpoints] = await Promise.all([reader.read(at, to), reader.checkpoints(at, to)])
    const noteAt = new Map(checkpoints.map((one) => [one.size, one.note]))
    const lines = entries.map(({ index, bytes }) => {
      const note = noteAt.get(index + 1)
      return encodeExportLine({ kind: 'entry', index, bytes }) + (note === undefined ? '' : encodeExportLine({ kind: 'checkpoint', note }))
    })
    yield utf8(lines.join(''))
  }
}

/** A line for each entry, whose group the token has checked: whoever reads these lines verifies nothing. Of entries outside the times there is none. */
export async function* entryLines({
  reader,
  from,
  to,
  since,
  until,
  header,
  line,
}: Range & {
  readonly since?: Date | undefined
  readonly until?: Date | undefined
  readonly header: string
  readonly line: (found: FoundEntry) => string
}): AsyncGenerator<Uint8Array> {
  if (header !== '') yield utf8(header)
  for (let at = from; at < to; at += CHECKED_PAGE) {
    const entries = await readWithoutGaps(reader, at, Math.min(CHECKED_PAGE, to - at))
    const wanted = entries.filter(({ entry }) => isWithin(Date.parse(entry.time), since, until))
    if (wanted.length > 0) yield utf8(wanted.map(line).join(''))
  }
}

const isWithin = (time: number, since: Date | undefined, until: Date | undefined): boolean =>
  (since === undefined || time >= since.getTime()) && (until === undefined || time < until.getTime())

/** So many entries from an index on, each checked. Throws `integrity-failed` where one is missing. */
export async function readWithoutGaps(reader: Pick<LogReader, 'search'>, from: number, count: number): Promise<FoundEntry[]> {
  const entries = await reader.search({ from, limit: count })
  for (let at = 0; at < count; at += 1) {
    if (entries[at]?.index !== from + at)
      throw new Problem(
        'integrity-failed',
        `The audit log's entry ${from + at} is not where it was committed. Verify an export, and keep the database as it is.`,
      )
  }
  return entries
}

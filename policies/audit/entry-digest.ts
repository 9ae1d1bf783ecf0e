import { fromLatin1, fromUtf8, utf8 } from '../../core/bytes.ts'
import { type Entry, EntryError, parseEntry } from './entry.ts'
import { EntryScanner } from './entry-scan.ts'
import { parseExportLine } from './export.ts'
import { decodeBundle } from './group.ts'
import type { EntryKind } from './log.ts'
import { type Edge, leafHash } from './merkle.ts'

/**
 * What the verification of a log needs of entries, and no more: made of any piece of a log by itself, so that pieces are read side by side, and
 * followed in their order by the one who verifies ({@link LogVerifier}). Pure; it can be sent to another thread.
 */
export interface EntryDigest {
  /** Leaf hashes side by side, 32 bytes each. */
  readonly leaves: Uint8Array
  /** By entry: the place in {@link ENTRY_KINDS}; {@link MALFORMED} for bytes that are no entry, of which the numbers are 0. */
  readonly kinds: Uint8Array
  /** By entry: writer slot, epoch, sequence. */
  readonly writers: Float64Array
  /** What has more to tell, in the order of the entries; `at` counts from the first of the piece. */
  readonly notable: readonly Notable[]
  readonly firstTime?: string
  readonly lastTime?: string
}

export type Notable =
  | { readonly at: number; readonly is: 'intent'; readonly id: string; readonly operation: string; readonly time: string }
  /** Of a durable operation. */
  | { readonly at: number; readonly is: 'outcome'; readonly id: string }
  /** The checkpoint key was replaced; with `recovery`: the log was recovered from the loss of entries, under another origin. */
  | { readonly at: number; readonly is: 'succession'; readonly newKey: unknown; readonly logSize: unknown; readonly recovery?: Recovery }
  | { readonly at: number; readonly is: 'malformed'; readonly reason: string }

interface Recovery {
  readonly lostSize: unknown
  readonly time: string
}

export const ENTRY_KINDS: readonly EntryKind[] = ['intent', 'outcome', 'item', 'refusal', 'event']
export const MALFORMED = 255

/** The event of a recovery: see recovery.ts. */
export const LOG_RECOVERED = 'system.log-recovered'

/**
 * Events that name a successor of the checkpoint key: facts `newKey` (C2SP note form) and `logSize` (entries under the last checkpoint of the one before); of a
 * recovery also `lostSize` (entries under the largest checkpoint that is known of the one before).
 */
const SUCCESSIONS: ReadonlySet<string> = new Set(['system.token-restored', 'system.checkpoint-key-replaced', LOG_RECOVERED])

const scanner = new EntryScanner()

export function digestEntries(entries: readonly Uint8Array[]): EntryDigest {
  const leaves = new Uint8Array(32 * entries.length)
  const kinds = new Uint8Array(entries.length)
  const writers = new Float64Array(3 * entries.length)
  const notable: Notable[] = []
  const times = new TimeSpan()
  for (const [at, bytes] of entries.entries()) {
    leaves.set(leafHash(bytes), 32 * at)
    const entry = scanner.scan(bytes) ? scanner : parsed(bytes)
    if (typeof entry === 'string') {
      kinds[at] = MALFORMED
      notable.push({ at, is: 'malformed', reason: entry })
      continue
    }
    kinds[at] = ENTRY_KINDS.indexOf(entry.kind)
    writers[3 * at] = entry.slot
    writers[3 * at + 1] = entry.epoch
    writers[3 * at + 2] = entry.seq
    times.add(entry)
    const more = notableOf(entry, bytes, at)
    if (more !== undefined) notable.push(more)
  }
  return { leaves, kinds, writers, notable, ...times.ends }
}

/** The first and the last of times. */
class TimeSpan {
  readonly #first = new Uint8Array(24)
  readonly #last = new Uint8Array(24)
  #isEmpty = true

  add(entry: Pick<Read, 'compareTime' | 'copyTime'>): void {
    if (this.#isEmpty || entry.compareTime(this.#last) > 0) entry.copyTime(this.#last)
    if (this.#isEmpty || entry.compareTime(this.#first) < 0) entry.copyTime(this.#first)
    this.#isEmpty = false
  }

  get ends(): Pick<EntryDigest, 'firstTime' | 'lastTime'> {
    return this.#isEmpty ? {} : { firstTime: fromLatin1(this.#first), lastTime: fromLatin1(this.#last) }
  }
}

/** Of an entry bundle (C2SP tlog-tiles). Throws a RangeError when the lengths do not fill the bytes exactly. */
export const digestBundle = (bundle: Uint8Array): EntryDigest => digestEntries(decodeBundle(bundle))

type Read = Pick<EntryScanner, 'kind' | 'durable' | 'slot' | 'epoch' | 'seq' | 'id' | 'time' | 'operation' | 'compareTime' | 'copyTime'>

/** An entry in another form than the usual one, or why it is none. */
function parsed(bytes: Uint8Array): Read | string {
  try {
    const { kind, effect, writer, id, time, operation } = parseEntry(bytes)
    const own = utf8(time)
    return {
      ...{ kind, durable: effect === 'durable', slot: writer.slot, epoch: writer.epoch, seq: writer.seq, id, time, operation },
      compareTime: (other) => (time < fromLatin1(other) ? -1 : time > fromLatin1(other) ? 1 : 0),
      copyTime: (to) => to.set(own),
    }
  } catch (error) {
    if (error instanceof EntryError) return error.message
    throw error
  }
}

function notableOf(entry: Read, bytes: Uint8Array, at: number): Notable | undefined {
  const { kind } = entry
  if (kind === 'intent') return { at, is: 'intent', id: entry.id, operation: entry.operation, time: entry.time }
  if (kind === 'outcome') return entry.durable ? { at, is: 'outcome', id: entry.id } : undefined
  if (kind !== 'event' || !SUCCESSIONS.has(entry.operation)) return undefined
  const { newKey, logSize, lostSize }: NonNullable<Entry['facts']> = parseEntry(bytes).facts ?? {}
  const recovery = entry.operation === LOG_RECOVERED ? { recovery: { lostSize, time: entry.time } } : {}
  return { at, is: 'succession', newKey, logSize, ...recovery }
}

/** A piece of an export: its entries, and the other lines where they stand. */
export interface ExportDigest extends EntryDigest {
  /** By entry: the index that its line says. */
  readonly indexes: Float64Array
  /** `before`: how many entries of the piece stand before the line. */
  readonly lines: readonly ExportMark[]
}

export type ExportMark = { readonly before: number } & (
  | { readonly is: 'header'; readonly origin: string; readonly vkey: string; readonly begins?: Edge }
  | { readonly is: 'checkpoint'; readonly note: string }
  | { readonly is: 'malformed' }
)

/** Of whole lines of an export, with their line ends. */
export function digestLines(bytes: Uint8Array): ExportDigest {
  const entries: Uint8Array[] = []
  const indexes: number[] = []
  const lines: ExportMark[] = []
  for (let from = 0; from < bytes.length; ) {
    const newline = bytes.indexOf(NEWLINE, from)
    const end = newline < 0 ? bytes.length : newline
    const line = parseExportLine(fromUtf8(bytes.subarray(from, end)))
    from = end + 1
    const before = entries.length
    if (line === undefined) lines.push({ before, is: 'malformed' })
    else if (line.kind === 'header') {
      const { origin, vkey, begins } = line
      lines.push({ before, is: 'header', origin, vkey, ...(begins === undefined ? {} : { begins }) })
    } else if (line.kind === 'checkpoint') lines.push({ before, is: 'checkpoint', note: line.note })
    else {
      entries.push(line.bytes)
      indexes.push(line.index)
    }
  }
  return { ...digestEntries(entries), indexes: Float64Array.from(indexes), lines }
}

const NEWLINE = 10

import { base64, equalBytes } from '../../core/bytes.ts'
import { type Checkpoint, isSignedBy, type LogKey, NoteError, openCheckpoint } from './checkpoint.ts'
import { type Entry, EntryError, parseEntry } from './entry.ts'
import { parseExportLine } from './export.ts'
import type { EntryKind } from './log.ts'
import { append, EMPTY_EDGE, leafHash, rootOf } from './merkle.ts'

/** Verifies an exported log with the log's public key alone. Pure: no clock, no network, no database. */

/** What is wrong with a log. Each is named for what an auditor has to ask about. */
export type FindingCode =
  | 'line-malformed'
  | 'wrong-log' // the header names another origin or key than the auditor's
  | 'index-gap'
  | 'entry-malformed'
  | 'checkpoint-invalid' // its signature, origin or form
  | 'key-replaced' // a checkpoint by a key after its successor had begun, or none by the newest
  | 'root-mismatch' // the entries are not those that the log signed
  | 'checkpoint-misplaced'
  | 'uncovered' // entries after the last checkpoint, or no checkpoint at all
  | 'known-checkpoint-missing' // shorter than a checkpoint the auditor held before
  | 'sequence-gap' // an entry of a writer is missing, or doubled
  | 'epoch-order' // an entry of a writer's older epoch after one of a newer
  | 'intent-doubled'
  | 'outcome-without-intent'

export interface Finding {
  readonly code: FindingCode
  readonly index?: number
  readonly detail: string
}

export interface OpenIntent {
  readonly index: number
  readonly id: string
  readonly operation: string
  readonly time: string
}

export interface LogReport {
  /** Nothing was found. Open intents are no fault: they are operations that were under way, or await reconciliation. */
  readonly ok: boolean
  readonly origin: string
  readonly size: number
  /** Base64, of the last checkpoint that holds. */
  readonly root?: string
  readonly checkpoints: number
  readonly entries: Readonly<Record<EntryKind, number>>
  /** Writer epochs seen. */
  readonly epochs: number
  readonly firstTime?: string
  readonly lastTime?: string
  readonly openIntents: readonly OpenIntent[]
  /** The first 100. */
  readonly findings: readonly Finding[]
  readonly findingCount: number
}

const MAX_FINDINGS = 100

/** Events that name a successor of the checkpoint key: facts `newKey` (C2SP note form) and `logSize` (entries under the last checkpoint of the one before). */
const SUCCESSIONS: ReadonlySet<string> = new Set(['system.token-restored', 'system.checkpoint-key-replaced'])

/** Takes an export line by line; memory grows with open intents and writer epochs only. */
export class LogVerifier {
  readonly #key: LogKey
  /** In their order, the newest last. */
  readonly #keys: readonly LogKey[]
  /** The newest key that has signed or was named so far, and the one of the last checkpoint; by their place. */
  #newestKey = 0
  #lastSigner = 0
  readonly #known: Checkpoint[]
  #edge = EMPTY_EDGE
  /** Leaf hashes not yet in the edge. */
  #leaves: Uint8Array[] = []
  #size = 0
  #covered = 0
  #root: string | undefined
  #checkpoints = 0
  #headers = 0
  readonly #entries: Record<EntryKind, number> = { intent: 0, outcome: 0, item: 0, refusal: 0, event: 0 }
  /** Next sequence number by `slot/epoch`, and the newest epoch by slot. */
  readonly #next = new Map<string, number>()
  readonly #newest = new Map<number, number>()
  readonly #open = new Map<string, OpenIntent>()
  /** Durable outcomes seen before their intents: clocks of writers may differ. */
  readonly #early = new Map<string, number>()
  #firstTime: string | undefined
  #lastTime: string | undefined
  readonly #findings: Finding[] = []
  #findingCount = 0

  /**
   * `known`: checkpoints that the auditor holds from before. The log must still contain them. `replaced`: the keys that signed before this one, the oldest first.
   */
  constructor(key: LogKey, { known = [], replaced = [] }: { readonly known?: readonly Checkpoint[]; readonly replaced?: readonly LogKey[] } = {}) {
    this.#key = key
    this.#keys = [...replaced, key]
    this.#known = known.filter(({ size }) => size > 0).sort((a, b) => a.size - b.size)
  }

  /** One line, without its line end. */
  add(text: string): void {
    const line = parseExportLine(text)
    if (line === undefined) return this.#find('line-malformed', 'a line is not a header, entry or checkpoint')
    if (line.kind === 'header') return this.#header(line.origin, line.vkey)
    if (this.#headers === 0) this.#header('', '')
    if (line.kind === 'checkpoint') return this.#checkpoint(line.note)
    this.#entry(line.index, line.bytes)
  }

  finish(): LogReport {
    for (const { size } of this.#known) this.#find('known-checkpoint-missing', `the log ends before ${size} entries, which it had signed`)
    if (this.#covered < this.#size || this.#checkpoints === 0) this.#find('uncovered', `no checkpoint covers entries ${this.#covered} to ${this.#size}`)
    if (this.#checkpoints > 0 && this.#lastSigner < this.#keys.length - 1)
      this.#find('key-replaced', 'the last checkpoint is not by the newest key: the export is from before that, or the log was set back')
    for (const [id, index] of this.#early) this.#find('outcome-without-intent', `operation ${id} ended without having begun`, index)
    return {
      ok: this.#findingCount === 0,
      origin: this.#key.name,
      size: this.#size,
      ...(this.#root === undefined ? {} : { root: this.#root }),
      checkpoints: this.#checkpoints,
      entries: this.#entries,
      epochs: this.#next.size,
      ...(this.#firstTime === undefined || this.#lastTime === undefined ? {} : { firstTime: this.#firstTime, lastTime: this.#lastTime }),
      openIntents: [...this.#open.values()],
      findings: this.#findings,
      findingCount: this.#findingCount,
    }
  }

  #header(origin: string, vkey: string): void {
    this.#headers += 1
    if (this.#headers > 1) this.#find('line-malformed', 'a second header')
    else if (origin !== this.#key.name || !this.#keys.some((key) => key.vkey === vkey))
      this.#find('wrong-log', `the export says that it is of ${origin || 'no log'} with the key ${vkey || '(none)'}`)
  }

  #checkpoint(note: string): void {
    try {
      const signer = this.#keys.findIndex((key) => isSignedBy(note, key))
      const { size, root } = openCheckpoint(note, this.#keys[signer] ?? this.#key)
      if (signer < this.#newestKey) return this.#find('key-replaced', `a checkpoint over ${size} entries is by a key that was replaced before`, size)
      this.#newestKey = this.#lastSigner = signer
      if (size !== this.#size) return this.#find('checkpoint-misplaced', `a checkpoint over ${size} entries stands after ${this.#size}`)
      if (!equalBytes(root, this.#rootNow())) return this.#find('root-mismatch', `the first ${size} entries are not those that the log signed`, size)
      this.#checkpoints += 1
      this.#covered = size
      this.#root = base64(root)
    } catch (error) {
      if (!(error instanceof NoteError)) throw error
      this.#find('checkpoint-invalid', error.message)
    }
  }

  #entry(index: number, bytes: Uint8Array): void {
    if (index !== this.#size) this.#find('index-gap', `entry ${index} stands where entry ${this.#size} should`, index)
    this.#leaves.push(leafHash(bytes))
    this.#size += 1
    this.#compareKnown()
    try {
      this.#follow(parseEntry(bytes), index)
    } catch (error) {
      if (!(error instanceof EntryError)) throw error
      this.#find('entry-malformed', error.message, index)
    }
  }

  #compareKnown(): void {
    while (this.#known[0]?.size === this.#size) {
      const known = this.#known.shift()
      if (known !== undefined && !equalBytes(known.root, this.#rootNow())) {
        this.#find('root-mismatch', `the first ${known.size} entries are not those of the checkpoint held from before`, known.size)
      }
    }
  }

  #rootNow(): Uint8Array {
    this.#edge = append(this.#edge, this.#leaves)
    this.#leaves = []
    return rootOf(this.#edge)
  }

  #follow(entry: Entry, index: number): void {
    const { kind, id, operation, time, writer } = entry
    this.#entries[kind] += 1
    this.#firstTime = this.#firstTime === undefined || time < this.#firstTime ? time : this.#firstTime
    this.#lastTime = this.#lastTime === undefined || time > this.#lastTime ? time : this.#lastTime

    const place = `${writer.slot}/${writer.epoch}`
    const next = this.#next.get(place) ?? 0
    if (writer.seq !== next)
      this.#find('sequence-gap', `writer ${writer.slot}, epoch ${writer.epoch}: sequence ${writer.seq} stands where ${next} should`, index)
    this.#next.set(place, writer.seq + 1)
    const newest = this.#newest.get(writer.slot) ?? 0
    if (writer.epoch < newest) this.#find('epoch-order', `writer ${writer.slot}: epoch ${writer.epoch} wrote after epoch ${newest} had begun`, index)
    else this.#newest.set(writer.slot, writer.epoch)

    if (kind === 'event' && SUCCESSIONS.has(operation)) this.#succeed(entry, index)
    if (kind === 'intent') {
      if (this.#early.delete(id)) return
      if (this.#open.has(id)) this.#find('intent-doubled', `operation ${id} began twice`, index)
      this.#open.set(id, { index, id, operation, time })
    } else if (kind === 'outcome' && entry.effect === 'durable' && !this.#open.delete(id)) {
      if (this.#early.has(id)) this.#find('outcome-without-intent', `operation ${id} ended twice`, index)
      this.#early.set(id, index)
    }
  }

  #succeed({ facts }: Entry, index: number): void {
    const { newKey, logSize } = facts ?? {}
    const successor = this.#keys.findIndex(({ vkey }) => vkey === newKey)
    if (successor < 0) return this.#find('key-replaced', `the key ${String(newKey)} took the place of the one before it, and is not among those given`, index)
    if (this.#lastSigner < successor && this.#covered > Number(logSize))
      this.#find('key-replaced', `a checkpoint over ${this.#covered} entries is by a key that was replaced when it had signed ${String(logSize)}`, index)
    this.#newestKey = Math.max(this.#newestKey, successor)
  }

  #find(code: FindingCode, detail: string, index?: number): void {
    this.#findingCount += 1
    if (this.#findings.length < MAX_FINDINGS) this.#findings.push({ code, detail, ...(index === undefined ? {} : { index }) })
  }
}

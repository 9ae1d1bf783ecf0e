import { base64, equalBytes } from '../../core/bytes.ts'
import { type Checkpoint, type LogKey, NoteError, openCheckpoint } from './checkpoint.ts'
import { ENTRY_KINDS, type EntryDigest, type ExportDigest, type Notable } from './entry-digest.ts'
import type { EntryKind } from './log.ts'
import { append, type Edge, EMPTY_EDGE, rootOf } from './merkle.ts'

/** Verifies a log with its public key alone. Pure: no clock, no network, no database. */

/** The log lost entries, and two holders of its token let it go on under another origin. */
export interface Recovered {
  /** Of the entry that says so. */
  readonly index: number
  readonly time: string
  readonly oldOrigin: string
  /** Entries under the last checkpoint of the old origin that the log still has, and under the largest that was known. What lies between is lost. */
  readonly logSize: number
  readonly lostSize: number
}

/** What is wrong with a log. Each is named for what an auditor has to ask about. */
export type FindingCode =
  | 'line-malformed'
  | 'wrong-log' // the header names another origin or key than the auditor's
  | 'index-gap'
  | 'entry-malformed'
  | 'checkpoint-invalid' // its signature, origin or form
  | 'key-replaced' // a checkpoint by a key after its successor had begun, or none by the newest
  | 'root-mismatch' // the entries are not those that the log signed
  | 'resource-missing' // a file of a tlog-tiles log is not there
  | 'bundle-malformed' // an entry bundle with other entries than the size asks for, or none
  | 'tile-mismatch' // a hash tile is not the one that the entries make
  | 'quorum-missing' // the witnesses that the policy asks for did not cosign the checkpoint
  | 'checkpoint-misplaced'
  | 'uncovered' // entries after the last checkpoint, or no checkpoint at all
  | 'known-checkpoint-missing' // shorter than a checkpoint the auditor held before
  | 'entries-lost' // a checkpoint the auditor held before is over entries from the loss of which the log was recovered
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
  /** The first entry of an export that begins later than the log: of what was before it only the hashes were there. */
  readonly from?: number
  /** Base64, of the last checkpoint that holds. */
  readonly root?: string
  readonly checkpoints: number
  readonly entries: Readonly<Record<EntryKind, number>>
  /** Writer epochs seen. */
  readonly epochs: number
  readonly firstTime?: string
  readonly lastTime?: string
  readonly openIntents: readonly OpenIntent[]
  /** No fault by themselves; whoever keeps a log of before has the entries. */
  readonly recoveries: readonly Recovered[]
  /** The first 100. */
  readonly findings: readonly Finding[]
  readonly findingCount: number
}

const MAX_FINDINGS = 100

/** A checkpoint by one of the log's keys, or why it is none. */
export type OpenedCheckpoint = { readonly signer: number; readonly checkpoint: Checkpoint } | { readonly fault: string }

/** `keys`: of the log, in their order. The signer is the place among them. */
export function openByAny(note: string, keys: readonly LogKey[]): OpenedCheckpoint {
  let fault = 'there is no key to open it with'
  for (const [signer, key] of keys.entries()) {
    try {
      return { signer, checkpoint: openCheckpoint(note, key) }
    } catch (error) {
      if (!(error instanceof NoteError)) throw error
      fault = error.message
    }
  }
  return { fault }
}

/** Follows a log from its first entry on; memory grows with open intents and writer epochs only. */
export class LogVerifier {
  readonly #key: LogKey
  /** In their order, the newest last. */
  readonly #keys: readonly LogKey[]
  /** The newest key that has signed or was named so far, and the one of the last checkpoint; by their place. */
  #newestKey = 0
  #lastSigner = 0
  readonly #known: Checkpoint[]
  /** Of those, what the log does not contain: a recovery may come that says why. */
  readonly #missing: Checkpoint[] = []
  readonly #recoveries: Recovered[] = []
  #edge = EMPTY_EDGE
  /** The first entry. */
  #from = 0
  #visit: ((level: number, index: number, node: Uint8Array) => void) | undefined
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

  /** The keys of the log, in the order in which they signed. */
  get keys(): readonly LogKey[] {
    return this.#keys
  }

  /** The next piece of an export. `opened`: its checkpoints, in their order. */
  addExported(piece: ExportDigest, opened: readonly OpenedCheckpoint[]): void {
    let at = 0
    let checkpoints = 0
    const entriesUntil = (before: number): void => {
      if (before > at && this.#headers === 0) this.#header('', '')
      this.#entriesOf(piece, at, before, piece.indexes)
      at = before
    }
    for (const line of piece.lines) {
      entriesUntil(line.before)
      if (line.is === 'malformed') this.#find('line-malformed', 'a line is not a header, entry or checkpoint')
      else if (line.is === 'header') this.#header(line.origin, line.vkey, line.begins)
      else {
        if (this.#headers === 0) this.#header('', '')
        this.addCheckpoint(opened[checkpoints] ?? { fault: 'it was not opened' })
        checkpoints += 1
      }
    }
    entriesUntil(piece.kinds.length)
    // Without this a log that nothing signs would be held whole.
    this.#grow()
  }

  /** The next entries. `visit` sees the nodes of the tree that they make full. */
  addEntries(piece: EntryDigest, visit?: (level: number, index: number, node: Uint8Array) => void): void {
    this.#visit = visit
    this.#entriesOf(piece, 0, piece.kinds.length)
    this.#rootNow()
  }

  /** What is wrong with the form in which the log was brought. */
  find(code: FindingCode, detail: string, index?: number): void {
    this.#find(code, detail, index)
  }

  finish(): LogReport {
    for (const known of this.#missing) this.#findMissing(known, 'root-mismatch', 'are not those of the checkpoint held from before')
    for (const known of this.#known) this.#findMissing(known, 'known-checkpoint-missing', 'were signed before, and are not all there')
    if (this.#covered < this.#size || this.#checkpoints === 0) this.#find('uncovered', `no checkpoint covers entries ${this.#covered} to ${this.#size}`)
    if (this.#checkpoints > 0 && this.#lastSigner < this.#keys.length - 1)
      this.#find('key-replaced', 'the last checkpoint is not by the newest key: the export is from before that, or the log was set back')
    // Of operations that end in an export that begins later, the intent may stand before it.
    if (this.#from === 0) for (const [id, index] of this.#early) this.#find('outcome-without-intent', `operation ${id} ended without having begun`, index)
    return {
      ok: this.#findingCount === 0,
      origin: this.#key.name,
      size: this.#size,
      ...(this.#from === 0 ? {} : { from: this.#from }),
      ...(this.#root === undefined ? {} : { root: this.#root }),
      checkpoints: this.#checkpoints,
      entries: this.#entries,
      epochs: this.#next.size,
      ...(this.#firstTime === undefined || this.#lastTime === undefined ? {} : { firstTime: this.#firstTime, lastTime: this.#lastTime }),
      openIntents: [...this.#open.values()],
      recoveries: this.#recoveries,
      findings: this.#findings,
      findingCount: this.#findingCount,
    }
  }

  /** The tree goes on from what it is said to have been: only the right one leads to a signed root. */
  #begin(edge: Edge): void {
    this.#edge = edge
    this.#from = this.#size = this.#covered = edge.size
    for (; this.#known[0] !== undefined && this.#known[0].size < edge.size; this.#known.shift())
      this.#find(
        'known-checkpoint-missing',
        `the export begins at ${edge.size}: whether the log contains that over ${this.#known[0].size} entries, its archive shows`,
      )
    this.#compareKnown()
  }

  #header(origin: string, vkey: string, begins?: Edge): void {
    this.#headers += 1
    if (this.#headers === 1 && begins !== undefined) {
      if (this.#size === 0) this.#begin(begins)
      else this.#find('line-malformed', 'a header after entries')
    }
    if (this.#headers > 1) this.#find('line-malformed', 'a second header')
    else if (origin !== this.#key.name || !this.#keys.some((key) => key.vkey === vkey))
      this.#find('wrong-log', `the export says that it is of ${origin || 'no log'} with the key ${vkey || '(none)'}`)
  }

  /** A checkpoint that stands after the entries so far. */
  addCheckpoint(opened: OpenedCheckpoint): void {
    if ('fault' in opened) return this.#find('checkpoint-invalid', opened.fault)
    const { signer, checkpoint } = opened
    const { size, root } = checkpoint
    if (signer < this.#newestKey) return this.#find('key-replaced', `a checkpoint over ${size} entries is by a key that was replaced before`, size)
    this.#newestKey = this.#lastSigner = signer
    if (size !== this.#size) return this.#find('checkpoint-misplaced', `a checkpoint over ${size} entries stands after ${this.#size}`)
    if (!equalBytes(root, this.#rootNow())) return this.#find('root-mismatch', `the first ${size} entries are not those that the log signed`, size)
    this.#checkpoints += 1
    this.#covered = size
    this.#root = base64(root)
  }

  /** The entries `from` up to `to` of a piece. */
  #entriesOf(piece: EntryDigest, from: number, to: number, indexes?: Float64Array): void {
    const { leaves, kinds, writers, notable, firstTime, lastTime } = piece
    if (firstTime !== undefined && (this.#firstTime === undefined || firstTime < this.#firstTime)) this.#firstTime = firstTime
    if (lastTime !== undefined && (this.#lastTime === undefined || lastTime > this.#lastTime)) this.#lastTime = lastTime
    let next = notable.findIndex(({ at }) => at >= from)
    for (let at = from; at < to; at += 1) {
      const index = indexes?.[at] ?? this.#size
      if (index !== this.#size) this.#find('index-gap', `entry ${index} stands where entry ${this.#size} should`, index)
      this.#leaves.push(leaves.subarray(32 * at, 32 * at + 32))
      this.#size += 1
      if (this.#known[0]?.size === this.#size) this.#compareKnown()
      const more = notable[next]
      const isNotable = more?.at === at
      if (isNotable) next += 1
      const kind = ENTRY_KINDS[kinds[at] ?? 0]
      if (kind !== undefined) {
        this.#entries[kind] += 1
        this.#follow(writers[3 * at] ?? 0, writers[3 * at + 1] ?? 0, writers[3 * at + 2] ?? 0, index)
      }
      if (isNotable) this.#note(more, index)
    }
  }

  #compareKnown(): void {
    while (this.#known[0]?.size === this.#size) {
      const known = this.#known.shift()
      if (known !== undefined && !equalBytes(known.root, this.#rootNow())) this.#missing.push(known)
    }
  }

  #findMissing({ origin, size }: Checkpoint, code: FindingCode, what: string): void {
    const recovery = this.#recoveries.find(({ oldOrigin, logSize, lostSize }) => oldOrigin === origin && logSize < size && size <= lostSize)
    if (recovery === undefined) return this.#find(code, `the first ${size} entries of ${origin} ${what}`, Math.min(size, this.#size))
    const { index, logSize, lostSize, time } = recovery
    this.#find(
      'entries-lost',
      `entries ${logSize} to ${lostSize} of ${origin} are lost, as its recovery of ${time} says; a checkpoint held from before is over ${size}`,
      index,
    )
  }

  #grow(): Edge {
    this.#edge = append(this.#edge, this.#leaves, this.#visit)
    this.#leaves = []
    return this.#edge
  }

  #rootNow(): Uint8Array {
    return rootOf(this.#grow())
  }

  #follow(slot: number, epoch: number, seq: number, index: number): void {
    const newest = this.#newest.get(slot) ?? 0
    if (epoch < newest) this.#find('epoch-order', `writer ${slot}: epoch ${epoch} wrote after epoch ${newest} had begun`, index)
    else if (epoch > newest) this.#newest.set(slot, epoch)
    const place = `${slot}/${epoch}`
    // The first epoch of a slot that a later begin shows was under way.
    const next = this.#next.get(place) ?? (this.#from > 0 && newest === 0 ? seq : 0)
    if (seq !== next) this.#find('sequence-gap', `writer ${slot}, epoch ${epoch}: sequence ${seq} stands where ${next} should`, index)
    this.#next.set(place, seq + 1)
  }

  #note(more: Notable, index: number): void {
    if (more.is === 'malformed') return this.#find('entry-malformed', more.reason, index)
    if (more.is === 'succession') return this.#succeed(more, index)
    const { id } = more
    if (more.is === 'intent') {
      if (this.#early.delete(id)) return
      if (this.#open.has(id)) this.#find('intent-doubled', `operation ${id} began twice`, index)
      this.#open.set(id, { index, id, operation: more.operation, time: more.time })
    } else if (!this.#open.delete(id)) {
      if (this.#early.has(id)) this.#find('outcome-without-intent', `operation ${id} ended twice`, index)
      this.#early.set(id, index)
    }
  }

  #succeed({ newKey, logSize, recovery }: Notable & { readonly is: 'succession' }, index: number): void {
    const successor = this.#keys.findIndex(({ vkey }) => vkey === newKey)
    if (successor < 0) return this.#find('key-replaced', `the key ${String(newKey)} took the place of the one before it, and is not among those given`, index)
    if (this.#lastSigner < successor && this.#covered > Number(logSize))
      this.#find('key-replaced', `a checkpoint over ${this.#covered} entries is by a key that was replaced when it had signed ${String(logSize)}`, index)
    this.#newestKey = Math.max(this.#newestKey, successor)
    if (recovery === undefined) return
    const { lostSize, time } = recovery
    this.#recoveries.push({ index, time, oldOrigin: this.#keys[successor - 1]?.name ?? 'unknown', logSize: Number(logSize), lostSize: Number(lostSize) })
  }

  #find(code: FindingCode, detail: string, index?: number): void {
    this.#findingCount += 1
    if (this.#findings.length < MAX_FINDINGS) this.#findings.push({ code, detail, ...(index === undefined ? {} : { index }) })
  }
}

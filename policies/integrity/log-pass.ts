import { breather } from '../../core/breather.ts'
import { equalBytes } from '../../core/bytes.ts'
import type { RowDigest } from '../../core/row.ts'
import { type Checkpoint, isLost, type LogKey, NoteError, openSuccession, type ReplacedKey } from '../audit/checkpoint.ts'
import type { Entry } from '../audit/entry.ts'
import { decodeBundle, groupMessage, nextChain, startChain } from '../audit/group.ts'
import { append, type Edge, EMPTY_EDGE, leafHash, rootOf } from '../audit/merkle.ts'
import { entriesOf, type NumberedEntry } from '../audit/round.ts'
import type { EntryRow, StoredGroup } from '../audit/sequencer-store.ts'
import type { CheckGroups } from '../audit/take-over.ts'
import { type Tile, TILE_WIDTH, TileWriter } from '../audit/tiles.ts'
import { committedBy, type Committed, committedIn, personalFindings } from './committed-values.ts'
import type { Finding, FindingCode } from './finding.ts'
import type { RowHead } from './row-heads.ts'
import type { EpochSequence, LogSource, TreeState } from './log-source.ts'

export interface LogPassDeps {
  readonly source: LogSource
  readonly key: LogKey
  readonly replaced: readonly ReplacedKey[]
  readonly checkGroups: CheckGroups
  /** The last signed checkpoints that are kept outside the database, and where. */
  readonly kept: readonly { readonly where: string; readonly note: string }[]
  /** What was pruned before the log as it stands. Default nothing. */
  readonly begin?: LogBegin | undefined
  readonly find: (finding: Finding) => void
  /** Each row that a right entry names. */
  readonly name: (row: RowDigest, entry: Entry, index: number) => void
  /** Called between pages with the entries that are done: to wait, to show progress, to throw. */
  readonly between: (done: number, of: number) => Promise<void>
}

/** Where the entries begin, after a prune. */
export interface LogBegin {
  readonly index: number
  /** Of the tree over what was pruned, by its sealed record. */
  readonly root: Uint8Array
  /** How far each writer's epoch was there. */
  readonly epochs: readonly EpochSequence[]
}

/** Entries of one page: groups have 4,096 at the most, and 8 MiB. */
const PAGE = 1_000
/** A whole number of tiles. */
const PRUNED_PAGE = 64 * TILE_WIDTH
const UNSEQUENCED_PAGE = 10_000

/** A checkpoint that is the log's, and where it stands. */
interface Signed {
  readonly checkpoint: Checkpoint
  readonly where: string
}

/** A group, and what was found of it. */
interface SeenGroup {
  readonly group: StoredGroup
  /** MAC, chain and form are right. */
  readonly entries: ReadonlyMap<number, NumberedEntry> | undefined
  /** The bytes that it holds for each sequence, right or wrong. */
  readonly bytes: readonly Uint8Array[]
}

/**
 * Reads the whole log once, in the order of the tree: entries against groups, MACs and chains, the index rows against entries, the tiles, checkpoints, head and personal
 * values against all of these. Of what was pruned it reads the hashes: with them the tree is made as with the entries, and every tile and checkpoint compared.
 * Memory does not grow with the log, but with writer epochs.
 */
export class LogPass {
  readonly #deps: LogPassDeps
  /** Where each epoch goes on: after a fault unknown. */
  readonly #chains = new Map<string, { readonly nextSeq: number; readonly chain: Uint8Array } | undefined>()
  /** The next sequence of each epoch, as the index has it. */
  readonly #seqs = new Map<string, number>()
  readonly #tiles = new TileWriter([])
  #last: SeenGroup | undefined
  #edge: Edge = EMPTY_EDGE
  #groups = 0
  #isTorn = false

  constructor(deps: LogPassDeps) {
    this.#deps = deps
  }

  /** Answers how many entries and groups were read. */
  async run(): Promise<{ readonly entries: number; readonly groups: number }> {
    const { source, between } = this.#deps
    const tree = await source.sequencedTree()
    const { size } = tree.head.edge
    const kept = this.#deps.kept.flatMap(({ where, note }): Signed[] => {
      const checkpoint = isLost(note, this.#deps) ? undefined : this.#open(note, where)
      return checkpoint === undefined ? [] : [{ checkpoint, where }]
    })
    this.#behind(kept, size)
    const { begin } = this.#deps
    if (begin !== undefined) await this.#beginWith(begin)
    for (let at = 0; at < size; at = this.#edge.size) {
      if (begin !== undefined && at < begin.index) await this.#prunedPage(at, Math.min(at + PRUNED_PAGE, size, begin.index), kept)
      else await this.#page(at, Math.min(at + PAGE, size), kept)
      await this.#compareTiles(tree)
      await between(this.#edge.size, size)
    }
    await this.#end(tree)
    // Of a right log there is nothing to look for: the tree and these were committed together.
    const beyond = tree.sequenced
      .map(({ writer, epoch, seq }) => ({ writer, epoch, from: this.#seqs.get(`${writer}/${epoch}`) ?? 0, to: seq }))
      .filter(({ from, to }) => from < to)
    if (beyond.length > 0) for (const stray of await source.groupsWithin(beyond)) this.#added(stray)
    return { entries: size, groups: this.#groups }
  }

  /** Of entries that were pruned the hashes: whole tiles, each of which the one above it has a hash of. */
  async #prunedPage(from: number, to: number, kept: readonly Signed[]): Promise<void> {
    const { source, begin } = this.#deps
    const places = leafTilesOf(from, to)
    const above = places.map(({ index }) => ({ level: 1, index: Math.floor(index / TILE_WIDTH) }))
    const [tiles, checkpoints] = await Promise.all([source.tiles([...places, ...above]), source.checkpoints(from, to)])
    const [leafOf, tileHashOf] = [0, 1].map((level) => leavesIn(tiles.filter((tile) => tile.level === level))) as [Leaves, Leaves]
    const signed = this.#signedIn(from, to, checkpoints, kept)
    for (const { index: tile } of places) {
      const first = tile * TILE_WIDTH
      const leaves = Array.from({ length: TILE_WIDTH }, (_, at) => leafOf(first + at))
      const present = leaves.filter((leaf) => leaf !== undefined)
      const hash = tileHashOf(tile)
      if (present.length < TILE_WIDTH || hash === undefined || !equalBytes(rootOf(append(EMPTY_EDGE, present)), hash))
        this.#find('tile-differs', tileName(0, tile), 'its hashes are missing, or not those that the tile above it has a hash of', first)
      if (present.length < TILE_WIDTH) this.#isTorn = true
      for (const [at, leaf] of leaves.entries()) {
        this.#edge = append(this.#edge, [leaf ?? NO_LEAF], this.#tiles.visit)
        for (const checkpoint of signed.get(first + at + 1) ?? []) this.#compareRoot(checkpoint)
      }
    }
    if (this.#edge.size === begin?.index) this.#compareBegin(begin)
  }

  async #page(from: number, to: number, kept: readonly Signed[]): Promise<void> {
    const { source } = this.#deps
    const [rows, leafTiles, checkpoints] = await Promise.all([source.entries(from, to), source.tiles(leafTilesOf(from, to)), source.checkpoints(from, to)])
    const byIndex = new Map(rows.map((row) => [row.index, row]))
    const seen = await this.#groupsOf(rows)
    const leafOf = leavesIn(leafTiles)
    const signed = this.#signedIn(from, to, checkpoints, kept)
    const breathe = breather()
    const personal: { readonly entry: Entry; readonly index: number }[] = []
    for (let index = from; index < to; index += 1) {
      const stored = leafOf(index)
      const leaf = this.#entry(index, byIndex.get(index), seen, stored, personal) ?? stored
      if (stored === undefined) this.#find('tile-differs', tileName(0, Math.floor(index / TILE_WIDTH)), `the hash of entry ${index} is missing`, index)
      if (leaf === undefined) this.#isTorn = true
      this.#edge = append(this.#edge, [leaf ?? NO_LEAF], this.#tiles.visit)
      for (const checkpoint of signed.get(index + 1) ?? []) this.#compareRoot(checkpoint)
      await breathe()
    }
    await this.#compareCommitted(committedBy(personal))
  }

  /** The chains go on after the last group of each epoch before the begin, which stays for that. It is believed by its MAC. */
  async #beginWith({ epochs }: LogBegin): Promise<void> {
    for (const { writer, epoch, seq } of epochs) this.#seqs.set(`${writer}/${epoch}`, seq)
    const groups = await this.#deps.source.groupsBefore(epochs)
    const isMaced = await this.#deps.checkGroups(groups.map((group) => ({ message: groupMessage(group), mac: group.mac })))
    for (const [at, { writer, epoch, firstSeq, count, chain }] of groups.entries()) {
      this.#chains.set(`${writer}/${epoch}`, isMaced[at] === true ? { nextSeq: firstSeq + count, chain } : undefined)
      if (isMaced[at] !== true) this.#find('group-mac', `group writer ${writer}, epoch ${epoch}, sequence ${firstSeq}`, 'its MAC is not the token’s')
    }
  }

  /** The leaf of the entry, where there is one. */
  #entry(
    index: number,
    row: EntryRow | undefined,
    seen: ReadonlyMap<string, SeenGroup>,
    stored: Uint8Array | undefined,
    personal: { entry: Entry; index: number }[],
  ): Uint8Array | undefined {
    if (row === undefined) {
      this.#find('entry-missing', `entry ${index}`, 'audit_entries has no row of it', index)
      return undefined
    }
    const group = seen.get(placeOf(row))
    const bytes = group?.bytes[row.seq - row.groupSeq]
    if (group === undefined || bytes === undefined) {
      this.#seqs.set(`${row.writer}/${row.epoch}`, row.seq + 1)
      this.#find('entry-missing', `entry ${index}`, `the group of its bytes is gone: writer ${row.writer}, epoch ${row.epoch}, sequence ${row.groupSeq}`, index)
      return undefined
    }
    const leaf = leafHash(bytes)
    const [epoch, isSigned] = [`${row.writer}/${row.epoch}`, stored === undefined || equalBytes(leaf, stored)]
    const isNext = row.seq === (this.#seqs.get(epoch) ?? 0)
    if (isSigned || isNext) this.#seqs.set(epoch, row.seq + 1)
    else this.#find('index-differs', `entry ${index}`, 'audit_entries has another entry in its place', index)
    const numbered = group.entries?.get(row.seq)
    if (numbered === undefined) {
      if (!isSigned && isNext) this.#find('entry-changed', `entry ${index}`, 'its bytes are not those of the hash in the tree', index)
      return leaf
    }
    const differing = COMPARED.filter((field) => row[field] !== numbered.row[field])
    if (differing.length > 0) this.#find('index-differs', `entry ${index}`, `audit_entries differs from the entry in ${differing.join(', ')}`, index)
    if (!isSigned && isNext)
      this.#find('tile-differs', tileName(0, Math.floor(index / TILE_WIDTH)), `the hash of entry ${index} is not the entry's that stands there`, index)
    const { entry } = numbered
    for (const named of entry.rows ?? []) this.#deps.name(named, entry, index)
    if (entry.personal !== undefined) personal.push({ entry, index })
    return leaf
  }

  async #groupsOf(rows: readonly EntryRow[]): Promise<Map<string, SeenGroup>> {
    const places = new Map(rows.map((row) => [placeOf(row), row]))
    const seen = new Map<string, SeenGroup>()
    const last = this.#last
    if (last !== undefined) {
      const place = placeOf({ ...last.group, groupSeq: last.group.firstSeq })
      if (places.delete(place)) seen.set(place, last)
    }
    const groups = await this.#deps.source.groups([...places.values()])
    const found = new Map(groups.map((group) => [placeOf({ ...group, groupSeq: group.firstSeq }), group]))
    const ordered = [...places.keys()].flatMap((place) => found.get(place) ?? [])
    const isMaced = await this.#deps.checkGroups(ordered.map((group) => ({ message: groupMessage(group), mac: group.mac })))
    const breathe = breather()
    for (const [at, group] of ordered.entries()) {
      const place = placeOf({ ...group, groupSeq: group.firstSeq })
      const one = { group, bytes: bytesOf(group), entries: this.#entriesIn(group, isMaced[at] === true) }
      this.#groups += 1
      if (group.nextSeq !== undefined && group.nextSeq < group.firstSeq + group.count) this.#added({ ...group, seq: group.nextSeq })
      seen.set(place, one)
      this.#last = one
      await breathe()
    }
    return seen
  }

  /** Its entries by sequence, where it is what was committed. */
  #entriesIn(group: StoredGroup, isMaced: boolean): ReadonlyMap<number, NumberedEntry> | undefined {
    const { writer, epoch, firstSeq, count, chain } = group
    const [epochOf, name] = [`${writer}/${epoch}`, `writer ${writer}, epoch ${epoch}, sequence ${firstSeq}`]
    const before = this.#chains.has(epochOf) ? this.#chains.get(epochOf) : { nextSeq: 0, chain: startChain(writer, epoch) }
    this.#chains.set(epochOf, isMaced ? { nextSeq: firstSeq + count, chain } : undefined)
    if (!isMaced) this.#find('group-mac', `group ${name}`, 'its MAC is not the token’s')
    if (before !== undefined && before.nextSeq !== firstSeq) this.#find('group-chain', `group ${name}`, `sequence ${before.nextSeq} was to come`)
    if (before?.nextSeq === firstSeq && !equalBytes(nextChain(before.chain, group.bundle), chain)) {
      this.#find('group-chain', `group ${name}`, 'its bundle does not lead to its chain')
      return undefined
    }
    if (!isMaced) return undefined
    try {
      return new Map(entriesOf(group, 0).map((one) => [one.row.seq, one]))
    } catch (error) {
      this.#find('group-chain', `group ${name}`, error instanceof Error ? error.message : 'it is no bundle of entries')
      return undefined
    }
  }

  /** A group between those that entries are in, or after the last that any is in. */
  #added({ writer, epoch, seq }: EpochSequence): void {
    this.#find('group-added', `group writer ${writer}, epoch ${epoch}, sequence ${seq}`, 'it is said to be sequenced, and no entry is in it')
  }

  /** What is committed and will not be sequenced, as the log has stopped: its rows count too. */
  async unsequenced(size: number): Promise<void> {
    const groups = await this.#deps.source.unsequenced(UNSEQUENCED_PAGE)
    const isMaced = await this.#deps.checkGroups(groups.map((group) => ({ message: groupMessage(group), mac: group.mac })))
    let index = size
    for (const [at, group] of groups.entries()) {
      const entries = this.#entriesIn(group, isMaced[at] === true) ?? new Map<number, NumberedEntry>()
      for (const { entry } of entries.values()) {
        for (const named of entry.rows ?? []) this.#deps.name(named, entry, index)
        index += 1
      }
    }
  }

  #signedIn(from: number, to: number, stored: readonly { readonly size: number; readonly note: string }[], kept: readonly Signed[]): Map<number, Signed[]> {
    const signed = new Map<number, Signed[]>()
    const add = (checkpoint: Checkpoint, where: string): void =>
      void signed.set(checkpoint.size, [...(signed.get(checkpoint.size) ?? []), { checkpoint, where }])
    for (const { size, note } of stored) {
      const checkpoint = this.#open(note, `checkpoint ${size}`)
      if (checkpoint?.size === size) add(checkpoint, `checkpoint ${size}`)
      else if (checkpoint !== undefined) this.#find('checkpoint-invalid', `checkpoint ${size}`, `it is over ${checkpoint.size} entries`)
    }
    for (const { checkpoint, where } of kept) if (checkpoint.size > from && checkpoint.size <= to) add(checkpoint, where)
    return signed
  }

  #open(note: string, subject: string): Checkpoint | undefined {
    try {
      return openSuccession(note, this.#deps.key, this.#deps.replaced)
    } catch (error) {
      if (!(error instanceof NoteError)) throw error
      this.#find('checkpoint-invalid', subject, error.message)
      return undefined
    }
  }

  #behind(signed: readonly Signed[], size: number): void {
    for (const { checkpoint, where } of signed)
      if (checkpoint.size > size)
        this.#find('database-behind', 'the log', `${where} has a signed checkpoint over ${checkpoint.size} entries, and the database has ${size}`)
  }

  /** The hashes of what was pruned are those of the archive that was verified then. */
  #compareBegin({ index, root }: LogBegin): void {
    if (this.#isTorn || equalBytes(root, rootOf(this.#edge))) return
    this.#isTorn = true
    this.#find('root-mismatch', 'the log', `the hashes of the first ${index} entries are not those that were pruned`, index - 1)
  }

  /** The first that does not hold is told: all after it do not either. */
  #compareRoot({ checkpoint, where }: Signed): void {
    if (this.#isTorn || equalBytes(checkpoint.root, rootOf(this.#edge))) return
    this.#isTorn = true
    this.#find('root-mismatch', 'the log', `the first ${checkpoint.size} entries are not those that were signed (${where})`, checkpoint.size - 1)
  }

  /** The full tiles above the leaves, which were compared one by one. */
  async #compareTiles({ head }: TreeState): Promise<void> {
    const built = this.#tiles.takeFull().filter(({ level }) => level > 0)
    if (built.length === 0 || this.#isTorn || head.edge.size === 0) return
    const stored = new Map((await this.#deps.source.tiles(built)).map((tile) => [tileName(tile.level, tile.index), tile.hashes]))
    for (const { level, index, hashes } of built) {
      const there = stored.get(tileName(level, index))
      if (there === undefined || !equalBytes(there, hashes))
        this.#find('tile-differs', tileName(level, index), there === undefined ? 'it is missing' : 'it does not follow from the entries')
    }
  }

  /** Personal values of entries that were pruned, by their commitments: one head each. */
  compareValues(heads: readonly RowHead[]): Promise<void> {
    return this.#compareCommitted(committedIn(heads))
  }

  async #compareCommitted(committed: Committed): Promise<void> {
    for (const finding of await personalFindings(this.#deps.source, committed)) this.#deps.find(finding)
  }

  async #end({ head, partialTiles }: TreeState): Promise<void> {
    const { size } = head.edge
    for (const index of await this.#deps.source.strayEntries(size)) {
      // What was sequenced meanwhile lies beyond it, and is right.
      if (index < 0 || (await this.#deps.source.tree()).head.edge.size <= index) this.#find('entry-added', `entry ${index}`, `the log has ${size} entries`)
    }
    // What was signed meanwhile is over entries that are there by now.
    const later = [...this.#signedIn(size, Number.POSITIVE_INFINITY, await this.#deps.source.checkpoints(size), []).values()].flat()
    if (later.length > 0) this.#behind(later, (await this.#deps.source.tree()).head.edge.size)
    if (this.#isTorn) return
    const isSame = equalBytes(rootOf(this.#edge), head.root) && equalBytes(Buffer.concat(this.#edge.nodes), Buffer.concat(head.edge.nodes))
    if (!isSame) this.#find('head-differs', 'audit_head', `root or edge over ${size} entries are not those of the entries`)
    const stored = new Map(partialTiles.map((tile) => [tile.level, tile]))
    for (const { level, index, hashes } of this.#tiles.partial()) {
      const there = stored.get(level)
      if (there?.index !== index || !equalBytes(there.hashes, hashes))
        this.#find('tile-differs', tileName(level, index), 'the right-most tile of its level does not follow from the entries')
    }
  }

  #find(code: FindingCode, subject: string, detail: string, since?: number): void {
    this.#deps.find({ code, subject, detail, ...(since === undefined ? {} : { since }) })
  }
}

/** What an index row and its entry have in common. */
const COMPARED = ['operationId', 'writer', 'epoch', 'seq', 'groupSeq'] as const
const NO_LEAF = new Uint8Array(32)

const placeOf = ({ writer, epoch, groupSeq }: { readonly writer: number; readonly epoch: number; readonly groupSeq: number }): string =>
  `${writer}/${epoch}/${groupSeq}`

const tileName = (level: number, index: number): string => `tile ${level}/${index}`

function bytesOf({ bundle }: StoredGroup): readonly Uint8Array[] {
  try {
    return decodeBundle(bundle)
  } catch {
    return []
  }
}

const leafTilesOf = (from: number, to: number): { readonly level: number; readonly index: number }[] => {
  const [first, last] = [Math.floor(from / TILE_WIDTH), Math.floor((to - 1) / TILE_WIDTH)]
  return Array.from({ length: last - first + 1 }, (_, at) => ({ level: 0, index: first + at }))
}

/** By their index in their level. */
type Leaves = (index: number) => Uint8Array | undefined

/** The stored hash of an entry. A tile that is becoming full stands twice for a moment: the longer one counts. */
function leavesIn(tiles: readonly Tile[]): Leaves {
  const longest = new Map<number, Uint8Array>()
  for (const { index, hashes } of tiles) if ((longest.get(index)?.length ?? 0) < hashes.length) longest.set(index, hashes)
  return (index) => {
    const hashes = longest.get(Math.floor(index / TILE_WIDTH))
    const at = (index % TILE_WIDTH) * 32
    return hashes === undefined || hashes.length < at + 32 ? undefined : hashes.subarray(at, at + 32)
  }
}

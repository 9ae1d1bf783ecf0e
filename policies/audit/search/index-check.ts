import { equalBytes } from '../../../core/bytes.ts'
import { Problem } from '../../../core/problem.ts'
import { SEGMENT_ENTRIES, segmentOf } from './bits.ts'
import { FIELD_NAMES, fieldOf } from './field.ts'
import type { SealedSegment } from './segment.ts'
import { readSegment, type ReadEntries } from './segment-reader.ts'
import type { TermStore } from './term-store.ts'

/** How the index differs from the entries. */
export interface IndexFinding {
  /** `missing` hides entries; `extra` and `changed` do, or make answers fail. `unreadable`: the entries themselves are not what was committed. */
  readonly kind: 'missing' | 'extra' | 'changed' | 'unreadable'
  readonly segment: number
  /** `operation:kms.key.sign`, or `times`. */
  readonly what: string
}

/**
 * Compares the index with the entries, all of them or from a segment on, and tells each difference. Reads the whole log; it may go on for minutes, holds no lock
 * and no more than one segment at a time. The entries are taken as they stand: whether they are what was signed, the verification of the log shows.
 */
export async function* checkIndex({
  store,
  read,
  from: asked = 0,
}: {
  readonly store: TermStore
  readonly read: ReadEntries
  readonly from?: number
}): AsyncGenerator<IndexFinding | { readonly checked: number; readonly of: number }> {
  const { sealed, generation, from: minimumIndex } = await store.position()
  const from = Math.max(asked, segmentOf(minimumIndex))
  const [stored, counts] = [new Map<number, number>(), new Map<number, number>()]
  for (let segment = from; segment < sealed; segment += 1) {
    const made = await readSegment(segment, read, minimumIndex).then(
      (index) => index.seal(),
      () => undefined,
    )
    if (made === undefined) yield { kind: 'unreadable', segment, what: 'entries' }
    else {
      const { findings, rows } = await compareSegment(store, made)
      const now = await store.position()
      if (now.generation !== generation || now.from !== minimumIndex)
        throw new Problem('conflict', 'The index was thrown away, or the log pruned, while it was compared. Begin again.')
      stored.set(segment, rows)
      yield* findings
    }
    yield { checked: segment + 1 - from, of: sealed - from }
  }
  // Rows that are there and have no place: too many in a segment, or of segments that are not.
  for (const field of FIELD_NAMES) {
    for (const [segment, rows] of await store.rowCounts(fieldOf(field).number)) counts.set(segment, (counts.get(segment) ?? 0) + rows)
  }
  const now = await store.position()
  for (const [segment, rows] of counts) {
    if (segment < from || rows === stored.get(segment) || (segment < sealed && !stored.has(segment))) continue
    if (segment < sealed || segment >= now.sealed) yield* extraRows(store, segment, read, minimumIndex)
  }
}

/** What differs, and how many of the rows that belong there are there. */
async function compareSegment(store: TermStore, made: SealedSegment): Promise<{ readonly findings: readonly IndexFinding[]; readonly rows: number }> {
  const { segment, terms } = made
  const findings: IndexFinding[] = []
  const stored = await store.stored(segment, terms)
  for (const [at, term] of terms.entries()) {
    const row = stored[at]
    if (row === undefined) findings.push({ kind: 'missing', segment, what: nameOf(term) })
    else if (row.count !== term.count || !equalBytes(row.bits, term.bits)) findings.push({ kind: 'changed', segment, what: nameOf(term) })
  }
  const [span] = await store.spans([segment])
  const [times] = await store.times([segment])
  if (span === undefined || times === undefined) findings.push({ kind: 'missing', segment, what: 'times' })
  else if (span.firstMs !== made.firstMs || span.lastMs !== made.lastMs || !equalBytes(times.times, made.times))
    findings.push({ kind: 'changed', segment, what: 'times' })
  return { findings, rows: stored.filter((row) => row !== undefined).length }
}

async function* extraRows(store: TermStore, segment: number, read: ReadEntries, minimumIndex: number): AsyncGenerator<IndexFinding> {
  const made = await readSegment(segment, read, minimumIndex).then(
    (index) => (index.count === SEGMENT_ENTRIES ? index.seal().terms : []),
    () => [],
  )
  const known = new Set(made.map(nameOf))
  for (const row of await store.allOf(segment)) if (!known.has(nameOf(row))) yield { kind: 'extra', segment, what: nameOf(row) }
}

const NAMES = new Map<number, string>(FIELD_NAMES.map((name) => [fieldOf(name).number, name]))
const nameOf = ({ field, value }: { readonly field: number; readonly value: string }): string => `${NAMES.get(field) ?? String(field)}:${value}`

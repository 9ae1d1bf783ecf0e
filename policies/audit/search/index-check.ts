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
  const progress = { checked: Math.max(0, sealed - from), of: Math.max(0, sealed - from) }
  for (const field of FIELD_NAMES) {
    for await (const page of store.rowCounts(fieldOf(field).number)) {
      for (const [segment, rows] of page) counts.set(segment, (counts.get(segment) ?? 0) + rows)
      yield progress
    }
  }
  const now = await store.position()
  const suspects = [...counts].flatMap(([segment, rows]) => {
    if (segment < from || rows === stored.get(segment) || (segment < sealed && !stored.has(segment))) return []
    return segment < sealed || segment >= now.sealed ? [segment] : []
  })
  yield* extraRows(store, suspects, read, minimumIndex)
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

/** Segments whose rows are named one by one: of each all terms are in memory. */
const MOST_NAMED = 16

async function* extraRows(store: TermStore, suspects: readonly number[], read: ReadEntries, minimumIndex: number): AsyncGenerator<IndexFinding> {
  const known = new Map<number, ReadonlySet<string>>()
  for (const segment of suspects.slice(0, MOST_NAMED)) {
    const made = await readSegment(segment, read, minimumIndex).then(
      (index) => (index.count === SEGMENT_ENTRIES ? index.seal().terms : []),
      () => [],
    )
    known.set(segment, new Set(made.map(nameOf)))
  }
  for (const name of known.size === 0 ? [] : FIELD_NAMES) {
    const field = fieldOf(name).number
    for await (const page of store.valuesIn(field, [...known.keys()])) {
      for (const { segment, value } of page) {
        const what = nameOf({ field, value })
        if (known.get(segment)?.has(what) === false) yield { kind: 'extra', segment, what }
      }
    }
  }
  for (const segment of suspects.slice(MOST_NAMED)) yield { kind: 'extra', segment, what: 'rows' }
}

const NAMES = new Map<number, string>(FIELD_NAMES.map((name) => [fieldOf(name).number, name]))
const nameOf = ({ field, value }: { readonly field: number; readonly value: string }): string => `${NAMES.get(field) ?? String(field)}:${value}`

import type { RowDigest } from '../../core/row.ts'
import { DELETED, digestRow, type SealedRow } from '../../core/row.ts'
import type { SealedTable } from '../../core/sealed-table.ts'
import type { FoundEntry, LogReader } from '../audit/reader.ts'
import { type Finding, subjectOf } from './finding.ts'
import { ROW_RULES } from './row-rules.ts'
import { keyOf } from './row-book.ts'

export interface FreshRowsDeps {
  readonly reader: Pick<LogReader, 'search'>
  readonly tables: readonly SealedTable[]
  readonly reviewRows: (rows: readonly SealedRow[]) => Promise<readonly string[]>
}

interface Named {
  readonly row: RowDigest
  readonly index: number
}

/** Entries that are looked at in one go. */
const PAGE = 1_000

/**
 * Looks whether the rows that new entries name stand as they name them: minutes after they were written, and not only with the next pass over everything.
 * What is wrong is looked at again before it is told, when all entries have been looked at and once more after that: a later entry may name the row anew, also one that
 * is not sequenced yet.
 */
export class FreshRows {
  readonly #deps: FreshRowsDeps
  /** The next entry to look at. */
  #next: number
  /** What was wrong, and at which {@link #turn} first. */
  #suspects = new Map<string, { readonly one: Named; readonly turn: number }>()
  /** How often all entries were looked at. */
  #turn = 0

  constructor(deps: FreshRowsDeps, from: number) {
    this.#deps = deps
    this.#next = from
  }

  /** Looks at one page of entries. Answers what was found, and whether there is more. */
  async look(): Promise<{ readonly findings: Finding[]; readonly isAll: boolean }> {
    const entries = await this.#deps.reader.search({ from: this.#next, limit: PAGE })
    const isAll = entries.length < PAGE
    const named = newestOf(entries)
    for (const key of named.keys()) this.#suspects.delete(key)
    const again = isAll ? [...this.#suspects.values()].map(({ one }) => one) : []
    const wrong = await this.#wrongOf([...named.values(), ...again])
    const known = this.#suspects
    if (isAll) this.#suspects = new Map()
    const findings: Finding[] = []
    for (const { one, finding } of wrong) {
      const key = keyOf(one.row)
      const turn = known.get(key)?.turn ?? this.#turn
      if (turn < this.#turn) findings.push(finding)
      else this.#suspects.set(key, { one, turn })
    }
    if (isAll) this.#turn += 1
    this.#next = (entries.at(-1)?.index ?? this.#next - 1) + 1
    return { findings, isAll }
  }

  async #wrongOf(named: readonly Named[]): Promise<{ readonly one: Named; readonly finding: Finding }[]> {
    const wrong: { one: Named; finding: Finding }[] = []
    for (const table of this.#deps.tables) {
      const own = named.filter(({ row }) => row.table === table.name)
      if (own.length === 0 || ROW_RULES[table.name]?.isUnlogged === true) continue
      const placed = await table.find(own.map(({ row }) => row))
      const sealedBy = await this.#deps.reviewRows(placed)
      const standing = new Map(placed.map((one, at) => [keyOf(one.row), { row: digestRow(one.row), isSealed: sealedBy[at] !== 'nobody' }]))
      for (const one of own) {
        const finding = judge(one, standing.get(keyOf(one.row)))
        if (finding !== undefined) wrong.push({ one, finding })
      }
    }
    return wrong
  }
}

/** The newest version of each row that the entries name. */
function newestOf(entries: readonly FoundEntry[]): Map<string, Named> {
  const newest = new Map<string, Named>()
  for (const { entry, index } of entries) {
    for (const row of entry.rows ?? []) {
      const key = keyOf(row)
      if ((newest.get(key)?.row.version ?? 0) < row.version) newest.set(key, { row, index })
    }
  }
  return newest
}

/** A row that is newer than the entry is of an entry to come. */
function judge({ row, index }: Named, standing: { readonly row: RowDigest; readonly isSealed: boolean } | undefined): Finding | undefined {
  const found = (code: Finding['code'], detail: string): Finding => ({ code, subject: subjectOf(row), detail, since: index })
  if (row.digest === DELETED) return standing === undefined ? undefined : found('row-replayed', `it was deleted, and version ${standing.row.version} stands`)
  if (standing === undefined)
    return ROW_RULES[row.table]?.endsAfterMs === undefined ? found('row-deleted', `the log has version ${row.version}, and the table nothing`) : undefined
  if (!standing.isSealed) return found('row-edited', `the row of version ${standing.row.version} does not have the token’s MAC`)
  if (standing.row.version < row.version) return found('row-replayed', `the table has version ${standing.row.version}, the log version ${row.version}`)
  if (standing.row.version === row.version && standing.row.digest !== row.digest)
    return found('row-differs', `version ${row.version} is not the row that the entry names`)
  return undefined
}

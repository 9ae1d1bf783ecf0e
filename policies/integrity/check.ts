import { breather } from '../../core/breather.ts'
import { equalBytes } from '../../core/bytes.ts'
import { Problem } from '../../core/problem.ts'
import type { RowDigest } from '../../core/row.ts'
import type { Entry } from '../audit/entry.ts'
import { LogFault } from '../audit/log-fault.ts'
import type { PruneRecord } from '../audit/prune/prune-record.ts'
import { entriesOf } from '../audit/round.ts'
import type { IndexUpkeep } from '../audit/search/index-upkeep.ts'
import type { Finding } from './finding.ts'
import { subjectOf } from './finding.ts'
import { hiddenEpochs } from './hidden-epochs.ts'
import { LogPass, type LogPassDeps } from './log-pass.ts'
import type { EpochSequence } from './log-source.ts'
import { judgeRow, keyOf, type Naming, RowBook } from './row-book.ts'
import { HeadsDigest, SEQUENCES, VALUES } from './row-heads.ts'
import { pagesOf, passTables, type TablePassDeps } from './table-pass.ts'

export interface CheckDeps
  extends Pick<LogPassDeps, 'source' | 'key' | 'replaced' | 'checkGroups'>,
    Pick<TablePassDeps, 'tables' | 'dependents' | 'reviewRows'> {
  /** Sequences all that is committed now. Throws a {@link LogFault} where the log has stopped, and others where that cannot be done now. */
  readonly flush: () => Promise<void>
  /** The last signed checkpoints that are kept outside the database, and where. */
  readonly kept: () => Promise<LogPassDeps['kept']>
  /** What of the schema differs. */
  readonly schema: () => Promise<readonly Finding[]>
  /** Compares the index of searches with the entries. */
  readonly searchIndex: () => ReturnType<IndexUpkeep['check']>
  readonly now: () => Date
}

export interface CheckOptions {
  /** Told between pages; it may wait, or throw to end the check. */
  readonly between?: (progress: CheckProgress) => Promise<void>
}

export interface CheckProgress {
  readonly part: 'tables' | 'heads' | 'log' | 'comparison' | 'search'
  readonly done: number
  /** Undefined where it is not known before. */
  readonly of: number | undefined
}

export interface IntegrityReport {
  readonly startedAt: Date
  readonly endedAt: Date
  readonly entries: number
  readonly groups: number
  readonly rows: number
  /** The first {@link MOST_FINDINGS}, each once. */
  readonly findings: readonly Finding[]
  readonly findingCount: number
}

/** Findings that are kept; beyond it they are counted. */
export const MOST_FINDINGS = 1_000

/**
 * Compares everything with the log: rebuilds from it the newest version of each row, and looks whether the tables have that and nothing else; checks the log itself by
 * its MACs, its tree and its signed checkpoints; and the schema.
 *
 * It takes no snapshot, which a long pass would hold against the whole database, and rows that change meanwhile are no findings. Order: all that is committed is
 * sequenced (`began` entries); the tables are read; all is sequenced again; the log is read. So an entry before `began` was committed before any row was read: of its
 * rows what stood is that version, or one that an entry from `began` on names, which the log has by the time it is read. What was pruned is in the row heads.
 */
export async function checkIntegrity(deps: CheckDeps, { between = () => Promise.resolve() }: CheckOptions = {}): Promise<IntegrityReport> {
  const startedAt = deps.now()
  for (let attempt = 1; ; attempt += 1) {
    const pruned = await deps.source.pruned()
    const { entries, groups, rows, findings } = await compareAll(deps, { startedAt, pruned, between })
    const isSame = (await deps.source.pruned())?.before === pruned?.before
    // What was pruned meanwhile was missed, or missing.
    if (isSame) return { startedAt, endedAt: deps.now(), entries, groups, rows, findings: findings.list, findingCount: findings.count }
    if (attempt === MOST_ATTEMPTS) throw new Problem('conflict', 'The log was pruned again and again while it was compared. Begin again.')
  }
}

const MOST_ATTEMPTS = 3

async function compareAll(
  deps: CheckDeps,
  {
    startedAt,
    pruned,
    between,
  }: { readonly startedAt: Date; readonly pruned: PruneRecord | undefined; readonly between: NonNullable<CheckOptions['between']> },
): Promise<{ readonly entries: number; readonly groups: number; readonly rows: number; readonly findings: Findings }> {
  const findings = new Findings()
  const find = (finding: Finding): void => findings.add(finding)
  const book = new RowBook()
  try {
    for (const finding of await deps.schema()) find(finding)
    await flushed(deps, find)
    const began = (await deps.source.tree()).head.edge.size
    const { rows, unreadable } = await passTables({ ...deps, find, between: (done) => between({ part: 'tables', done, of: undefined }) }, ({ row }, isSealed) =>
      book.stand(row, isSealed),
    )
    const isStopped = !(await flushed(deps, find))
    const begin = pruned && { index: pruned.before, root: pruned.root, epochs: await readHeads(deps, { pruned, book, startedAt, find, between }) }
    const log = new LogPass({
      ...{ source: deps.source, key: deps.key, replaced: deps.replaced, checkGroups: deps.checkGroups, kept: await deps.kept(), find, begin },
      name: (named, entry, index) => book.name(named, { index, ageMs: ageOf(entry, startedAt) }),
      between: (done, of) => between({ part: 'log', done, of }),
    })
    const { entries, groups } = await log.run()
    for (const finding of await hiddenEpochs(deps.source)) find(finding)
    if (pruned !== undefined) {
      for await (const page of deps.source.heads(pruned.before)) await log.compareValues(page.filter(({ relation }) => relation === VALUES))
    }
    // Of a log that goes on, what is not sequenced now came after the tables were read.
    if (isStopped) await log.unsequenced(entries)
    await compareRows({ ...deps, book, began, unreadable, findings, between, pruned })
    await compareSearchIndex({ ...deps, find, between })
    return { entries, groups, rows, findings }
  } finally {
    book.close()
  }
}

/** What the log said of rows before it was pruned, into the book. Answers how far the epochs of writers were. */
async function readHeads(
  { source }: Pick<CheckDeps, 'source'>,
  {
    pruned: { before, heads },
    book,
    startedAt,
    find,
    between,
  }: {
    readonly pruned: PruneRecord
    readonly book: RowBook
    readonly startedAt: Date
    readonly find: (finding: Finding) => void
    readonly between: NonNullable<CheckOptions['between']>
  },
): Promise<EpochSequence[]> {
  const digest = new HeadsDigest()
  const epochs: EpochSequence[] = []
  let done = 0
  for await (const page of source.heads(before)) {
    for (const head of page) {
      digest.add(head)
      const { relation, subject, version, digest: named, index, timeMs } = head
      if (relation === SEQUENCES) {
        const [writer = 0, epoch = 0] = subject.split('/').map(Number)
        epochs.push({ writer, epoch, seq: version })
      } else if (relation !== VALUES) book.name({ table: relation, id: subject, version, digest: named }, { index, ageMs: startedAt.getTime() - timeMs })
    }
    done += page.length
    await between({ part: 'heads', done, of: undefined })
  }
  if (!equalBytes(digest.finish(), heads))
    find({ code: 'heads-differ', subject: 'audit_row_heads', detail: `they are not those that the record of the prune before entry ${before} was sealed over` })
  return epochs
}

const ageOf = (entry: Entry, now: Date): number => now.getTime() - new Date(entry.time).getTime()

/** Whether all that is committed is sequenced. A log that has stopped is one finding among the others: what it refuses to go on with is looked at too. */
async function flushed({ flush }: Pick<CheckDeps, 'flush'>, find: (finding: Finding) => void): Promise<boolean> {
  try {
    await flush()
    return true
  } catch (error) {
    if (!(error instanceof LogFault)) throw error
    find({ code: 'log-stopped', subject: `the log: ${error.code}`, detail: error.message })
    return false
  }
}

/** Entries that cannot be read are findings of the log. An index that is made anew meanwhile is compared in the next pass. */
async function compareSearchIndex({
  searchIndex,
  find,
  between,
}: Pick<CheckDeps, 'searchIndex'> & { readonly find: (finding: Finding) => void; readonly between: NonNullable<CheckOptions['between']> }): Promise<void> {
  try {
    for await (const found of searchIndex()) {
      if ('checked' in found) await between({ part: 'search', done: found.checked, of: found.of })
      else if (found.kind !== 'unreadable')
        find({ code: 'search-index-differs', subject: `search index ${found.what}, segment ${found.segment}`, detail: `its row is ${found.kind}` })
    }
  } catch (error) {
    // A record of a prune that is not the token's is a finding of its own.
    if (!(error instanceof Problem && (error.code === 'conflict' || error.code === 'integrity-failed'))) throw error
  }
}

interface Suspect {
  readonly code: NonNullable<ReturnType<typeof judgeRow>>
  readonly last: Naming | undefined
  readonly standing: number | undefined
}

async function compareRows({
  book,
  began,
  unreadable,
  findings,
  between,
  source,
  tables,
  pruned,
}: CheckDeps & {
  readonly book: RowBook
  readonly began: number
  readonly unreadable: ReadonlySet<string>
  readonly findings: Findings
  readonly between: (progress: CheckProgress) => Promise<void>
  readonly pruned: PruneRecord | undefined
}): Promise<void> {
  const suspects = new Map<string, Map<string, Suspect>>()
  const breathe = breather()
  let [done, kept] = [0, 0]
  for (const page of book.pages()) {
    done += 1
    if (done % 10_000 === 0) await between({ part: 'comparison', done, of: undefined })
    await breathe()
    const code = judgeRow(page, began)
    if (code === undefined || unreadable.has(page.table)) continue
    // More than anybody reads are counted.
    if (++kept > MOST_FINDINGS) {
      findings.count += 1
      continue
    }
    const last = page.namings.reduce<Naming | undefined>((a, b) => (a === undefined || b.version > a.version ? b : a), undefined)
    const known = suspects.get(page.table) ?? new Map<string, Suspect>()
    known.set(page.key, { code, last, standing: page.standing?.version })
    suspects.set(page.table, known)
  }
  for (const [table, known] of suspects) await nameSuspects(table, known)

  /** The book knows hashes alone: names come from the entry that names the row, or from the table. */
  async function nameSuspects(table: string, known: Map<string, Suspect>): Promise<void> {
    for (const [key, suspect] of known) {
      if (suspect.last === undefined) continue
      const named = (await rowsAt(source, suspect.last.index)).find((row) => keyOf(row) === key)
      if (named === undefined) continue
      known.delete(key)
      findings.add(findingOf(named, suspect))
    }
    const registered = tables.find(({ name }) => name === table)
    if (known.size > 0 && pruned !== undefined) {
      for await (const page of source.heads(pruned.before)) {
        for (const { relation, subject, version } of page) {
          const row = { table: relation, id: subject, version }
          const suspect = relation === table ? known.get(keyOf(row)) : undefined
          if (suspect !== undefined) findings.add(findingOf(row, suspect))
          if (suspect !== undefined) known.delete(keyOf(row))
        }
      }
    }
    if (known.size > 0 && registered !== undefined) {
      for await (const page of pagesOf(registered)) {
        for (const { row } of page) {
          const suspect = known.get(keyOf(row))
          if (suspect !== undefined) findings.add(findingOf(row, suspect))
          known.delete(keyOf(row))
        }
      }
    }
    // Neither has it by now: of an entry that the log will not sequence, say.
    for (const [key, suspect] of known) findings.add(findingOf({ table, id: `with hash ${key}` }, suspect))
  }
}

function findingOf(row: Pick<RowDigest, 'table' | 'id'>, { code, last, standing }: Suspect): Finding {
  const [has, should] = [`version ${standing ?? 'none'}`, last === undefined ? 'none' : `version ${last.version}`]
  const detail = {
    'row-edited': `the row of ${has} does not have the token’s MAC`,
    'row-replayed': `the table has ${has}, the log ${should}`,
    'row-deleted': `the log has ${should}, and the table nothing`,
    'row-added': `the table has ${has}, and no entry names it`,
    'row-differs':
      last?.version === standing ? `${has} is not the row that the entry names` : `the table has ${has}, which no entry names; the log has ${should}`,
  }[code]
  return { code, subject: subjectOf(row), detail, ...(last === undefined ? {} : { since: last.index }) }
}

/** What the entry at this index names. */
async function rowsAt(source: CheckDeps['source'], index: number): Promise<readonly RowDigest[]> {
  const [row] = await source.entries(index, index + 1)
  if (row === undefined) return []
  const [group] = await source.groups([row])
  const numbered = group && entriesOf(group, 0).find(({ row: one }) => one.seq === row.seq)
  return numbered?.entry.rows ?? []
}

/** Each finding once, by code and subject. */
class Findings {
  readonly #known = new Set<string>()
  readonly list: Finding[] = []
  count = 0

  add(finding: Finding): void {
    const name = `${finding.code} ${finding.subject}`
    if (this.#known.has(name)) return
    this.count += 1
    if (this.list.length >= MOST_FINDINGS) return
    this.#known.add(name)
    this.list.push(finding)
  }
}

import { setTimeout as sleep } from 'node:timers/promises'
import { newOperationId } from '../../core/ids.ts'
import { PollLoop } from '../../core/poll-loop.ts'
import { asProblem, type Problem } from '../../core/problem.ts'
import type { AuditLog, FactValue } from '../audit/log.ts'
import type { CheckOptions, CheckProgress, IntegrityReport } from './check.ts'
import type { Finding } from './finding.ts'
import type { FreshRows } from './fresh-rows.ts'
import type { IntegrityStore, PassRecord } from './integrity-store.ts'
import { CHECKED, INTEGRITY_CALLER } from './logged-passes.ts'

export interface IntegrityJobSettings {
  /** A pass over everything. */
  readonly check: (options: CheckOptions) => Promise<IntegrityReport>
  /** Follows the log from this entry on. */
  readonly followFrom: (index: number) => Pick<FreshRows, 'look'>
  /** What is kept from being sequenced, and so is no new entry. */
  readonly hidden: () => Promise<readonly Finding[]>
  /** The last whole comparison that the log knows, by whatever process. */
  readonly lastPass: () => Promise<PassRecord | undefined>
  /** Entries that are in the tree now. */
  readonly size: () => Promise<number>
  readonly store: IntegrityStore
  readonly log: Pick<AuditLog, 'append'>
  /** Whether it is this process that does the work of all. */
  readonly leads: () => boolean
  /** Between the starts of two passes. 0: nothing is done but what is asked for. */
  readonly everyHours: number
  readonly now: () => Date
  /** How often new entries are looked at. Default 60,000. */
  readonly pollMs?: number
  /** The part of the time that a pass of the job takes. Default 0.2; of one that somebody asked for 0.5. */
  readonly share?: number
  /** Told of what was not known before. */
  readonly onFound?: (finding: Finding) => void
  /** Told of every failure; it must not throw. */
  readonly onFailure?: (problem: Problem) => void
}

export interface IntegrityStatus {
  /** What was found and is still so, and since when something is. */
  readonly openFindings: number
  readonly since: Date
  readonly lastPassAt: Date | undefined
  /** Of the pass that this process is at. */
  readonly progress: CheckProgress | undefined
}

/** How many findings one event names. */
const MOST_NAMED = 20
/** Pages of new entries of one turn: what is more is left for the next. */
const MOST_PAGES = 60
const ASKED_SHARE = 0.5

/**
 * Compares the database with the log, again and again, in the process that leads: everything each {@link IntegrityJobSettings.everyHours}, and the rows of new entries
 * within two turns. What is new is told in an event of the log, and once.
 */
export class IntegrityJob {
  readonly #settings: Required<IntegrityJobSettings>
  readonly #loop = new PollLoop(() => this.#turn())
  #follower: Pick<FreshRows, 'look'> | undefined
  #passing: Promise<IntegrityReport> | undefined
  #status: IntegrityStatus
  #isFirst = true
  /** That this process made last: its event comes into the tree a moment later. */
  #own: PassRecord | undefined

  constructor(settings: IntegrityJobSettings) {
    this.#settings = { pollMs: 60_000, share: 0.2, onFound: () => undefined, onFailure: () => undefined, ...settings }
    this.#status = { openFindings: 0, since: settings.now(), lastPassAt: undefined, progress: undefined }
  }

  get status(): IntegrityStatus {
    return this.#status
  }

  start(): void {
    this.#loop.start()
  }

  /** Ends the pass that is under way, at its next page, unfinished. */
  async stop(): Promise<void> {
    await this.#loop.stop()
    await this.#passing?.catch(() => undefined)
  }

  /** Begins a pass now, whoever leads; false where this process is at one. */
  passNow(): boolean {
    return this.#beginPass(ASKED_SHARE)
  }

  /** New entries are looked at meanwhile. */
  #beginPass(share: number): boolean {
    if (this.#passing !== undefined) return false
    void this.#pass(share).catch((error: unknown) => {
      if (!(error instanceof Stopping)) this.#settings.onFailure(asProblem(error))
    })
    return true
  }

  async #turn(): Promise<number> {
    const { leads, pollMs, onFailure } = this.#settings
    try {
      await this.#readStatus()
      // The first turn only tells how it stands: a start has enough to do.
      if (this.#isFirst) this.#isFirst = false
      else if (this.#settings.everyHours > 0 && leads()) {
        // An entry that cannot be read keeps nobody from the pass, which names it.
        await this.#follow().catch((error: unknown) => onFailure(asProblem(error)))
        if (this.#isDue(await this.lastPass())) this.#beginPass(this.#settings.share)
      } else this.#follower = undefined
    } catch (error) {
      onFailure(asProblem(error))
    }
    return pollMs
  }

  #isDue(last: { readonly startedAt: Date } | undefined): boolean {
    const { now, everyHours } = this.#settings
    return last === undefined || now().getTime() - last.startedAt.getTime() >= everyHours * 3_600_000
  }

  /** The last whole comparison. Where the log cannot be asked there was none: another pass does no harm. */
  async lastPass(): Promise<PassRecord | undefined> {
    const own = this.#own
    try {
      const logged = await this.#settings.lastPass()
      return own === undefined || (logged !== undefined && logged.endedAt >= own.endedAt) ? logged : own
    } catch (error) {
      this.#settings.onFailure(asProblem(error))
      return own
    }
  }

  async #follow(): Promise<void> {
    const { followFrom, size, hidden } = this.#settings
    await this.#found(await hidden())
    this.#follower ??= followFrom((await this.lastPass())?.entries ?? (await size()))
    for (let pages = 0; pages < MOST_PAGES && !this.#loop.isStopping; pages += 1) {
      const { findings, isAll } = await this.#follower.look()
      await this.#found(findings)
      if (isAll) return
    }
  }

  async #found(findings: readonly Finding[]): Promise<void> {
    const fresh = await this.#settings.store.note(findings)
    if (fresh.length > 0) await this.#tell('system.integrity-found', {}, fresh)
  }

  async #pass(share: number): Promise<IntegrityReport> {
    this.#passing = this.#settings.check({ between: throttle(share, (progress) => this.#between(progress)) })
    try {
      const report = await this.#passing
      await this.#record(report)
      return report
    } finally {
      this.#passing = undefined
      this.#status = { ...this.#status, progress: undefined }
    }
  }

  #between(progress: CheckProgress): void {
    if (this.#loop.isStopping) throw new Stopping()
    this.#status = { ...this.#status, progress }
  }

  /** Order: what is new is noted, then told in the log, then the pass is recorded: a crash between leaves a pass that is done anew. */
  async #record({ startedAt, endedAt, entries, rows, groups, findings, findingCount }: IntegrityReport): Promise<void> {
    const { store } = this.#settings
    const fresh = await store.note(findings)
    // Of more than are listed those that are not may still be so.
    const ended = findingCount > findings.length ? 0 : await store.keepOnly(findings, startedAt)
    const seconds = Math.round((endedAt.getTime() - startedAt.getTime()) / 1000)
    await this.#tell(CHECKED, { entries, groups, rows, seconds, findings: findingCount, ended }, fresh)
    this.#own = { startedAt, endedAt, entries, rows, findings: findingCount }
    await store.recordPass(this.#own)
    await this.#readStatus()
  }

  async #tell(operation: string, facts: Readonly<Record<string, FactValue>>, fresh: readonly Finding[]): Promise<void> {
    for (const finding of fresh) this.#settings.onFound(finding)
    const named = fresh.slice(0, MOST_NAMED).map(({ code, subject, since }) => `${code}: ${subject}${since === undefined ? '' : `, since entry ${since}`}`)
    await this.#settings.log.append({
      ...{ kind: 'event', id: newOperationId(), operation, caller: INTEGRITY_CALLER },
      facts: { public: { ...facts, new: fresh.length, ...(named.length === 0 ? {} : { named }) } },
    })
    await this.#readStatus()
  }

  async #readStatus(): Promise<void> {
    const { store, now } = this.#settings
    const last = await this.lastPass()
    const openFindings = openAfter(last, await store.countOpen())
    const isSame = openFindings > 0 === this.#status.openFindings > 0
    this.#status = { ...this.#status, openFindings, lastPassAt: last?.endedAt, ...(isSame ? {} : { since: now() }) }
  }
}

/** Findings of a pass end with the next one, whatever becomes of their rows meanwhile. `noted`: those that stand in the table. */
export const openAfter = (last: PassRecord | undefined, noted: number): number => Math.max(noted, last?.findings ?? 0)

/** The service is stopping. */
class Stopping extends Error {}

/** Waits between pages, so that the work takes only its share of the time. */
function throttle(share: number, told: (progress: CheckProgress) => void): NonNullable<CheckOptions['between']> {
  let resumed = performance.now()
  return async (progress) => {
    told(progress)
    const worked = performance.now() - resumed
    await sleep(Math.min(1_000, (worked * (1 - share)) / share), undefined, { ref: false })
    told(progress)
    resumed = performance.now()
  }
}

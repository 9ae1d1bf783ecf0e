import { describe, expect, it } from 'vitest'
import type { EntryDraft } from '../audit/log.ts'
import type { IntegrityReport } from './check.ts'
import type { Finding } from './finding.ts'
import { IntegrityJob, type IntegrityJobSettings } from './integrity-job.ts'
import type { IntegrityStore, KnownFinding, PassRecord } from './integrity-store.ts'

const finding = (subject: string): Finding => ({ code: 'row-deleted', subject, detail: 'it is gone', since: 7 })

/** In memory. */
class MemoryIntegrityStore implements IntegrityStore {
  readonly findings = new Map<string, KnownFinding>()
  readonly #now: () => Date

  constructor(now: () => Date) {
    this.#now = now
  }

  readonly passes: PassRecord[] = []

  lastPass = () => Promise.resolve(this.passes.at(-1))
  recordPass = (pass: PassRecord) => Promise.resolve(void this.passes.push(pass))
  open = () => Promise.resolve([...this.findings.values()])
  countOpen = () => Promise.resolve(this.findings.size)
  note = (findings: readonly Finding[]) => {
    const fresh = findings.filter(({ subject }) => !this.findings.has(subject))
    for (const one of fresh) this.findings.set(one.subject, { ...one, foundAt: this.#now() })
    return Promise.resolve(fresh)
  }
  keepOnly = (findings: readonly Finding[], before: Date) => {
    const gone = [...this.findings.values()].filter(({ subject, foundAt }) => foundAt < before && !findings.some((one) => one.subject === subject))
    for (const { subject } of gone) this.findings.delete(subject)
    return Promise.resolve(gone.length)
  }
}

function house(parts: Partial<IntegrityJobSettings> = {}) {
  const entries: EntryDraft[] = []
  const told: Finding[] = []
  const state = {
    now: new Date('2026-11-26T08:00:00Z'),
    found: [] as Finding[],
    fresh: [] as Finding[],
    hidden: [] as Finding[],
    checks: 0,
    failures: [] as string[],
  }
  const store = new MemoryIntegrityStore(() => state.now)
  const job = new IntegrityJob({
    check: async ({ between = () => Promise.resolve() }): Promise<IntegrityReport> => {
      state.checks += 1
      await between({ part: 'log', done: 1, of: 2 })
      return { startedAt: state.now, endedAt: state.now, entries: 10, groups: 5, rows: 3, findings: state.found, findingCount: state.found.length }
    },
    followFrom: () => ({ look: () => Promise.resolve({ findings: state.fresh.splice(0), isAll: true }) }),
    size: () => Promise.resolve(10),
    lastPass: () => store.lastPass(),
    hidden: () => Promise.resolve(state.hidden),
    ...{ store, everyHours: 24, pollMs: 1, now: () => state.now, leads: () => true },
    log: { append: (entry) => Promise.resolve(void entries.push(entry)) },
    onFound: (one) => void told.push(one),
    onFailure: ({ code }) => void state.failures.push(code),
    ...parts,
  })
  return { job, store, entries, told, state }
}

async function until(is: () => boolean): Promise<void> {
  for (const end = Date.now() + 5_000; !is(); ) {
    if (Date.now() > end) throw new Error('it did not come to that')
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}
const aWhile = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 30))

describe('the comparison of the database with the log', () => {
  it('is done once in its hours, and its findings are told once', async () => {
    const { job, entries, told, state, store } = house()
    state.found = [finding('callers 1'), finding('callers 2')]
    job.start()
    await until(() => store.passes.length === 1)
    await aWhile()
    expect(state.checks).toBe(1)
    expect(entries).toHaveLength(1)
    expect(entries[0]).toMatchObject({
      kind: 'event',
      operation: 'system.integrity-checked',
      facts: {
        public: {
          entries: 10,
          rows: 3,
          findings: 2,
          new: 2,
          ended: 0,
          named: ['row-deleted: callers 1, since entry 7', 'row-deleted: callers 2, since entry 7'],
        },
      },
    })
    expect(job.status).toMatchObject({ openFindings: 2, lastPassAt: state.now, progress: undefined })

    state.now = new Date(state.now.getTime() + 24 * 3_600_000)
    state.found = [finding('callers 2')]
    await until(() => store.passes.length === 2)
    await job.stop()
    expect(entries.at(-1)?.facts?.public).toMatchObject({ findings: 1, new: 0, ended: 1 })
    expect(told.map(({ subject }) => subject)).toEqual(['callers 1', 'callers 2'])
    expect(job.status.openFindings).toBe(1)
  })

  it('tells what is wrong with rows of new entries between two of them', async () => {
    const { job, entries, state, store } = house()
    job.start()
    await until(() => store.passes.length === 1)
    state.fresh = [finding('grants 1')]
    await until(() => entries.length === 2)
    state.fresh = [finding('grants 1')]
    await aWhile()
    await job.stop()
    expect(entries).toHaveLength(2)
    expect(entries[1]).toMatchObject({ operation: 'system.integrity-found', facts: { public: { new: 1, named: ['row-deleted: grants 1, since entry 7'] } } })
  })

  it('tells between two of them what is kept from being sequenced, and once', async () => {
    const { job, entries, state, store } = house()
    job.start()
    await until(() => store.passes.length === 1)
    state.hidden = [{ code: 'group-hidden', subject: 'groups of writer 0, epoch 1', detail: 'those from sequence 3 on' }]
    await until(() => entries.length === 2)
    await aWhile()
    await job.stop()
    expect(entries).toHaveLength(2)
    expect(entries[1]).toMatchObject({
      operation: 'system.integrity-found',
      facts: { public: { new: 1, named: ['group-hidden: groups of writer 0, epoch 1'] } },
    })
  })

  it('goes on with rows of new entries during a pass, which does not end what they are found by', async () => {
    let hasBegun = false
    let endPass: () => void = () => undefined
    const isOver = new Promise<void>((resolve) => (endPass = resolve))
    const startedAt = new Date('2026-11-26T08:00:00Z')
    const { job, state, store, entries } = house({
      check: async () => {
        hasBegun = true
        await isOver
        return { startedAt, endedAt: startedAt, entries: 10, groups: 5, rows: 3, findings: [], findingCount: 0 }
      },
    })
    job.start()
    await until(() => hasBegun)
    state.now = new Date(startedAt.getTime() + 1000)
    state.fresh = [finding('grants 1')]
    await until(() => entries.length === 1)
    endPass()
    await until(() => store.passes.length === 1)
    await job.stop()
    expect(entries.map(({ operation }) => operation)).toEqual(['system.integrity-found', 'system.integrity-checked'])
    expect(job.status.openFindings).toBe(1)
  })

  it('names twenty findings in an event, and counts the others', async () => {
    const { job, entries, state, store } = house()
    state.found = Array.from({ length: 30 }, (_, at) => finding(`callers ${String(at)}`))
    job.start()
    await until(() => store.passes.length === 1)
    await job.stop()
    expect(entries[0]?.facts?.public).toMatchObject({ findings: 30, new: 30 })
    expect(entries[0]?.facts?.public?.['named']).toHaveLength(20)
  })

  it.each([
    ['that does not lead', { leads: () => false }],
    ['whose setting is 0', { everyHours: 0 }],
  ])('is not begun by a process %s, but when somebody asks', async (_claim, parts) => {
    const { job, state, store } = house(parts)
    job.start()
    await aWhile()
    expect(state.checks).toBe(0)
    expect(job.passNow()).toBe(true)
    expect(job.passNow()).toBe(false)
    await until(() => store.passes.length === 1)
    await job.stop()
    expect(state.checks).toBe(1)
  })

  it('ends unfinished, and unrecorded, when the service stops', async () => {
    const { job, entries, state, store } = house({
      check: async ({ between = () => Promise.resolve() }) => {
        for (;;) await between({ part: 'tables', done: 1, of: undefined })
      },
    })
    job.passNow()
    await until(() => job.status.progress !== undefined)
    await job.stop()
    expect([entries, store.passes, state.failures]).toEqual([[], [], []])
  })

  it('is made where the log cannot say when it was made last, and then not again', async () => {
    const { job, state, store } = house({ lastPass: () => Promise.reject(new Error('the index is not what the entries say')) })
    job.start()
    await until(() => store.passes.length === 1)
    await aWhile()
    await job.stop()
    expect(state.checks).toBe(1)
    expect(new Set(state.failures)).toEqual(new Set(['internal']))
  })

  it('has open what its last pass found, though its rows are gone', async () => {
    const { job, state, store } = house()
    state.found = [finding('callers 1')]
    job.start()
    await until(() => store.passes.length === 1)
    store.findings.clear()
    await aWhile()
    expect(job.status.openFindings).toBe(1)
    state.found = []
    state.now = new Date(state.now.getTime() + 24 * 3_600_000)
    await until(() => store.passes.length === 2 && job.status.openFindings === 0)
    await job.stop()
  })

  it('is tried again after a failure, which is told', async () => {
    let fails = 2
    const now = new Date(0)
    const report: IntegrityReport = { startedAt: now, endedAt: now, entries: 0, groups: 0, rows: 0, findings: [], findingCount: 0 }
    const { job, state, store } = house({ check: () => (fails-- > 0 ? Promise.reject(new Error('the database is away')) : Promise.resolve(report)) })
    job.start()
    await until(() => store.passes.length === 1)
    await job.stop()
    expect(state.failures).toEqual(['internal', 'internal'])
  })

  it('is made where rows of new entries cannot be looked at, which is told', async () => {
    const { job, state, store } = house({ size: () => Promise.reject(new Error('an entry cannot be read')) })
    job.start()
    await until(() => store.passes.length === 1)
    await job.stop()
    expect(new Set(state.failures)).toEqual(new Set(['internal']))
  })

  it('takes its share of the time', async () => {
    const { job, store } = house({
      check: async ({ between = () => Promise.resolve() }) => {
        const began = performance.now()
        for (let page = 0; page < 5; page += 1) {
          for (const end = performance.now() + 10; performance.now() < end; );
          await between({ part: 'log', done: page, of: 5 })
        }
        const [now, took] = [new Date(0), performance.now() - began]
        return { startedAt: now, endedAt: now, entries: 0, groups: 0, rows: Math.round(took), findings: [], findingCount: 0 }
      },
    })
    job.start()
    await until(() => store.passes.length === 1)
    await job.stop()
    expect(store.passes[0]?.rows).toBeGreaterThan(200)
  })
})

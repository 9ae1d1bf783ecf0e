import { describe, expect, it } from 'vitest'
import { Problem } from '../../core/problem.ts'
import type { ReviewJob } from './review.ts'
import { Reviewer } from './reviewer.ts'

const operations = ['kms.key.sign', 'kms.key.get'].map((name) => ({ name, effect: 'transient' as const, isRouted: true }))
const policy = (...rules: readonly string[]): string => `
policy: 2
owner: tests
zones: { plant: { networks: [10.0.0.0/8] } }
chains:
  - name: plant
    zones: [plant]
    rules:
${rules.map((line) => `      - ${line}`).join('\n')}
`
const rule = (id: string, more: string): string => `{ id: ${id}, verdict: allow, reason: a test, callers: ['module:*'], operations: [kms.key.sign]${more} }`
/** Rules whose patterns overlap in every way: which requests they leave to each other is work without end. */
const endless = policy(
  ...Array.from({ length: 3000 }, (_, at) => {
    const [a, b] = [at % 61, (at * 7) % 59]
    return rule(
      `r${String(at)}`,
      `, keyLabels: ['*${String(a)}*${String(b)}*', '${String(b)}?*${String(a)}'], where: { f${String(at % 7)}: ['${String(a)}', '${String(b)}'] }`,
    )
  }),
)
const job = (more: Partial<ReviewJob>): ReviewJob => ({ kind: 'analyse', text: policy(rule('a', '')), operations, at: Date.UTC(2026, 10, 26), ...more })

describe('a review in a process of its own', () => {
  it('finds what is of no use, and what fails', async () => {
    const text = `${policy(rule('a', ''), rule('b', ''))}tests:\n  - { name: t, ask: { caller: 'module:m', operation: kms.key.get }, expect: { verdict: allow } }\n`
    expect(await new Reviewer().review(job({ text, hits: new Map([['a', 3]]) }))).toMatchObject({
      ok: true,
      analysis: {
        rules: 2,
        tests: 1,
        failed: [{ name: 't' }],
        findings: [
          { anomaly: 'redundant', rule: 'a' },
          { anomaly: 'never-hit', rule: 'b' },
          { anomaly: 'redundant', rule: 'b', by: ['a'] },
        ],
      },
    })
  })

  it('tells what is decided otherwise', async () => {
    const reviewed = await new Reviewer().review(job({ kind: 'compare', base: policy(rule('a', ', regions: ["33"]')) }))
    expect(reviewed).toMatchObject({ ok: true, difference: { regions: [{ change: 'newly-allowed', after: { rule: 'a' } }], undecided: [] } })
  })

  it('of what is no policy tells the faults, and of which of the two', async () => {
    expect(await new Reviewer().review(job({ text: 'policy: 2\n' }))).toMatchObject({ ok: false, of: 'text', faults: [{ line: 1 }] })
    expect(await new Reviewer().review(job({ kind: 'compare', base: 'x' }))).toMatchObject({ ok: false, of: 'base' })
  })

  it.each(['analyse', 'compare'] as const)('that is work without end is stopped, and says so: %s; meanwhile the service goes on', async (kind) => {
    const began = performance.now()
    let [ticks, last, worst] = [0, began, 0]
    const timer = setInterval(() => {
      const now = performance.now()
      worst = Math.max(worst, now - last)
      last = now
      ticks += 1
    }, 5)
    const deadlineMs = 1500
    const reviewed = await new Reviewer({ deadlineMs }).review(job({ kind, text: endless, base: policy(rule('a', ", keyLabels: ['*7*']")) }))
    clearInterval(timer)
    expect(reviewed).toEqual({ ok: 'undecided', reason: 'It could not be found out within 1.5 s.' })
    expect(performance.now() - began).toBeLessThan(deadlineMs + 2000)
    expect(ticks).toBeGreaterThan(20)
    expect(worst).toBeLessThan(500)
  })

  it('comes after those that were asked for before; a sixth is told to come again', async () => {
    const reviewer = new Reviewer({ deadlineMs: 4000 })
    const order: string[] = []
    const first = reviewer.review(job({ text: endless })).then(({ ok }) => order.push(String(ok)))
    const rest = Array.from({ length: 4 }, (_, at) => reviewer.review(job({})).then(() => order.push(String(at))))
    const refused = await reviewer.review(job({})).catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(Problem)
    expect(refused).toMatchObject({ code: 'overloaded', retryAfterSeconds: 4 })
    await Promise.all([first, ...rest])
    expect(order).toEqual(['undecided', '0', '1', '2', '3'])
    expect(await reviewer.review(job({}))).toMatchObject({ ok: true })
  }, 30_000)
})

import { afterAll, beforeAll, expect, it } from 'vitest'
import { CrashSite } from './testing/crash-site.ts'
import { runKillTrials } from './testing/kill-trials.ts'

let site: CrashSite

beforeAll(async () => {
  site = await CrashSite.open()
})
afterAll(() => site.close())

it('45 kills of the service and 5 of PostgreSQL under 64 callers: what was acknowledged is in the log, once, without gap or fork', async () => {
  const report = await runKillTrials(site, { serviceKills: 45, databaseKills: 5 })
  expect(report).toMatchObject({ lost: [], doubled: [], findings: [], faults: [], open: 0, checkpoints: 50 })
  expect(report.acknowledged).toBeGreaterThan(50 * 64)
  expect(report.entries).toBeGreaterThan(report.acknowledged)
}, 600_000)

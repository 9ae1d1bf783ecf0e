import { CrashSite } from '../server/testing/crash-site.ts'
import { runKillTrials } from '../server/testing/kill-trials.ts'
import type { Options } from './options.ts'
import { type Report, result } from './report.ts'

/**
 * kill -9 of the service, and at every eleventh kill of PostgreSQL instead, while 64 callers sign and make keys. The process fails when anything acknowledged is not in
 * the log, or the log does not verify against every checkpoint that was handed out on the way.
 */
export async function benchAuditKill(say: (line: string) => void, options: Options): Promise<Report> {
  const serviceKills = options.count('kills') ?? 1000
  const site = await CrashSite.open()
  try {
    const report = await runKillTrials(site, { serviceKills, databaseKills: Math.ceil(serviceKills / 10), say })
    const wrong = [...report.findings, ...report.faults, ...report.lost.map((id) => `lost: ${id}`), ...report.doubled.map((id) => `twice: ${id}`)]
    if (wrong.length > 0 || report.open > 0) process.exitCode = 1
    return {
      bench: 'audit-kill',
      results: [
        result({ metric: 'kills of the service', value: report.serviceKills, unit: '' }),
        result({ metric: 'kills of PostgreSQL', value: report.databaseKills, unit: '' }),
        result({ metric: 'operations acknowledged', value: report.acknowledged, unit: '' }),
        result({ metric: 'acknowledged and lost', value: report.lost.length, unit: '', goal: 0, goalIs: 'at-most' }),
        result({ metric: 'in the log twice', value: report.doubled.length, unit: '', goal: 0, goalIs: 'at-most' }),
        result({ metric: 'findings of the verifier', value: report.findings.length, unit: '', goal: 0, goalIs: 'at-most' }),
        result({ metric: 'wrong answers', value: report.faults.length, unit: '', goal: 0, goalIs: 'at-most' }),
        result({ metric: 'operations left open', value: report.open, unit: '', goal: 0, goalIs: 'at-most' }),
        result({ metric: 'longest outage', value: report.longestOutageMs, unit: 'ms' }),
      ],
      notes: [
        `The log of ${report.entries} entries contains each of ${report.checkpoints} checkpoints that were handed out between kills.`,
        ...wrong.slice(0, 20),
      ],
    }
  } finally {
    await site.close()
  }
}

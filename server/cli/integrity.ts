import pino from 'pino'
import { type CheckProgress, type Finding, FINDINGS, type IntegrityReport } from '../../policies/integrity/index.ts'
import type { Config } from '../config.ts'
import { inspectService } from '../service.ts'
import { CliError } from './cli-error.ts'
import { assertDatabaseThere } from './stopped-service.ts'
import { assertReach, type ReachOptions, withClient } from './with-client.ts'

const FOUND = 1
const NOT_COMPARED = 2
const PROGRESS_EVERY_MS = 1_000

/** Prints the report. The exit code is 1 when anything was found, and 2 when nothing could be compared. */
export async function checkIntegrityCommand(config: Config, { json }: { readonly json: boolean }): Promise<void> {
  assertDatabaseThere(config, NOT_COMPARED)
  const report = await compare(config).catch((error: unknown) => {
    throw new CliError(`nothing was compared: ${error instanceof Error ? error.message : String(error)}`, NOT_COMPARED)
  })
  console.log(json ? JSON.stringify(report, undefined, 2) : describeReport(report))
  if (report.findingCount > 0) process.exitCode = FOUND
}

async function compare(config: Config): Promise<IntegrityReport> {
  const service = await inspectService(config, pino({ level: 'silent' }))
  let told = performance.now()
  try {
    return await service.integrity.check({
      between: (progress) => {
        if (performance.now() - told > PROGRESS_EVERY_MS) {
          told = performance.now()
          console.error(describeProgress(progress))
        }
        return Promise.resolve()
      },
    })
  } finally {
    await service.close()
  }
}

const describeProgress = ({ part, done, of }: CheckProgress): string =>
  of === undefined ? `${part}: ${String(done)} rows` : `${part}: ${String(done)} of ${String(of)} entries`

function describeReport({ startedAt, endedAt, entries, groups, rows, findings, findingCount }: IntegrityReport): string {
  const seconds = ((endedAt.getTime() - startedAt.getTime()) / 1000).toFixed(1)
  const compared = `${String(rows)} rows, ${String(entries)} entries of the log in ${String(groups)} groups, and the schema: compared in ${seconds} s.`
  if (findingCount === 0) return `${compared}\nThe database is what the log says.`
  const more = findingCount - findings.length
  return [
    compared,
    `The database is not what the log says: ${String(findingCount)} findings.`,
    ...findings.map(describeFinding),
    ...(more > 0 ? [`and ${String(more)} more.`] : []),
  ].join('\n')
}

const describeFinding = ({ code, subject, detail, since }: Finding): string =>
  `\n${code}: ${subject}${since === undefined ? '' : `, since entry ${String(since)}`}\n  ${detail}\n  ${FINDINGS[code]}`

export interface ShowIntegrityOptions extends ReachOptions {
  readonly json?: boolean
  readonly begin?: boolean
}

interface Shown {
  readonly lastPass?: { readonly startedAt: string; readonly endedAt: string; readonly entries: number; readonly rows: number; readonly findings: number }
  readonly running?: CheckProgress
  readonly openFindings: number
  readonly findings: readonly (Finding & { readonly foundAt: string; readonly remedy: string })[]
}

/** Prints what the service found. The exit code is 1 when something is open. */
export async function showIntegrityCommand({ begin, json, ...reach }: ShowIntegrityOptions): Promise<void> {
  assertReach(reach)
  const shown = await withClient(reach, async (client) => {
    if (begin === true) await client.post('/v1/policies/integrity/check')
    return client.get<Shown>('/v1/policies/integrity')
  })
  console.log(json === true ? JSON.stringify(shown, undefined, 2) : describeShown(shown))
  if (shown.openFindings > 0) process.exitCode = FOUND
}

const describeShown = ({ lastPass, running, openFindings, findings }: Shown): string =>
  [
    lastPass === undefined
      ? 'Nothing was compared yet.'
      : `Compared at ${lastPass.endedAt}: ${String(lastPass.rows)} rows, ${String(lastPass.entries)} entries.`,
    ...(running === undefined ? [] : [`A pass is under way: ${describeProgress(running)}.`]),
    openFindings === 0 ? 'The database is what the log says.' : `The database is not what the log says: ${String(openFindings)} findings.`,
    ...findings.map((finding) => `${describeFinding(finding)}\n  Found at ${finding.foundAt}.`),
  ].join('\n')

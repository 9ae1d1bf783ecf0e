import { createReadStream, createWriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import { request } from 'node:https'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { verifyExportedLog } from '../../clients/audit-verify.ts'
import { parseEntry } from '../../policies/audit/entry.ts'
import { parseExportLine } from '../../policies/audit/export.ts'
import { agentOf, ask } from './ask.ts'
import { CrashSite } from './crash-site.ts'
import { eventually } from './processes.ts'
import { Signers } from './signers.ts'

export interface KillTrials {
  /** kill -9 of the service, and its start anew. */
  readonly serviceKills: number
  /** kill -9 of PostgreSQL and all its processes, among them; the service lives and comes back by itself. */
  readonly databaseKills: number
  /** Callers at once: three of four sign, the others make keys. Default 64. */
  readonly callers?: number
  readonly say?: (line: string) => void
}

export interface KillReport {
  readonly serviceKills: number
  readonly databaseKills: number
  /** Operations that were answered with success. */
  readonly acknowledged: number
  /** Of them those that the log does not have as done, and those that it has more than once. */
  readonly lost: readonly string[]
  readonly doubled: readonly string[]
  /** What the offline verifier found: gaps, forks against each checkpoint that was handed out between two kills, entries out of order. */
  readonly findings: readonly string[]
  /** Answers that should not be: wrong signatures, problems other than 503. */
  readonly faults: readonly string[]
  readonly entries: number
  /** Checkpoints from between two kills that the log at the end was held against. */
  readonly checkpoints: number
  /** Operations that were cut off and not closed in the end. */
  readonly open: number
  /** From a kill until 64 answers of success had come after it. */
  readonly longestOutageMs: number
}

/** At least so many answers between two kills. */
const ANSWERS = 64
/** A kill comes at random within so long after them. */
const SPREAD_MS = 200

/**
 * Kills while callers sign and make keys, and holds the whole log at the end against what was acknowledged and against every checkpoint that was handed out on
 * the way. The site is closed in any case.
 */
export async function runKillTrials(site: CrashSite, { serviceKills, databaseKills, callers = 64, say = () => undefined }: KillTrials): Promise<KillReport> {
  const { keyId } = await site.module.client.post<{ keyId: string }>('/v1/kms/keys', { label: 'readings', algorithm: 'ec-p256' })
  const signers = await Signers.start({
    ...{ module: site.module, url: site.service.url, trust: site.trust, keyId },
    ...{ connections: callers, makers: Math.floor(callers / 4) },
  })
  const known: string[] = []
  const kills = serviceKills + databaseKills
  const answers = async (): Promise<void> => {
    const before = signers.acknowledged.length
    await eventually('answers', () => (signers.acknowledged.length > before + ANSWERS ? true : undefined), { everyMs: 5, timeoutMs: 60_000 })
  }
  let longestOutageMs = 0
  try {
    await answers()
    for (let kill = 1; kill <= kills; kill += 1) {
      known.push((await site.auditor.client.get<{ note: string }>('/v1/policies/audit/checkpoint')).note)
      await sleep(Math.random() * SPREAD_MS)
      const killedAt = performance.now()
      // Spread evenly: the database's turn is where its share of the kills until now passes a whole number.
      if (Math.floor((kill * databaseKills) / kills) > Math.floor(((kill - 1) * databaseKills) / kills)) site.killDatabase()
      else {
        await site.kill()
        await site.start()
        signers.moveTo(site.service.url)
      }
      await answers()
      longestOutageMs = Math.max(longestOutageMs, performance.now() - killedAt)
      if (kill % 10 === 0) say(`${kill} of ${kills} kills, ${signers.acknowledged.length} operations acknowledged`)
    }
  } finally {
    await signers.stop()
  }
  const problems = [...signers.problems].flatMap(([code, times]) => (code.startsWith('503 ') ? [] : [`${times} times ${code}`]))
  const log = await finalLog(site, { known, acknowledged: signers.acknowledged })
  return {
    ...{ serviceKills, databaseKills, acknowledged: signers.acknowledged.length, checkpoints: known.length, longestOutageMs },
    ...{ ...log, faults: [...signers.faults, ...problems] },
  }
}

/** The log with everything that was acknowledged, when nothing of it is open any more. */
async function finalLog(
  site: CrashSite,
  { known, acknowledged }: { readonly known: readonly string[]; readonly acknowledged: readonly string[] },
): Promise<Pick<KillReport, 'lost' | 'doubled' | 'findings' | 'entries' | 'open'>> {
  const path = join(site.folder, 'killed.ndjson')
  const report = await eventually(
    'what was cut off to be closed',
    async () => {
      await download(site, path)
      const verified = await verifyExportedLog({ path, vkey: site.vkey, known })
      return verified.openIntents.length === 0 ? verified : undefined
    },
    { timeoutMs: 120_000, everyMs: 2_000 },
  )
  const done = new Map<string, number>()
  for await (const line of createInterface({ input: createReadStream(path) })) {
    const parsed = parseExportLine(line)
    if (parsed?.kind !== 'entry') continue
    const { kind, code, id } = parseEntry(parsed.bytes)
    if (kind === 'outcome' && code === 'ok') done.set(id, (done.get(id) ?? 0) + 1)
  }
  await rm(path)
  return {
    lost: acknowledged.filter((id) => !done.has(id)),
    doubled: [...done].flatMap(([id, times]) => (times > 1 ? [id] : [])),
    findings: report.findings.map(({ code, detail }) => `${code}: ${detail}`),
    entries: report.size,
    open: report.openIntents.length,
  }
}

/** The export over a checkpoint that covers all that was acknowledged before, to a file. */
async function download(site: CrashSite, path: string): Promise<void> {
  const { url } = site.service
  const agent = agentOf({ url, trust: site.trust, certificate: site.auditor.certificate, key: site.auditor.key })
  try {
    const mark = await ask(agent, { url: `${url}/v1/policies/audit/checkpoint` })
    await eventually('a checkpoint over everything acknowledged', async () => {
      const { status } = await ask(agent, { url: `${url}/v1/policies/audit/operations/${mark.operationId}/proof` })
      return status === 200 ? true : undefined
    })
    await new Promise<void>((resolve, reject) => {
      request(`${url}/v1/policies/audit/export`, { agent }, (response) => {
        pipeline(response, createWriteStream(path)).then(resolve, reject)
      })
        .on('error', reject)
        .end()
    })
  } finally {
    agent.destroy()
  }
}

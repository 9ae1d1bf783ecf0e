import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { agentOf, type Asked, ask } from './testing/ask.ts'
import { CrashSite } from './testing/crash-site.ts'
import { readiness, WELL } from './testing/health.ts'
import { eventually } from './testing/processes.ts'
import { SmallDisk } from './testing/small-disk.ts'

/** PostgreSQL's data and the data folder, each on a small file system of its own that is filled to the last block. */

const probe = mkdtempSync(join(tmpdir(), 'gridseal-disk-'))
const obstacle = SmallDisk.obstacle(probe)
rmSync(probe, { recursive: true })

/** How soon all must be well again once there is room. */
const RECOVERY_MS = 30_000
const CALLERS = 8

let site: CrashSite
let data: SmallDisk
let database: SmallDisk
let agent: ReturnType<typeof agentOf>
let keyId: string
let keys = 0
/** What was answered 2xx, in all tests. */
const acknowledged: string[] = []

beforeAll(async () => {
  if (obstacle !== undefined) return
  site = new CrashSite({ GRIDSEAL_DISK_FREE_MIB: '8', GRIDSEAL_ALARM_SECONDS: '2' })
  data = SmallDisk.at(site.data, 64)
  database = SmallDisk.at(join(site.data, 'postgres'), 320)
  await site.start()
  await site.enrolEverybody()
  keyId = (await site.module.client.post<{ keyId: string }>('/v1/kms/keys', { label: 'readings', algorithm: 'ec-p256' })).keyId
  agent = agentOf({ url: site.service.url, trust: site.trust, certificate: site.module.certificate, key: site.module.key }, { maxSockets: CALLERS })
})
afterAll(async () => {
  if (obstacle !== undefined) return
  agent.destroy()
  await site.service.stop()
  database.unmount()
  data.unmount()
  await site.close()
})

const sign = (): Promise<Asked> => ask(agent, { url: `${site.service.url}/v1/kms/keys/${keyId}/sign`, method: 'POST', body: { items: [{ message: 'YQ==' }] } })
const generate = (): Promise<Asked> =>
  ask(agent, { url: `${site.service.url}/v1/kms/keys`, method: 'POST', body: { label: `more-${String((keys += 1))}`, algorithm: 'hmac-sha256' } })

/** Callers that sign and make keys, one request after another, until `isEnough` of an answer. Each answer is one of the two that there may be. */
async function call(isEnough: (reply: Asked) => boolean, timeoutMs: number): Promise<readonly number[]> {
  const statuses: number[] = []
  const deadline = performance.now() + timeoutMs
  let isOver = false
  const caller = async (at: number): Promise<void> => {
    for (let turn = at; !isOver; turn += 1) {
      if (performance.now() > deadline) throw new Error(`not within ${String(timeoutMs)} ms; answered ${statuses.slice(-20).join(' ')}`)
      const reply = await (turn % 4 === 0 ? generate() : sign())
      statuses.push(reply.status)
      if (reply.status === 503) {
        const { type } = JSON.parse(reply.body.toString('utf8')) as { type: string }
        expect([reply.retryAfter, type]).toEqual(['2', expect.stringMatching(/^\/problems\/(database|log)-unavailable$/)])
      } else expect([200, 201], reply.body.toString('utf8')).toContain(reply.status)
      if (reply.status < 300) acknowledged.push(reply.operationId)
      isOver ||= isEnough(reply)
    }
  }
  await Promise.all(Array.from({ length: CALLERS }, (_, at) => caller(at)))
  return statuses
}

const isAnswered = ({ status }: Asked): boolean => status < 300
const isRefused = ({ status }: Asked): boolean => status === 503

/** The same process is whole again by itself, no operation stays open, and the log has all that was acknowledged. */
async function recovers(pid: number): Promise<void> {
  const began = performance.now()
  await call(isAnswered, RECOVERY_MS)
  await eventually('health', async () => ((await readiness(site.service.plainUrl))['status'] === 200 ? true : undefined), { timeoutMs: RECOVERY_MS })
  expect(performance.now() - began).toBeLessThan(RECOVERY_MS)
  expect(await readiness(site.service.plainUrl)).toEqual(WELL)
  expect({ pid: site.service.pid, exit: site.service.process.exitCode }).toEqual({ pid, exit: null })
  const owner = await site.owner()
  await eventually('no open operation', async () => ((await owner.query('SELECT FROM open_intents')).rowCount === 0 ? true : undefined), {
    timeoutMs: RECOVERY_MS,
  })
  await owner.end()
  const { report, entries } = await site.log()
  expect(report).toMatchObject({ ok: true, openIntents: [] })
  const logged = new Set(entries.flatMap(({ kind, id }) => (kind === 'outcome' ? [id as string] : [])))
  expect(acknowledged.filter((id) => !logged.has(id))).toEqual([])
  expect(acknowledged.length).toBeGreaterThan(0)
}

const alarms = async (): Promise<string[]> => {
  const { alarms: active } = (await (await fetch(`${site.service.plainUrl}/healthz`)).json()) as { alarms: { kind: string }[] }
  return active.map(({ kind }) => kind)
}

describe.skipIf(obstacle !== undefined)(`no room is left${obstacle === undefined ? '' : ` (not tried: ${obstacle})`}`, () => {
  it('for PostgreSQL’s tables: 503, nothing acknowledged is lost, and it goes on once there is room', async () => {
    const { pid } = site.service
    await call(isAnswered, 10_000)
    database.fill()
    try {
      expect(await call(isRefused, 60_000)).toContain(503)
    } finally {
      database.empty()
    }
    await recovers(pid)
  })

  it('for PostgreSQL’s write-ahead log: its server ends, 503; it is started again until it can, and goes on', async () => {
    const { pid } = site.service
    database.fill()
    const admin = await site.admin()
    try {
      // The segments that are there are used up, and no new one can be made: a PANIC.
      const used = (async () => {
        for (;;) await admin.query(`SELECT pg_logical_emit_message(false, 'full', repeat('x', 4000000))`)
      })()
      await expect(used).rejects.toThrow(/terminat|No space/i)
      await eventually('503', async () => (isRefused(await sign()) ? true : undefined))
      await eventually('away', async () => ((await readiness(site.service.plainUrl))['database'] === 'away' ? true : undefined))
      expect((await sign()).status).toBe(503)
    } finally {
      await admin.end().catch(() => undefined)
      database.empty()
    }
    await recovers(pid)
  })

  it('for the checkpoint: callers notice nothing, an alarm says so, and the file is written once there is room', async () => {
    const { pid } = site.service
    const file = join(site.data, 'checkpoint')
    data.fill()
    let kept = ''
    try {
      // What had been signed before it was full may still be written.
      await call(isAnswered, 10_000)
      await eventually('the alarm', async () => ((await alarms()).includes('disk-nearly-full') ? true : undefined))
      kept = readFileSync(file, 'utf8')
      for (let at = 0; at < 3; at += 1) expect(await call(isAnswered, 10_000)).not.toContain(503)
      expect((await site.log()).report).toMatchObject({ ok: true })
      expect(readFileSync(file, 'utf8')).toBe(kept)
    } finally {
      data.empty()
    }
    await recovers(pid)
    await eventually('a checkpoint on disk', () => (readFileSync(file, 'utf8') === kept ? undefined : true))
    await eventually('the end of the alarm', async () => ((await alarms()).length === 0 ? true : undefined))
    const entries = (await site.log()).entries.filter(({ operation }) => operation.startsWith('alarm.'))
    expect(entries.map(({ operation, facts }) => `${operation} ${String(facts?.['alarmKind'])}`)).toEqual(
      expect.arrayContaining(['alarm.raised disk-nearly-full', 'alarm.cleared disk-nearly-full']),
    )
  })

  it('and after a restart all of it is there', async () => {
    await site.service.stop()
    await site.start()
    const { report, entries } = await site.log()
    expect(report.ok).toBe(true)
    const logged = new Set(entries.map(({ id }) => id as string))
    expect(acknowledged.filter((id) => !logged.has(id))).toEqual([])
  })
})

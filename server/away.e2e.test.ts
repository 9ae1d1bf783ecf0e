import { renameSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { serverPid } from './postgres/postmaster-file.ts'
import { EdgeSite, JSON_TYPE, problemOf, type Reply, type Wanted } from './testing/edge-site.ts'
import { readiness, WELL } from './testing/health.ts'
import { descendantsOf, eventually, killNow } from './testing/processes.ts'

/** How soon a part that is gone is told of, and how soon one that is back is used. */
const SECONDS_MS = 5000

let site: EdgeSite
let sign: Wanted
beforeAll(async () => {
  site = await EdgeSite.open()
  const { keyId } = await site.module.client.post<{ keyId: string }>('/v1/kms/keys', { label: 'readings', algorithm: 'ec-p256' })
  sign = { method: 'POST', path: `/v1/kms/keys/${keyId}/sign`, headers: JSON_TYPE, body: '{"items":[{"message":"YQ=="}]}' }
})
afterAll(() => site.close())

const health = (): Promise<Readonly<Record<string, unknown>>> => readiness(site.service.plainUrl)

/** Every answer, with how long it took, until `isEnough`. */
async function askUntil(
  what: string,
  isEnough: (reply: Reply) => boolean,
  timeoutMs = SECONDS_MS,
): Promise<readonly { readonly reply: Reply; readonly tookMs: number }[]> {
  const answers: { reply: Reply; tookMs: number }[] = []
  await eventually(
    what,
    async () => {
      const began = performance.now()
      const reply = await site.ask(site.module, sign)
      answers.push({ reply, tookMs: performance.now() - began })
      return isEnough(reply) ? true : undefined
    },
    { timeoutMs },
  )
  return answers
}

function expectUnavailable(reply: Reply, codes: readonly string[]): void {
  const told = problemOf(reply)
  expect({ status: reply.status, retry: reply.headers['retry-after'] }).toEqual({ status: 503, retry: '2' })
  expect(codes).toContain(told.code)
  expect(told.detail).toMatch(/again in/)
}

/** The service is the same process, whole again, and its log too. */
async function recovers(pid: number): Promise<void> {
  await askUntil('a signature again', ({ status }) => status === 200, 2 * SECONDS_MS)
  expect(await eventually('health', async () => (await health())['status'] === 200 || undefined)).toBe(true)
  expect(await health()).toEqual(WELL)
  expect({ pid: site.service.pid, exit: site.service.process.exitCode }).toEqual({ pid, exit: null })
  await site.crash.approve(await site.crash.submit(site.crash.newOrder(3)))
  expect((await site.crash.log()).report).toMatchObject({ ok: true })
  expect((await site.tables()).get('open_intents')).toMatch(/^0 /)
}

describe('the token is away', () => {
  it('503 within seconds and nothing begun; put back, it is used again without a restart', async () => {
    const { pid } = site.service
    const folder = join(site.crash.data, 'token')
    expect(await health()).toEqual(WELL)
    renameSync(folder, `${folder}.away`)
    killNow(site.crash.lanes)
    const answers = await askUntil('503', ({ status }) => status === 503)
    expectUnavailable(answers.at(-1)?.reply as Reply, ['hsm-unavailable'])

    await site.changesNothing(async () => {
      const order = JSON.stringify({
        profile: 'grid-usim-1',
        transportKeyId: site.vendor.transportKeyId,
        start: { iccid: '89860012345678901238', imsi: '460001234567890' },
        quantity: 20,
      })
      const wanted: readonly (readonly [typeof site.module, Wanted])[] = [
        [site.module, sign],
        [site.module, { path: '/v1/kms/keys' }],
        [site.module, { method: 'POST', path: '/v1/kms/keys', headers: JSON_TYPE, body: '{"label":"away","algorithm":"ec-p256"}' }],
        [site.vendor, { method: 'POST', path: '/v1/card-personalization/orders', headers: JSON_TYPE, body: order }],
        [site.alice, { method: 'POST', path: '/v1/policies/callers', headers: JSON_TYPE, body: '{"kind":"module","name":"late"}' }],
        [site.alice, { method: 'POST', path: `/v1/card-personalization/vendors/${site.vendor.vendorId}/transport-keys`, headers: JSON_TYPE, body: '{}' }],
        [site.auditor, { path: '/v1/policies/audit/entries' }],
        [site.module, { method: 'POST', path: '/v1/policies/callers', headers: JSON_TYPE, body: '{"kind":"module","name":"forbidden"}' }],
      ]
      for (const [who, one] of wanted) {
        const began = performance.now()
        const reply = await site.ask(who, one)
        expect(reply.status, one.path).toBe(503)
        expectUnavailable(reply, ['hsm-unavailable', 'log-unavailable'])
        expect(performance.now() - began, one.path).toBeLessThan(2000)
      }
    })
    expect(await health()).toEqual({ ...WELL, status: 503, token: 'away' })
    renameSync(`${folder}.away`, folder)
    await recovers(pid)
  })

  it('without a lane being killed: the lanes see it themselves', async () => {
    const { pid } = site.service
    const folder = join(site.crash.data, 'token')
    renameSync(folder, `${folder}.away`)
    const answers = await askUntil('503', ({ status }) => status === 503)
    expectUnavailable(answers.at(-1)?.reply as Reply, ['hsm-unavailable'])
    for (const { reply } of answers) expect([200, 503]).toContain(reply.status)
    renameSync(`${folder}.away`, folder)
    await recovers(pid)
  })
})

/** To all that are still there. */
function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
}

describe('the database is away', () => {
  const cluster = (): string => join(site.crash.data, 'postgres/cluster')
  const processes = (): number[] => {
    const server = serverPid(cluster()) ?? 0
    return [server, ...descendantsOf(server)]
  }

  it('killed: 503 at most, and it is started again by itself', async () => {
    const { pid } = site.service
    const before = processes()
    site.crash.killDatabase()
    for (const { reply, tookMs } of await askUntil('a signature again', ({ status }) => status === 200, 4 * SECONDS_MS)) {
      if (reply.status !== 200) expectUnavailable(reply, ['database-unavailable', 'log-unavailable'])
      expect(tookMs).toBeLessThan(12_000)
    }
    expect(processes()).not.toEqual(before)
    await recovers(pid)
  })

  it('stopped, its connections open and mute: 503 in bounded time; then it goes on', async () => {
    const { pid } = site.service
    const stopped = processes()
    try {
      signal(stopped, 'SIGSTOP')
      const began = performance.now()
      const replies = await Promise.all([
        site.ask(site.module, sign, 60_000),
        site.ask(site.module, { path: '/v1/kms/keys' }, 60_000),
        site.ask(site.auditor, { path: '/v1/policies/audit/checkpoint' }, 60_000),
      ])
      for (const reply of replies) expectUnavailable(reply, ['database-unavailable', 'log-unavailable'])
      expect(performance.now() - began).toBeLessThan(25_000)
      // The lease of 5 s is over by now: who asks from then on does not wait.
      const asked = performance.now()
      expectUnavailable(await site.ask(site.module, sign, 60_000), ['database-unavailable'])
      expect(performance.now() - asked).toBeLessThan(1_000)
      expect(await eventually('readyz', async () => ((await health())['database'] === 'away' ? health() : undefined))).toEqual({
        ...{ ...WELL, status: 503, database: 'away' },
      })
    } finally {
      signal(stopped, 'SIGCONT')
    }
    await recovers(pid)
  })
})

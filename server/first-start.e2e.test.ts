import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ApiClient } from '../clients/api.ts'
import { makeTlsRequest, type TlsRequest } from '../clients/csr.ts'
import { programArguments } from '../clients/site.ts'
import { CrashSite } from './testing/crash-site.ts'
import { readiness, WELL } from './testing/health.ts'
import { descendantsOf, killNow } from './testing/processes.ts'

describe('kill -9 during the very first start: the next one goes on', () => {
  /** From the first folder made to the first listener bound, in ms; each round is somewhere in its part. */
  const rounds = [
    { from: 200, to: 900, all: false, isLast: false },
    { from: 900, to: 1_600, all: true, isLast: false },
    { from: 1_600, to: 2_300, all: false, isLast: false },
    { from: 2_300, to: 3_000, all: true, isLast: false },
    { from: 3_000, to: 4_500, all: false, isLast: true },
  ]
  it.each(rounds)('between $from and $to ms, its children too: $all', async ({ from, to, all, isLast }) => {
    const site = new CrashSite()
    try {
      const afterMs = Math.round(from + Math.random() * (to - from))
      const { env } = site.settings()
      const child = spawn(process.execPath, [...programArguments(), 'serve'], {
        env: { ...process.env, ...env, GRIDSEAL_DATA: site.data, GRIDSEAL_TLS_PORT: '0', GRIDSEAL_PLAIN_PORT: '0' },
        stdio: 'ignore',
      })
      const ended = once(child, 'exit')
      await sleep(afterMs)
      killNow([...(all ? descendantsOf(child.pid ?? 0) : []), child.pid ?? 0])
      await ended

      await site.start().catch((error: unknown) => {
        throw new Error(`killed after ${String(afterMs)} ms`, { cause: error })
      })
      expect(await readiness(site.service.plainUrl)).toEqual(WELL)
      if (!isLast) return
      await site.enrolEverybody()
      expect((await site.log()).report).toMatchObject({ ok: true, findings: [] })
    } finally {
      await site.close()
    }
  })
})

describe('kill -9 of gridseal init: the same command goes on', () => {
  const site = new CrashSite()
  const out = join(site.folder, 'officers')
  const requests = new Map<string, TlsRequest>()

  beforeAll(async () => {
    await site.start()
    mkdirSync(out)
    for (const name of ['alice', 'bob', 'other']) requests.set(name, await request(name))
  })
  afterAll(() => site.close())

  async function request(name: string): Promise<TlsRequest> {
    const made = await makeTlsRequest(name)
    writeFileSync(join(out, `${name}.csr.pem`), made.csr)
    return made
  }

  const init = (files: Readonly<Record<'alice' | 'bob', string>>, crashAt = ''): Promise<unknown> => {
    const officers = Object.entries(files).flatMap(([name, file]) => ['--officer', `${name}=${join(out, `${file}.csr.pem`)}`])
    const env = { ...process.env, GRIDSEAL_DATA: site.data, GRIDSEAL_INSECURE_CRASH_AT: crashAt }
    return promisify(execFile)(process.execPath, [...programArguments(), 'init', ...officers, '--out', out], { env })
  }
  const own = { alice: 'alice', bob: 'bob' } as const

  // Each goes a step further than the one before.
  it.each([
    'gate.executed@policies.bootstrap.enrol',
    'gate.outcome-written@policies.bootstrap.enrol',
    'gate.outcome-committed@policies.bootstrap.enrol',
    'gate.executed@kms.certificate.issue',
    'gate.outcome-committed@kms.certificate.issue',
    'gate.intent-committed@kms.certificate.issue',
    'gate.outcome-committed@kms.certificate.issue',
  ])('at %s', async (point) => {
    await expect(init(own, point)).rejects.toMatchObject({ signal: 'SIGKILL' })
  })

  it('and then it finishes, as often as it is asked', async () => {
    for (const _again of [1, 2]) {
      await init(own)
      for (const name of ['alice', 'bob'] as const) {
        const connection = {
          url: site.service.url,
          trust: readFileSync(join(out, 'root.pem'), 'utf8'),
          certificate: readFileSync(join(out, `${name}.pem`), 'utf8'),
          key: requests.get(name)?.privateKey ?? '',
        }
        const client = new ApiClient(connection)
        const { callers } = await client.get<{ callers: { name: string }[] }>('/v1/policies/callers')
        expect(callers.map((caller) => caller.name)).toEqual(['alice', 'bob'])
        client.close()
      }
    }
  })

  it('but with no request of anybody else', async () => {
    await expect(init({ alice: 'other', bob: 'bob' })).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/alice has a certificate of another request already/) as string,
    })
  })
})

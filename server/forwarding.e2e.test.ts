import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { canRun } from '../core/testing/tools.ts'
import { makePki, type Pki, RECEIVER_NAME } from '../policies/audit/forwarding/testing/syslog-receiver.ts'
import { parseExportLine } from '../policies/audit/export.ts'
import { CrashSite } from './testing/crash-site.ts'
import { eventually } from './testing/processes.ts'

/** rsyslog as a receiver over TLS. It stores each message before it reads on: what it has read when it ends a connection is in the file. */
class Rsyslog {
  readonly #folder: string
  readonly #port: number
  #process: ChildProcess | undefined

  constructor(folder: string, port: number, { certificate, key, ca }: Pki) {
    this.#folder = folder
    this.#port = port
    writeFileSync(
      join(folder, 'rsyslog.conf'),
      `
      global(workDirectory="${folder}" maxMessageSize="128k" defaultNetstreamDriverCAFile="${ca}" defaultNetstreamDriverCertFile="${certificate}" defaultNetstreamDriverKeyFile="${key}")
      module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
      template(name="whole" type="string" string="%pri% %structured-data%%msg%\\n")
      ruleset(name="store" queue.type="Direct") { action(type="omfile" file="${join(folder, 'log')}" template="whole" asyncWriting="off" flushOnTXEnd="on") }
      input(type="imtcp" address="127.0.0.1" port="${port}" ruleset="store")
      `,
    )
  }

  async start(): Promise<void> {
    this.#process = spawn('rsyslogd', ['-n', '-f', join(this.#folder, 'rsyslog.conf'), '-i', join(this.#folder, 'pid')], { stdio: 'ignore' })
    await eventually('rsyslog listens', async () => {
      const socket = connect(this.#port, '127.0.0.1')
      const isOpen = await Promise.race([once(socket, 'connect').then(() => true), once(socket, 'error').then(() => false)]).catch(() => false)
      socket.destroy()
      return isOpen ? true : undefined
    })
  }

  async kill(): Promise<void> {
    const ended = once(this.#process as ChildProcess, 'exit')
    this.#process?.kill('SIGKILL')
    await ended
  }

  /** Whole lines: the index that each bears, and its message. */
  get stored(): { readonly index: number; readonly message: string }[] {
    const path = join(this.#folder, 'log')
    if (!existsSync(path)) return []
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1)
    return lines.flatMap((line) => {
      const [, index, message] = /^\d+ \[gridseal@32473 index="(\d+)" [^\]]*\] ?(.*)$/.exec(line) ?? []
      return index === undefined || message === undefined ? [] : [{ index: Number(index), message }]
    })
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

describe.runIf(canRun('rsyslogd'))('the log is forwarded to rsyslog over TLS', () => {
  let site: CrashSite
  let rsyslog: Rsyslog
  const folder = mkdtempSync(join(tmpdir(), 'gridseal-rsyslog-'))

  beforeAll(async () => {
    const port = await freePort()
    const pki = makePki(folder, 'siem')
    rsyslog = new Rsyslog(folder, port, pki)
    await rsyslog.start()
    site = await CrashSite.open({ GRIDSEAL_SYSLOG: `syslog+tls://127.0.0.1:${String(port)}?name=siem&server-name=${RECEIVER_NAME}&ca=${pki.ca}` })
  })
  afterAll(async () => {
    await rsyslog.kill()
    await site.close()
    rmSync(folder, { recursive: true, force: true })
  })

  it('is whole there, byte for byte, though receiver and service are killed again and again', async () => {
    const ending = new AbortController()
    const { keyId } = await site.module.client.post<{ keyId: string }>('/v1/kms/keys', { label: 'forwarded', algorithm: 'hmac-sha256' })
    let acknowledged = 0
    const asking = Array.from({ length: 4 }, async () => {
      while (!ending.signal.aborted) {
        await site.module.client.get(`/v1/kms/keys/${keyId}`).then(
          () => (acknowledged += 1),
          () => new Promise((resolve) => setTimeout(resolve, 20)),
        )
      }
    })
    const grown = (): Promise<unknown> => {
      const before = rsyslog.stored.length
      return eventually('more is stored', () => (rsyslog.stored.length > before ? true : undefined), { timeoutMs: 60_000, everyMs: 1 })
    }
    // Each kill is in the middle of a batch of hundreds: what waited while the receiver was away.
    for (const killed of ['receiver', 'service'] as const) {
      await rsyslog.kill()
      const before = acknowledged
      await eventually('a backlog', () => (acknowledged > before + 300 ? true : undefined), { timeoutMs: 60_000 })
      await rsyslog.start()
      await grown()
      if (killed === 'receiver') {
        await rsyslog.kill()
        await rsyslog.start()
      } else {
        await site.kill()
        await site.start()
      }
      await grown()
    }
    ending.abort()
    await Promise.all(asking)
    expect(acknowledged).toBeGreaterThan(100)

    const exported = (await site.auditor.client.download('/v1/policies/audit/export')).toString('utf8').trimEnd().split('\n').map(parseExportLine)
    const entries = exported.flatMap((line) => (line?.kind === 'entry' ? [Buffer.from(line.bytes).toString('utf8')] : []))
    await eventually('all of it is stored', () => (new Set(rsyslog.stored.map(({ index }) => index)).size >= entries.length ? true : undefined), {
      timeoutMs: 90_000,
    })
    const { stored } = rsyslog
    const byIndex = new Map<number, string>()
    for (const { index, message } of stored) {
      expect(byIndex.get(index) ?? message, `doubles of ${String(index)} are the same`).toBe(message)
      byIndex.set(index, message)
    }
    expect(entries.map((_, index) => byIndex.get(index))).toEqual(entries)
  })

  it('tells its lag in health and metrics, and works on while the receiver is away', async () => {
    const metric = async (name: string): Promise<number> =>
      Number(
        new RegExp(`^gridseal_forwarding_${name}\\{receiver="siem"\\} (\\S+)$`, 'm').exec(await (await fetch(`${site.service.plainUrl}/metrics`)).text())?.[1],
      )
    await eventually('nothing lags', async () => ((await metric('lag')) === 0 && (await metric('failing')) === 0 ? true : undefined), { timeoutMs: 90_000 })
    await rsyslog.kill()
    await site.module.client.post('/v1/kms/keys', { label: 'lagging', algorithm: 'hmac-sha256' })
    await eventually('it lags', async () => ((await metric('lag')) > 0 && (await metric('failing')) === 1 ? true : undefined))
    const health = await fetch(`${site.service.plainUrl}/readyz`)
    expect(health.status).toBe(200)
    expect(((await health.json()) as Record<string, { state: string }>)['forwarding siem']?.state).toBe('degraded')
    await rsyslog.start()
    await eventually('nothing lags', async () => ((await metric('lag')) === 0 ? true : undefined), { timeoutMs: 90_000 })
    expect(site.said.some((line) => line.includes('forwarding of the audit log changed') && line.includes('ECONNREFUSED'))).toBe(true)
    expect(Date.now() / 1000 - (await metric('up_to_seconds'))).toBeLessThan(60)
  })
})

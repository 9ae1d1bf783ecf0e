import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { verifyExportedLog } from '../clients/audit-verify.ts'
import { programArguments } from '../clients/site.ts'
import { canRun } from '../core/testing/tools.ts'
import { makePki, type Pki, RECEIVER_NAME } from '../policies/audit/forwarding/testing/syslog-receiver.ts'
import { parseExportLine } from '../policies/audit/export.ts'
import { agentOf, ask } from './testing/ask.ts'
import { CrashSite } from './testing/crash-site.ts'
import { eventually } from './testing/processes.ts'

const run = promisify(execFile)

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

const hasRsyslog = canRun('rsyslogd')

describe('the log goes to others', () => {
  let site: CrashSite
  let rsyslog: Rsyslog
  const folder = mkdtempSync(join(tmpdir(), 'gridseal-rsyslog-'))

  beforeAll(async () => {
    const port = await freePort()
    const pki = makePki(folder, 'siem')
    rsyslog = new Rsyslog(folder, port, pki)
    if (hasRsyslog) await rsyslog.start()
    site = await CrashSite.open({ GRIDSEAL_SYSLOG: `syslog+tls://127.0.0.1:${String(port)}?name=siem&server-name=${RECEIVER_NAME}&ca=${pki.ca}` })
  })
  afterAll(async () => {
    if (hasRsyslog) await rsyslog.kill()
    await site.close()
    rmSync(folder, { recursive: true, force: true })
  })

  it.runIf(hasRsyslog)('to rsyslog over TLS: it is whole there, byte for byte, though receiver and service are killed again and again', async () => {
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

  it.runIf(hasRsyslog)('to rsyslog, or it tells its lag in health and metrics, and works on while the receiver is away', async () => {
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

  it('to who asks, as files of the command line, and as evidence that is verified with two keys', async () => {
    const { name, certificate, key } = site.auditor
    const files = { certificate: join(folder, `${name}.pem`), key: join(folder, `${name}.key.pem`), trust: join(folder, 'root.pem') }
    writeFileSync(files.certificate, certificate)
    writeFileSync(files.key, key, { mode: 0o600 })
    writeFileSync(files.trust, site.trust)
    const gridseal = (...words: readonly string[]): Promise<{ readonly code: number; readonly out: string }> =>
      run(process.execPath, [...programArguments(), 'audit', ...words]).then(
        ({ stdout }) => ({ code: 0, out: stdout }),
        (error: { code: number; stdout: string; stderr: string }) => ({ code: error.code, out: error.stdout + error.stderr }),
      )
    const as = ['--url', site.service.url, '--certificate', files.certificate, '--key', files.key, '--trust', files.trust]

    const made = await ask(agentOf({ url: site.service.url, trust: site.trust, certificate: site.module.certificate, key: site.module.key }), {
      ...{ url: `${site.service.url}/v1/kms/keys`, method: 'POST', body: { label: 'proven', algorithm: 'hmac-sha256' } },
    })
    const pack = join(folder, 'evidence.json')
    await eventually('the operation is signed', async () =>
      (await gridseal('evidence', '--operation', made.operationId, '--out', pack, ...as)).code === 0 ? true : undefined,
    )
    const verifying = ['--key', site.vkey, '--trust', files.trust]
    const verified = await gridseal('verify-evidence', pack, ...verifying)
    expect(verified).toMatchObject({ code: 0 })
    expect(verified.out).toMatch(/^VERIFIED: 2 entries of gridseal\.example\/audit\/1/)
    expect(verified.out).toMatch(
      /outcome of kms\.key\.generate \(ok\) by module billing, decided by \S+ of [0-9a-f]{16}\n {2}policy [0-9a-f]{16}: its text is in the pack/,
    )
    writeFileSync(`${pack}.changed`, readFileSync(pack, 'utf8').replace('billing', 'billinq'))
    expect(await gridseal('verify-evidence', `${pack}.changed`, ...verifying)).toMatchObject({ code: 1 })

    const csv = join(folder, 'log.csv')
    expect(await gridseal('export', '--format', 'csv', '--out', csv, '--to', '20', ...as)).toMatchObject({ code: 0 })
    expect(readFileSync(csv, 'utf8').split('\r\n')).toHaveLength(22)
    const ocsf = join(folder, 'log.ocsf')
    expect(await gridseal('export', '--format', 'ocsf', '--out', ocsf, '--since', '2020-01-01T00:00:00Z', ...as)).toMatchObject({ code: 0 })
    const classes = new Set(
      readFileSync(ocsf, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { class_uid: number }).class_uid),
    )
    expect([...classes]).toEqual(expect.arrayContaining([3004, 3007, 6002, 6003]))
    const whole = join(folder, 'log.ndjson')
    expect(await gridseal('export', '--out', whole, ...as)).toMatchObject({ code: 0 })
    expect(await verifyExportedLog({ path: whole, vkey: site.vkey })).toMatchObject({ ok: true })
  })
})

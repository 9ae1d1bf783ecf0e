import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ApiClient, ApiProblem } from '../clients/api.ts'
import { enrol, enrolFirstOfficers, type Participant, programArguments, type Service, type SiteSettings, startService } from '../clients/site.ts'
import { serverPid } from './postgres/postmaster-file.ts'
import { fastFolder } from './postgres/test-server.ts'

const run = promisify(execFile)

let folder: string
let settings: SiteSettings
let service: Service
let trust: string
let module: Participant
let auditor: Participant
const said: string[] = []
let shipped: string

beforeAll(async () => {
  folder = mkdtempSync(join(fastFolder(), 'gridseal-policy-'))
  settings = { data: join(folder, 'data'), env: { GRIDSEAL_LOG_LEVEL: 'info' }, onLog: (line) => void said.push(line) }
  service = await startService(settings)
  const first = await enrolFirstOfficers(service, settings, folder, ['alice', 'bob'])
  trust = first.trust
  const place = { url: service.url, trust }
  const [alice, bob] = first.officers
  if (alice === undefined || bob === undefined) throw new Error('two officers are needed')
  module = await enrol(alice, place, { kind: 'module', name: 'billing', approver: bob })
  auditor = await enrol(alice, place, { kind: 'auditor', name: 'wang' })
  for (const { name, certificate, key } of [module, auditor]) {
    writeFileSync(join(folder, `${name}.pem`), certificate)
    writeFileSync(join(folder, `${name}.key.pem`), key)
  }
  shipped = readFileSync(join(settings.data, 'policy.yaml'), 'utf8')
})
afterAll(async () => {
  await service.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** `gridseal` as this person, from a terminal of theirs. */
async function gridseal(who: string, ...words: readonly string[]): Promise<{ readonly code: number; readonly out: string }> {
  const as = ['--url', service.url, '--certificate', join(folder, `${who}.pem`), '--key', join(folder, `${who}.key.pem`), '--trust', join(folder, 'root.pem')]
  return run(process.execPath, [...programArguments(), ...words, ...as]).then(
    ({ stdout }) => ({ code: 0, out: stdout }),
    (error: { code: number; stdout: string; stderr: string }) => ({ code: error.code, out: error.stdout + error.stderr }),
  )
}
const told = async (who: string, ...words: readonly string[]): Promise<string> => {
  const { code, out } = await gridseal(who, ...words)
  expect(code, out).toBe(0)
  return out
}

/** Eight who ask all the time, for what no change touches. Answers what went wrong. */
async function ask(ending: AbortSignal): Promise<readonly string[]> {
  const wrong: string[] = []
  const { keyId } = await module.client.post<{ keyId: string }>('/v1/kms/keys', { label: 'asked-for', algorithm: 'hmac-sha256' })
  const one = async (): Promise<void> => {
    while (!ending.aborted) await module.client.get(`/v1/kms/keys/${keyId}`).catch((error: unknown) => wrong.push(String(error)))
  }
  await Promise.all(Array.from({ length: 8 }, one))
  return wrong
}

/** The shipped policy without a rule that lets modules make keys here. */
const narrower = (): string => {
  const lines = shipped.split('\n')
  const at = lines.findIndex((line, index) => index > lines.findIndex((one) => one.includes('name: local')) && line.includes('id: modules-make-keys'))
  expect(at).toBeGreaterThan(0)
  // Its own tests say that modules may: they go with it.
  return [
    ...lines.slice(0, at + 1),
    lines[at + 1]?.replace('allow', 'deny') ?? '',
    ...lines.slice(
      at + 2,
      lines.findIndex((line) => line.startsWith('tests:')),
    ),
  ].join('\n')
}
let labels = 0
/** What reviews said. */
const changes: string[] = []
const makeKey = (client: ApiClient = module.client): Promise<string> =>
  client.post('/v1/kms/keys', { label: `key-${String(labels++)}`, algorithm: 'hmac-sha256' }).then(
    () => 'made',
    (error: unknown) => (error instanceof ApiProblem ? error.code : String(error)),
  )

async function activate(text: string, within = '600'): Promise<string> {
  const file = join(folder, 'next.yaml')
  writeFileSync(file, text)
  const { holdId } = JSON.parse(await told('alice', 'policy', 'propose', file, '--reason', 'fewer keys', '--within', within, '--json')) as { holdId: string }
  const seen = await told('bob', 'hold', 'show', holdId)
  expect(seen).toContain('policies.revision.activate for urn:gridseal:officer:alice')
  expect(seen).toContain('id: modules-make-keys')
  const { digest, change } = JSON.parse(await told('bob', 'policy', 'review', holdId, '--json')) as { digest: string; change: string }
  changes.push(change)
  await told('bob', 'policy', 'approve', holdId, '--digest', digest)
  const { number } = JSON.parse(await told('alice', 'hold', 'run', holdId)) as { number: number }
  return String(number)
}

describe('the policy that runs', () => {
  it('is the shipped one at first, signed by the token', async () => {
    expect(await told('alice', 'policy', 'history')).toMatch(/^1 +[0-9a-f]{16} {2}confirmed .*urn:gridseal:system:start {2}first start\nnode /)
    expect(await makeKey()).toBe('made')
  })

  it('is changed by two officers, on trial, and stays once it is confirmed', async () => {
    const ending = new AbortController()
    const traffic = ask(ending.signal)
    const number = await activate(narrower())
    expect(changes.at(-1)).toMatch(/(^|\n)newly-denied: allow by modules-make-keys -> deny by modules-make-keys\n[^]*such as: --caller module:/)
    await expect.poll(() => makeKey(), { timeout: 6000 }).toBe('forbidden')
    ending.abort()
    expect(await traffic).toEqual([])
    expect(await told('alice', 'policy', 'confirm', number)).toContain('confirmed')
    expect(await told('bob', 'policy', 'history')).toContain(`${number}     `)
  })

  it('survives a kill -9 and a file that says something else', async () => {
    await service.kill()
    said.length = 0
    service = await startService(settings)
    expect(said.join('\n')).toContain('the policy file is not the policy in force')
    const client = new ApiClient({ url: service.url, trust, certificate: module.certificate, key: module.key })
    expect(await makeKey(client)).toBe('forbidden')
    client.close()
  })

  it('on trial is over by itself', async () => {
    const client = new ApiClient({ url: service.url, trust, certificate: module.certificate, key: module.key })
    await activate(`${narrower()}\n# on trial`, '10')
    const wide = await activateRefused(shipped)
    expect(wide).toContain('is on trial')
    await expect.poll(() => told('alice', 'policy', 'history'), { timeout: 60_000, interval: 2000 }).toContain('not confirmed in time')
    client.close()
  })

  it('is rolled back by a person', async () => {
    const client = new ApiClient({ url: service.url, trust, certificate: module.certificate, key: module.key })
    const number = await activate(shipped)
    await expect.poll(() => makeKey(client), { timeout: 6000 }).toBe('made')
    expect(await told('bob', 'policy', 'rollback', number, '--reason', 'too wide')).toContain('too wide')
    await expect.poll(() => makeKey(client), { timeout: 6000 }).toBe('forbidden')
    client.close()
  })

  it('counts what its rules decide', async () => {
    const [, , revision = ''] = /^(\d+) +([0-9a-f]{16})/.exec(await told('alice', 'policy', 'history')) ?? []
    await expect.poll(() => told('alice', 'policy', 'hits', revision), { timeout: 15_000, interval: 1000 }).toMatch(/\d+ {2}modules-make-keys {2}/)
    expect(await told('bob', 'policy', 'text', revision)).toContain('id: modules-make-keys')
  })

  async function activateRefused(text: string): Promise<string> {
    const file = join(folder, 'refused.yaml')
    writeFileSync(file, text)
    const { code, out } = await gridseal('alice', 'policy', 'propose', file, '--reason', 'x')
    expect(code).toBeGreaterThan(0)
    return out
  }

  it('is not changed to one that does not parse, or that nobody could change again', async () => {
    expect(await activateRefused('policy: 2\nchains:\n  - name: [a\n')).toMatch(/line \d+, column \d+/)
    const out = await activateRefused(shipped.replaceAll('policies.revision.*', 'policies.revision.list'))
    expect(out).toMatch(/no two officers could change it again|test "/)
  })

  it('made every decision of the log, and makes it again', async () => {
    const client = new ApiClient({ url: service.url, trust, certificate: auditor.certificate, key: auditor.key })
    const seen = new Set<string>()
    let again = 0
    for (let from = 0; ; ) {
      const { entries } = await client.get<{
        entries: { index: number; entry: { id: string; operation: string; decision?: { at?: number; revision: string } } }[]
      }>(`/v1/policies/audit/entries?from=${String(from)}&limit=500`)
      for (const { entry } of entries) {
        if (entry.decision?.at === undefined || seen.has(entry.id) || again >= 150) continue
        seen.add(entry.id)
        again += 1
        const rerun = await client.get<{ agrees: boolean }>(`/v1/policies/decisions/${entry.id}/rerun`)
        expect(rerun, entry.operation).toMatchObject({ agrees: true, revision: entry.decision.revision })
      }
      from = (entries.at(-1)?.index ?? 0) + 1
      if (entries.length < 500 || again >= 150) break
    }
    expect(again).toBeGreaterThan(40)
    const [some = ''] = seen
    expect(await told('wang', 'policy', 'rerun', some)).toContain('The same.')
    expect(await told('wang', 'policy', 'why', some)).toMatch(/^(allow|deny) by \S+\n[^]*zones: /)
    client.close()
  })
})

describe('a node that cannot reach the database', () => {
  it('refuses within 5 s, and decides again when it can', async () => {
    const postmaster = serverPid(join(settings.data, 'postgres/cluster')) ?? expect.unreachable('PostgreSQL does not run')
    const client = new ApiClient({ url: service.url, trust, certificate: module.certificate, key: module.key })
    const backends = readFileSync(`/proc/${String(postmaster)}/task/${String(postmaster)}/children`, 'utf8')
      .trim()
      .split(' ')
      .map(Number)
    for (const pid of backends) process.kill(pid, 'SIGSTOP')
    try {
      await new Promise((resolve) => setTimeout(resolve, 6500))
      // Whether it is told so or waits for the log to have the refusal: nobody is answered.
      const answer = client.get('/v1/kms/keys').then(
        () => 'answered',
        (error: unknown) => (error instanceof ApiProblem ? error.code : String(error)),
      )
      const waiting = new Promise<string>((resolve) => setTimeout(() => resolve('waits'), 3000))
      expect(['waits', 'forbidden', 'log-unavailable', 'database-unavailable']).toContain(await Promise.race([answer, waiting]))
    } finally {
      for (const pid of backends) process.kill(pid, 'SIGCONT')
    }
    await expect.poll(() => makeKey(client), { timeout: 20_000, interval: 500 }).toBe('forbidden')
    client.close()
  })
})

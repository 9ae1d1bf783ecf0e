import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exampleFiling, fileAdmission } from '../clients/admission.ts'
import { ApiProblem } from '../clients/api.ts'
import { askHeld, byTwo } from '../clients/held.ts'
import { enrol, enrolFirstOfficers, type Participant, programArguments, register, type Service, type SiteSettings, startService } from '../clients/site.ts'
import { fastFolder } from './postgres/test-server.ts'
import { agentOf, ask } from './testing/ask.ts'
import { eventually } from './testing/processes.ts'

const run = promisify(execFile)

let folder: string
let service: Service
let trust: string
let [alice, bob]: readonly [Participant, Participant] = [] as never
let auditor: Participant
/** Operations whose decisions are made again at the end. */
const decided: string[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(fastFolder(), 'gridseal-admission-'))
  const settings: SiteSettings = { data: join(folder, 'data') }
  service = await startService(settings)
  const first = await enrolFirstOfficers(service, settings, folder, ['alice', 'bob'])
  trust = first.trust
  ;[alice, bob] = first.officers as [Participant, Participant]
  auditor = await enrol(alice, place(), { kind: 'auditor', name: 'wang' })
})
afterAll(async () => {
  await service.stop()
  rmSync(folder, { recursive: true, force: true })
})

const place = (): { url: string; trust: string } => ({ url: service.url, trust })

/** `gridseal` as this officer, from a terminal of theirs. */
async function gridseal(who: 'alice' | 'bob', ...words: readonly string[]): Promise<string> {
  const as = ['--url', service.url, '--certificate', join(folder, `${who}.pem`), '--key', join(folder, `${who}.key.pem`), '--trust', join(folder, 'root.pem')]
  return (await run(process.execPath, [...programArguments(), ...words, ...as])).stdout
}

/** Asks for the keys of one's own: `ok`, or the detail of the refusal. The decision is kept for the end. */
async function tryKeys({ client }: Participant): Promise<string> {
  try {
    await client.get('/v1/kms/keys')
    return 'ok'
  } catch (error) {
    if (!(error instanceof ApiProblem) || error.code !== 'forbidden') throw error
    decided.push(error.instance.replace('urn:uuid:', ''))
    return error.detail
  }
}

describe('a module', () => {
  let billing: Participant

  it('with a certificate and no admission can do nothing', async () => {
    billing = await register(alice, place(), { kind: 'module', name: 'billing' })
    expect(await tryKeys(billing)).toMatch(/urn:gridseal:module:billing is not admitted: its admission was never filed/)
  })

  it('is filed by one officer and approved by another, on the command line, and can', async () => {
    const [licence, report] = [join(folder, 'licence.pdf'), join(folder, 'report.pdf')]
    writeFileSync(licence, 'a licence')
    writeFileSync(report, 'a report')
    const told = await gridseal(
      ...(['alice', 'admission', 'file', '--caller', 'module:billing', '--json'] as const),
      ...['--organisation', 'Billing Ltd', '--licence-number', '91330000MA27XXXXXX', '--licence', licence],
      ...['--user-name', 'Chen Wei', '--user-phone', '+86 571 5555 0100', '--user-mail', 'chen@billing.example'],
      ...['--responsible-name', 'Li Na', '--responsible-phone', '+86 571 5555 0101', '--responsible-mail', 'li@billing.example'],
      ...['--assessment', 'SA-1', '--report', report, '--expires', '2999-01-01T00:00:00Z'],
    )
    const { holdId } = JSON.parse(told) as { holdId: string }
    expect(await tryKeys(billing)).toMatch(/not admitted/)
    const seen = JSON.parse(await gridseal('bob', 'hold', 'show', holdId, '--json')) as { digest: string; facts: object }
    expect(seen.facts).toMatchObject({ subject: 'urn:gridseal:module:billing', organisation: 'Billing Ltd' })
    await gridseal('bob', 'hold', 'approve', holdId, '--digest', seen.digest)
    await gridseal('alice', 'hold', 'run', holdId)
    await expect.poll(() => tryKeys(billing), { timeout: 5000 }).toBe('ok')
    const shown = await gridseal('alice', 'admission', 'show', '--caller', 'module:billing')
    expect(shown).toContain(`SHA-256 ${createHash('sha256').update('a licence').digest('hex')}`)
    expect(shown).toContain('module:billing  version 1: admitted')
    expect(shown).toContain('responsible   Li Na, +86 571 5555 0101, li@billing.example')
    expect(await gridseal('alice', 'admission', 'list')).toMatch(/^module:billing +admitted +until 2999-01-01T00:00:00.000Z {2}Billing Ltd\n$/)
  })

  it('is suspended by one officer, and refused within 5 s on its open connection; two officers end that', async () => {
    await gridseal('bob', 'admission', 'suspend', '--caller', 'module:billing', '--reason', 'it behaves oddly')
    const began = performance.now()
    await eventually('a refusal', async () => ((await tryKeys(billing)) === 'ok' ? undefined : true), { timeoutMs: 5000 })
    expect(performance.now() - began).toBeLessThan(5000)
    expect(await tryKeys(billing)).toMatch(/is suspended/)
    await byTwo([alice, bob], `/v1/policies/callers/${billing.callerId}/admission/resume`, { reason: 'a false alarm' })
    await expect.poll(() => tryKeys(billing), { timeout: 5000 }).toBe('ok')
    expect(await gridseal('alice', 'admission', 'show', '--caller', 'module:billing', '--history')).toMatch(
      /version 3: admitted\n {2}resumed at .*: a false alarm\n[^]*version 2: suspended\n {2}suspended at .* by urn:gridseal:officer:bob: it behaves oddly\n[^]*version 1: admitted\n {2}filed/,
    )
  })

  it('is refused from the moment on at which its assessment ends', async () => {
    const short = await register(alice, place(), { kind: 'module', name: 'short' })
    const expiresAt = new Date(Date.now() + 5000)
    await fileAdmission([alice, bob], short.callerId, exampleFiling('short', { expiresAt }))
    let last = 0
    for (let told = 'ok'; told === 'ok'; ) {
      last = Date.now()
      told = await tryKeys(short)
      if (told !== 'ok') expect(told).toContain(`assessment ended at ${expiresAt.toISOString()}`)
    }
    expect(last).toBeGreaterThan(expiresAt.getTime() - 1000)
    expect(last).toBeLessThan(expiresAt.getTime() + 1000)
    await byTwo([alice, bob], `/v1/policies/callers/${short.callerId}/admission/change`, { assessment: exampleFiling('short').assessment })
    await expect.poll(() => tryKeys(short), { timeout: 5000 }).toBe('ok')
  })
})

describe('a grant', () => {
  let meters: Participant
  let grantId: string
  /** An operation that no rule allows to modules: `ok`, or the code of the refusal. Its id is kept for the end. */
  const tryList = async (): Promise<string> => {
    const { status, operationId } = await ask(connections, { url: `${service.url}/v1/policies/callers?limit=1` })
    decided.push(operationId)
    return String(status)
  }
  let connections: ReturnType<typeof agentOf>

  it('by two officers lets a module do one more thing', async () => {
    meters = await enrol(alice, place(), { kind: 'module', name: 'meters', approver: bob })
    connections = agentOf({ ...place(), certificate: meters.certificate, key: meters.key }, { maxSockets: 1 })
    expect(await tryList()).toBe('403')
    const told = await gridseal(
      ...(['alice', 'grant', 'issue', '--caller', 'module:meters', '--operation', 'policies.caller.list', '--zone', 'local', '--json'] as const),
      ...['--reason', 'who is there is to be found out', '--until', new Date(Date.now() + 60_000).toISOString()],
    )
    const { holdId } = JSON.parse(told) as { holdId: string }
    const { digest } = JSON.parse(await gridseal('bob', 'hold', 'show', holdId, '--json')) as { digest: string }
    await gridseal('bob', 'hold', 'approve', holdId, '--digest', digest)
    expect(await tryList()).toBe('403')
    grantId = (JSON.parse(await gridseal('alice', 'hold', 'run', holdId)) as { grantId: string }).grantId
    await expect.poll(tryList, { timeout: 5000 }).toBe('200')
    expect(await gridseal('alice', 'grant', 'list', '--live')).toContain(`${grantId}  live: who is there is to be found out`)
    // And nothing else.
    await expect(meters.client.get('/v1/policies/admissions')).rejects.toMatchObject({ status: 403 })
  })

  it('is revoked by one, and is over on the open connection within 5 s', async () => {
    expect(await tryList()).toBe('200')
    await gridseal('bob', 'grant', 'revoke', grantId, '--reason', 'it was found out')
    await eventually('a refusal', async () => ((await tryList()) === '403' ? true : undefined), { timeoutMs: 5000, everyMs: 200 })
    connections.destroy()
  })

  it('is reported with all that was done under it', async () => {
    const found = await eventually('the report', async () => {
      const report = JSON.parse(await gridseal('alice', 'grant', 'report', grantId, '--json')) as {
        uses: { operationId: string; operation: string; facts: object }[]
      }
      // Entries come into the log by and by: all that there are, in both ways of asking.
      const { entries } = await auditor.client.get<{ entries: unknown[] }>(`/v1/policies/audit/entries?rule=grant:${grantId}`)
      return report.uses.length >= 2 && entries.length === report.uses.length ? report.uses : undefined
    })
    for (const use of found) {
      expect(use).toMatchObject({
        ...{ operation: 'policies.caller.list', caller: 'urn:gridseal:module:meters', code: 'ok', address: '127.0.0.1' },
        facts: { 'policy.reason': 'who is there is to be found out', 'policy.owner': 'urn:gridseal:officer:alice', 'policy.zones': ['local'] },
      })
      expect(decided).toContain(use.operationId)
    }
    expect(await gridseal('bob', 'grant', 'report', grantId)).toContain('revoked by urn:gridseal:officer:bob')
    expect(await auditor.client.post('/v1/policies/explain', { operationId: found[0]?.operationId })).toMatchObject({
      effect: 'allow',
      rule: `grant:${grantId}`,
    })
  })
})

it('the approval of a person who was revoked since does not count, whichever registration it was by', async () => {
  const carol = await enrol(alice, place(), { kind: 'officer', name: 'carol' })
  const { callerId } = await register(alice, place(), { kind: 'module', name: 'unlucky' })
  const holdId = await askHeld(alice, `/v1/policies/callers/${callerId}/admission`, exampleFiling('unlucky'))
  const { digest } = await carol.client.get<{ digest: string }>(`/v1/policies/holds/${holdId}`)
  await carol.client.post(`/v1/policies/holds/${holdId}/approve`, { digest })
  const { callers } = await alice.client.get<{ callers: { callerId: string; personId?: string }[] }>('/v1/policies/callers?limit=500')
  const personId = callers.find((one) => one.callerId === carol.callerId)?.personId
  await bob.client.post(`/v1/policies/persons/${String(personId)}/revoke`, {})
  await expect(alice.client.post(`/v1/policies/holds/${holdId}/run`, {})).rejects.toMatchObject({
    code: 'forbidden',
    detail: expect.stringMatching(/and 0 did/) as string,
  })
})

it('every decision comes out the same when it is made again', async () => {
  const { entries } = await auditor.client.get<{ entries: { entry: { id: string; decision?: object } }[] }>(
    '/v1/policies/audit/entries?operation=kms.key.list&code=ok&limit=20',
  )
  expect(entries[0]?.entry.decision).toMatchObject({ admittedUntil: Date.parse('2999-01-01T00:00:00Z') })
  const operations = [...decided, ...entries.map(({ entry }) => entry.id)]
  expect(decided.length).toBeGreaterThan(3)
  const rules = new Set<string>()
  for (const operationId of operations) {
    const told = await eventually(`the entry of ${operationId}`, () =>
      auditor.client
        .get<{ agrees: boolean; recorded: { rule: string } }>(`/v1/policies/decisions/${operationId}/rerun`)
        .catch((error: unknown) => (error instanceof ApiProblem && error.status === 404 ? undefined : Promise.reject(error as Error))),
    )
    expect(told, operationId).toMatchObject({ agrees: true })
    rules.add(told.recorded.rule.replace(/^grant:.*/, 'grant'))
  }
  expect([...rules].sort()).toEqual(['default', 'grant', 'guard:not-admitted', 'modules-make-keys'])
})

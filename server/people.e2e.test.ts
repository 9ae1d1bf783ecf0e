import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { join } from 'node:path'
import type { Writable } from 'node:stream'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ApiClient } from '../clients/api.ts'
import { makeTlsRequest } from '../clients/csr.ts'
import { enrol, enrolFirstOfficers, type Participant, programArguments, type Service, startService } from '../clients/site.ts'
import { canRun } from '../core/testing/tools.ts'
import { totpOf } from '../policies/people/testing/people-house.ts'
import { fastFolder } from './postgres/test-server.ts'
import { problemOf, type Told } from './testing/edge-site.ts'
import { peoplePolicy } from './testing/people-policy.ts'
import { eventually } from './testing/processes.ts'

const run = promisify(execFile)
const PASSWORD = 'tower gravel anise 9'
const STEP_MS = 30_000

let folder: string
let service: Service
let trust: string
let alice: Participant
let auditor: Participant
let root: string
/** What the service says of itself. */
const said: string[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(fastFolder(), 'gridseal-people-'))
  const data = join(folder, 'data')
  mkdirSync(data, { mode: 0o700 })
  writeFileSync(join(data, 'policy.yaml'), peoplePolicy())
  const settings = { data, env: { GRIDSEAL_LOG_LEVEL: 'trace' }, onLog: (line: string) => void said.push(line) }
  service = await startService(settings)
  const first = await enrolFirstOfficers(service, settings, join(folder, 'people'), ['alice', 'bob'])
  trust = first.trust
  alice = first.officers[0] as Participant
  auditor = await enrol(alice, { url: service.url, trust }, { kind: 'auditor', name: 'wang' })
  root = join(folder, 'people/root.pem')
})
afterAll(async () => {
  await service.stop()
  rmSync(folder, { recursive: true, force: true })
})

interface Answer {
  readonly status: number
  /** By lower-case name; several of a name one behind the other. */
  readonly headers: ReadonlyMap<string, readonly string[]>
  readonly text: string
}

interface Asked {
  readonly body?: unknown
  readonly headers?: readonly string[]
  /** The address that the connection comes from. */
  readonly from?: string
  readonly who?: Participant
}

/** A request by curl, over TLS, on a connection of its own. */
async function curl(path: string, { body, headers = [], from, who }: Asked = {}): Promise<Answer> {
  const certificate = who === undefined ? [] : ['--cert', fileOf(who, 'pem', who.certificate), '--key', fileOf(who, 'key', who.key)]
  const post = body === undefined ? [] : ['--header', 'content-type: application/json', '--data', JSON.stringify(body)]
  const { stdout } = await run(
    'curl',
    ['--silent', '--show-error', '--include', '--cacert', root, ...(from === undefined ? [] : ['--interface', from]), ...certificate, ...post].concat(
      headers.flatMap((header) => ['--header', header]),
      `${service.url}${path}`,
    ),
  )
  const end = stdout.indexOf('\r\n\r\n')
  const [first = '', ...lines] = stdout.slice(0, end).split('\r\n')
  const fields = new Map<string, string[]>()
  for (const line of lines) {
    const name = line.slice(0, line.indexOf(':')).toLowerCase()
    fields.set(name, [...(fields.get(name) ?? []), line.slice(line.indexOf(':') + 1).trim()])
  }
  return { status: Number(/ (\d{3})/.exec(first)?.[1]), headers: fields, text: stdout.slice(end + 4) }
}

function fileOf({ name }: Participant, kind: string, content: string): string {
  const file = join(folder, `${name}.${kind}`)
  writeFileSync(file, content, { mode: 0o600 })
  return file
}

/** The problem of an answer that failed. */
const told = ({ status, headers, text }: Answer): Told =>
  problemOf({ status, text, headers: Object.fromEntries([...headers].map(([name, [value = '']]) => [name, value])) })

async function answered(path: string, asked: Asked = {}): Promise<Record<string, string>> {
  const answer = await curl(path, asked)
  expect(answer.status, answer.text).toBeLessThan(300)
  return JSON.parse(answer.text) as Record<string, string>
}
const refused = async (path: string, asked: Asked = {}): Promise<Told> => told(await curl(path, asked))

interface Person {
  readonly personId: string
  readonly callerId: string
  readonly name: string
  readonly secret: string
  readonly recoveryCodes: readonly string[]
  /** Steps whose codes were shown. */
  shown: number
}

async function enrolPerson(name: string, kind: 'business' | 'auditor' = 'auditor'): Promise<Person> {
  const { callerId, personId } = await alice.client.post<{ callerId: string; personId: string }>('/v1/policies/callers', { kind, name })
  const { ticket } = await alice.client.post<{ ticket: string }>(`/v1/policies/persons/${personId}/ticket`)
  await answered('/v1/policies/password', { body: { ticket, password: PASSWORD } })
  const { secret = '' } = await answered('/v1/policies/totp', { body: { ticket } })
  const at = new Date(Date.now() - STEP_MS)
  const { recoveryCodes } = (await answered('/v1/policies/totp/confirm', { body: { ticket, code: totpOf(secret, at) } })) as unknown as {
    recoveryCodes: string[]
  }
  return { personId, callerId, name, secret, recoveryCodes, shown: Math.floor(at.getTime() / STEP_MS) }
}

/** A code that was not shown yet: that of now, else a recovery code. */
function proof(person: Person): object {
  const now = Math.floor(Date.now() / STEP_MS)
  if (now <= person.shown) {
    const [recoveryCode, ...rest] = person.recoveryCodes
    Object.assign(person, { recoveryCodes: rest })
    return { recoveryCode }
  }
  person.shown = now
  return { code: totpOf(person.secret, new Date()) }
}

const login = (person: Person, asked: Asked & { readonly extra?: object } = {}): Promise<Record<string, string>> =>
  answered('/v1/policies/session', { ...asked, body: { name: person.name, password: PASSWORD, ...proof(person), ...asked.extra } })

const bearer = (token: string | undefined): string => `Authorization: Bearer ${String(token)}`
const cookieOf = (token: string): string => `Cookie: __Host-gridseal-session=${token}`
const SAME = 'Sec-Fetch-Site: same-origin'
const LOG = '/v1/policies/audit/entries?limit=1'
const SESSIONS = '/v1/policies/sessions'

/** The entries of an operation, as an auditor with a certificate finds them. */
const entriesOf = (operationId: string): Promise<readonly Record<string, unknown>[]> =>
  eventually(`entries of ${operationId}`, async () => {
    const answer = await auditor.client
      .get<{ entries: { entry: Record<string, unknown> }[] }>(`/v1/policies/audit/operations/${operationId}`)
      .catch(() => undefined)
    return answer === undefined || answer.entries.length === 0 ? undefined : answer.entries.map(({ entry }) => entry)
  })
const entriesNamed = (operation: string, wanted: (entry: Record<string, unknown>) => boolean): Promise<Record<string, unknown>[]> =>
  eventually(`an entry of ${operation}`, async () => {
    const { entries } = await auditor.client.get<{ entries: { entry: Record<string, unknown> }[] }>(
      `/v1/policies/audit/entries?operation=${operation}&limit=1000`,
    )
    const found = entries.map(({ entry }) => entry).filter(wanted)
    return found.length === 0 ? undefined : found
  })

/** A browser's login: the cookies that it keeps. */
async function browse(
  person: Person,
  { headers = [SAME] }: { readonly headers?: readonly string[] } = {},
): Promise<{ token: string; cookies: readonly string[]; answer: Answer }> {
  const answer = await curl('/v1/policies/session', { headers, body: { name: person.name, password: PASSWORD, ...proof(person), cookie: true } })
  const cookies = answer.headers.get('set-cookie') ?? []
  return { token: /^__Host-gridseal-session=([^;]+)/.exec(cookies[0] ?? '')?.[1] ?? '', cookies, answer }
}

describe('logging in', () => {
  it('by password and code is a session that is good for what the policy gives it, and no more', async () => {
    const chen = await enrolPerson('chen')
    const { token, caller, sessionId } = await login(chen)
    expect(caller).toBe('urn:gridseal:auditor:chen')
    await answered(LOG, { headers: [bearer(token)] })
    expect(await refused('/v1/policies/callers', { headers: [bearer(token)], body: { kind: 'module', name: 'x' } })).toMatchObject({ code: 'forbidden' })
    const { sessions } = (await answered(SESSIONS, { headers: [bearer(token)] })) as unknown as { sessions: object[] }
    expect(sessions).toMatchObject([{ sessionId, state: 'open', address: '127.0.0.1', isThis: true }])
  })

  it('is not for officers: they have a certificate and get no ticket', async () => {
    const { persons } = await alice.client.get<{ persons: { personId: string; name: string }[] }>('/v1/policies/persons')
    const bob = persons.find(({ name }) => name === 'bob')
    await expect(alice.client.post(`/v1/policies/persons/${String(bob?.personId)}/ticket`)).rejects.toMatchObject({ code: 'conflict' })
    expect(await refused('/v1/policies/session', { body: { name: 'alice', password: PASSWORD, code: '123456' } })).toMatchObject({ code: 'login-failed' })
  })

  it('shows a secret neither in the log of the service nor in the database', async () => {
    const dora = await enrolPerson('dora')
    const { token = '' } = await login(dora)
    const { stdout } = await run('grep', ['-rlaF', '-e', token, '-e', PASSWORD, '-e', dora.secret, join(folder, 'data')]).catch(
      ({ stdout: found }: { stdout: string }) => ({ stdout: found }),
    )
    expect(stdout).toBe('')
    expect(said.length).toBeGreaterThan(5)
    for (const secret of [token, PASSWORD, dora.secret]) expect(said.join('\n')).not.toContain(secret)
    // The search would find one: the id of the session is there.
    expect(execFileSync('grep', ['-rlaF', '-e', dora.personId, join(folder, 'data/postgres')], { encoding: 'utf8' })).not.toBe('')
  })
})

describe('a person with a certificate too', () => {
  it('is the same one: sees and ends the sessions that were opened by password', async () => {
    const olaf = await enrolPerson('olaf', 'business')
    const { token, sessionId } = await login(olaf)
    const { privateKey: key, csr } = await makeTlsRequest('olaf')
    const { certificate } = await alice.client.post<{ certificate: string }>('/v1/kms/certificates', { callerId: olaf.callerId, csr })
    const who: Participant = { name: 'olaf', callerId: olaf.callerId, certificate, key, client: new ApiClient({ url: service.url, trust, certificate, key }) }
    expect(await answered(SESSIONS, { who })).toMatchObject({ sessions: [{ sessionId, state: 'open', isThis: false }] })
    await answered(`${SESSIONS}/${String(sessionId)}/revoke`, { who, body: {} })
    expect(await answered(SESSIONS, { who })).toMatchObject({ sessions: [{ state: 'revoked' }] })
    await eventually('the end of the session', async () => ((await curl(SESSIONS, { headers: [bearer(token)] })).status === 401 ? true : undefined))
    expect(await refused('/v1/policies/session/close', { who, body: {} })).toMatchObject({ code: 'conflict' })
  })
})

describe('in a browser', () => {
  it('goes into a cookie that no script reads, and nothing of it into the answer', async () => {
    const { cookies, answer, token } = await browse(await enrolPerson('eve'))
    expect(cookies).toEqual([
      expect.stringMatching(/^__Host-gridseal-session=[\w-]{43}; Path=\/; Secure; HttpOnly; SameSite=Strict$/),
      expect.stringMatching(/^__Host-gridseal-device=[\w-]{64}; Max-Age=31536000; Path=\/; Secure; HttpOnly; SameSite=Strict$/),
    ])
    expect(answer.text).not.toContain(token)
    expect(JSON.parse(answer.text)).not.toHaveProperty('token')
    await answered(LOG, { headers: [cookieOf(token), SAME] })
  })

  it('is a new session each time: one that was planted before is none, and never becomes one', async () => {
    const frank = await enrolPerson('frank')
    const planted = 'P'.repeat(43)
    const { token, answer } = await browse(frank, { headers: [SAME, cookieOf(planted)] })
    expect(answer.status).toBe(201)
    expect(token).not.toBe(planted)
    expect((await curl(LOG, { headers: [cookieOf(planted), SAME] })).status).toBe(401)
    const again = await browse(frank, { headers: [SAME, cookieOf(token)] })
    expect(again.token).not.toBe(token)
    // Another person's session, planted over one's own by a page of the same site: two cookies of a name are none.
    expect((await curl(LOG, { headers: [`Cookie: __Host-gridseal-session=${token}; __Host-gridseal-session=${again.token}`, SAME] })).status).toBe(401)
  })

  it.each([
    ['another site’s page', ['Sec-Fetch-Site: cross-site']],
    ['another page of the same site', ['Sec-Fetch-Site: same-site']],
    ['another origin', ['Origin: https://evil.example']],
    ['nowhere that it says', []],
  ])('a request from %s changes nothing and logs nobody in', async (_what, headers) => {
    const person = await enrolPerson(`csrf-${String(headers.length)}-${String(headers.join().length)}`)
    const { token } = await browse(person)
    expect(await refused('/v1/policies/session/close', { headers: [cookieOf(token), ...headers], body: {} })).toMatchObject({ code: 'cross-site' })
    expect(told((await browse(person, { headers })).answer)).toMatchObject({ code: 'cross-site' })
    await answered(LOG, { headers: [cookieOf(token), SAME] })
    await answered('/v1/policies/session/close', { headers: [cookieOf(token), `Origin: ${service.url}`], body: {} })
  })

  it('logging out ends the session and takes the cookie away', async () => {
    const { token } = await browse(await enrolPerson('gina'))
    const out = await curl('/v1/policies/session/close', { headers: [cookieOf(token), SAME], body: {} })
    expect(out.status).toBe(200)
    expect(out.headers.get('set-cookie')).toEqual(['__Host-gridseal-session=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Strict'])
    const after = await eventually('401', async () => {
      const answer = await curl(LOG, { headers: [cookieOf(token), SAME] })
      return answer.status === 401 ? answer : undefined
    })
    expect(after.headers.get('set-cookie')?.[0]).toMatch(/Max-Age=0/)
  })
})

describe('a session that was stolen', () => {
  it('is refused from another address, ends for everybody, and is in the log with both addresses', async () => {
    const heidi = await enrolPerson('heidi')
    const { token, sessionId } = await login(heidi)
    await answered(LOG, { headers: [bearer(token)] })
    expect(await refused(LOG, { headers: [bearer(token)], from: '127.0.0.2' })).toMatchObject({
      code: 'unauthenticated',
      detail: expect.stringMatching(/elsewhere/) as string,
    })
    expect(await refused(LOG, { headers: [bearer(token)] })).toMatchObject({ code: 'unauthenticated' })
    expect(
      await entriesNamed('policies.session.end-stolen', ({ kind, facts }) => kind === 'outcome' && (facts as { sessionId: string }).sessionId === sessionId),
    ).toMatchObject([
      {
        code: 'ok',
        caller: { kind: 'system', name: 'sessions' },
        facts: { usedFrom: '127.0.0.2', openedFrom: '127.0.0.1', personId: heidi.personId, differs: 'address' },
      },
    ])
    const next = await login(heidi)
    const { sessions } = (await answered(SESSIONS, { headers: [bearer(next['token'])] })) as unknown as { sessions: { sessionId: string; state: string }[] }
    expect(sessions.find((one) => one.sessionId === sessionId)?.state).toBe('stolen')
  })

  it('cookie and all, too', async () => {
    const { token } = await browse(await enrolPerson('ivan'))
    expect((await curl(LOG, { headers: [cookieOf(token), SAME], from: '127.0.0.2' })).status).toBe(401)
    expect((await curl(LOG, { headers: [cookieOf(token), SAME] })).status).toBe(401)
  })

  it('is refused without the certificate that it was opened with', async () => {
    const judy = await enrolPerson('judy')
    const { token } = await login(judy, { who: auditor })
    await answered(LOG, { headers: [bearer(token)], who: auditor })
    expect(await refused(LOG, { headers: [bearer(token)] })).toMatchObject({ code: 'unauthenticated' })
    expect(await refused(LOG, { headers: [bearer(token)], who: auditor })).toMatchObject({ code: 'unauthenticated' })
  })
})

describe('guessing', () => {
  it('has an entry for each try, in the same words; then waits, which is counted; and nobody else waits', async () => {
    const [kim, leo] = [await enrolPerson('kim'), await enrolPerson('leo')]
    const attack = { from: '127.0.0.3' }
    const tries: Told[] = []
    for (const body of [
      { name: 'kim', password: 'wrong', code: '000000' },
      { name: 'kim', password: PASSWORD, code: '000000' },
      { name: 'kim', password: 'wrong', ...proof(leo) },
      { name: 'nobody-there', password: 'wrong', code: '000000' },
    ])
      tries.push(await refused('/v1/policies/session', { body, ...attack }))
    expect(new Set(tries.map(({ code, detail }) => `${code} ${detail}`)).size).toBe(1)
    expect(tries[0]?.code).toBe('login-failed')
    for (const [at, { operationId }] of tries.entries()) {
      const [entry] = await entriesOf(operationId)
      expect(entry).toMatchObject({
        kind: 'refusal',
        code: 'login-failed',
        operation: 'policies.session.open',
        caller: { kind: 'anonymous', address: '127.0.0.3' },
      })
      expect((entry?.['facts'] as { personId?: string } | undefined)?.personId).toBe(at < 3 ? kim.personId : undefined)
    }

    const waiting = await eventually('a wait', async () => {
      const answer = await curl('/v1/policies/session', { body: { name: 'kim', password: 'wrong', code: '000000' }, ...attack })
      return answer.status === 429 ? answer : undefined
    })
    expect(told(waiting).code).toBe('login-delayed')
    expect(Number(waiting.headers.get('retry-after')?.[0])).toBeGreaterThan(0)
    await login(kim)
    await login(leo, attack)
  })

  it('again with a code that was used is refused', async () => {
    const mia = await enrolPerson('mia')
    // At the start of a step, so that the code is the same for both.
    await new Promise((resolve) => setTimeout(resolve, STEP_MS - (Date.now() % STEP_MS) + 50))
    const body = { name: 'mia', password: PASSWORD, code: totpOf(mia.secret, new Date()) }
    const tries = await Promise.all(Array.from({ length: 4 }, () => curl('/v1/policies/session', { body })))
    expect(tries.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 401, 401, 401])
    for (const answer of tries) if (answer.status === 401) expect(told(answer).code).toBe('login-failed')
    expect(await refused('/v1/policies/session', { body, from: '127.0.0.4' })).toMatchObject({ code: 'login-failed' })
  }, 60_000)
})

describe('on a connection that is open', () => {
  /** Statuses of requests on one connection. */
  function connection(token: string): { status(): Promise<number>; close(): void; readonly reused: boolean[] } {
    const agent = new Agent({ ca: trust, keepAlive: true, maxSockets: 1 })
    const reused: boolean[] = []
    const status = (): Promise<number> =>
      new Promise((resolve, reject) => {
        const sent = request(`${service.url}${LOG}`, { agent, headers: { authorization: `Bearer ${token}` } }, (response) => {
          reused.push(sent.reusedSocket)
          response.resume().on('end', () => resolve(response.statusCode ?? 0))
        })
        sent.on('error', reject).end()
      })
    return { status, close: () => agent.destroy(), reused }
  }

  const ends: readonly (readonly [what: string, end: (person: Person, token: string, sessionId: string) => Promise<unknown>])[] = [
    ['the registration is revoked', ({ callerId }) => alice.client.post(`/v1/policies/callers/${callerId}/revoke`)],
    ['the person is revoked', ({ personId }) => alice.client.post(`/v1/policies/persons/${personId}/revoke`)],
    ['an officer ends it', ({ personId }) => alice.client.post(`/v1/policies/persons/${personId}/end-sessions`)],
    [
      'an officer gives out a ticket that is used',
      async ({ personId }) => {
        const { ticket } = await alice.client.post<{ ticket: string }>(`/v1/policies/persons/${personId}/ticket`)
        await answered('/v1/policies/password', { body: { ticket, password: 'other words entirely 4' } })
      },
    ],
    ['its person ends it', (_person, token, sessionId) => answered(`${SESSIONS}/${sessionId}/revoke`, { headers: [bearer(token)], body: {} })],
  ]
  it.each(ends)('a session ends within 5 s when %s', async (what, end) => {
    const person = await enrolPerson(`open-${String(ends.findIndex(([one]) => one === what))}`)
    const { token = '', sessionId = '' } = await login(person)
    const { status, close, reused } = connection(token)
    for (let at = 0; at < 5; at++) expect(await status()).toBe(200)
    await end(person, token, sessionId)
    const began = performance.now()
    await eventually('401 on the open connection', async () => ((await status()) === 401 ? true : undefined), { timeoutMs: 5000, everyMs: 20 })
    expect(performance.now() - began).toBeLessThan(5000)
    expect(reused.slice(1).every(Boolean)).toBe(true)
    close()
  })
})

describe('by the command line', () => {
  const gridseal = (...args: string[]): readonly string[] => [...programArguments(), ...args, '--url', service.url, '--trust', root]
  const asOfficer = (): string[] => ['--certificate', fileOf(alice, 'pem', alice.certificate), '--key', fileOf(alice, 'key', alice.key)]

  /** A program whose answers are given once it has asked: what it said. `answers`: by what it says, in its order. */
  async function talk(
    program: string,
    args: readonly string[],
    answers: readonly (readonly [asked: RegExp, answer: (heard: string) => string])[],
  ): Promise<{ heard: string; code: number }> {
    const child = spawn(program, args, { stdio: 'pipe' })
    let heard = ''
    const left = [...answers]
    const hear = (chunk: Buffer): void => {
      heard += chunk.toString('utf8')
      const [next] = left
      if (next?.[0].test(heard) !== true) return
      left.shift()
      child.stdin.write(`${next[1](heard)}\n`)
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    const [code] = (await once(child, 'exit')) as [number]
    expect(left, heard).toEqual([])
    return { heard, code }
  }

  it.skipIf(!canRun('script'))(
    'a person is registered, enrols with a ticket, logs in without the password being seen, reads the log, and logs out',
    async () => {
      const run1 = async (...args: string[]): Promise<string> => (await run(process.execPath, [...gridseal(...args)])).stdout
      expect(await run1('person', 'register', 'nina', '--kind', 'auditor', ...asOfficer())).toMatch(/caller {6}urn:gridseal:auditor:nina/)
      const ticket = (await run1('person', 'ticket', 'nina', ...asOfficer())).trim()
      expect(ticket).toMatch(/^[\w-]{43}$/)

      const { stdin, stdout, stderr, exited } = spawned(gridseal('login', 'enrol', '--session', join(folder, 'nina.session')))
      stdin.write(`${ticket}\n${PASSWORD}\n${PASSWORD}\n`)
      const secret = await eventually('the secret', () => Promise.resolve(/type its secret there: ([A-Z2-7]{32})/.exec(stderr())?.[1]))
      expect(stderr()).toMatch(/████ ▄▄▄▄▄ █/)
      stdin.write(`${totpOf(secret, new Date(Date.now() - STEP_MS))}\n`)
      expect(await exited).toBe(0)
      expect(stdout().trim().split('\n')).toHaveLength(10)

      const session = join(folder, 'nina.session')
      const { device } = JSON.parse(readFileSync(session, 'utf8')) as { device: object }
      expect(device).toMatchObject({ name: 'nina' })
      const args = gridseal('login', '--name', 'nina', '--session', session)
      const { heard, code } = await talk(
        'script',
        ['-qefc', [process.execPath, ...args].map((arg) => `'${arg}'`).join(' '), '/dev/null'],
        [
          [/Password: $/, () => PASSWORD],
          [/Code of the authenticator: $/, () => totpOf(secret, new Date())],
        ],
      )
      expect(code, heard).toBe(0)
      expect(heard).toMatch(/You are urn:gridseal:auditor:nina/)
      expect(heard).not.toContain(PASSWORD)
      expect(statSync(session).mode & 0o777).toBe(0o600)

      expect((await run1('audit', 'search', 'operation:policies.totp.confirm', '--session', session)).split('\n')[0]).toMatch(
        /"operation":"policies\.totp\.confirm"/,
      )
      expect(await run1('audit', 'search', 'person:alice AND code:ok', '--count', 'role', '--session', session)).toMatch(/\d {2}officer/)
      await expect(run1('audit', 'search', 'code:ok AND colour:red', '--session', session)).rejects.toMatchObject({
        stderr: expect.stringMatching(/column 13: colour is no field/) as string,
      })
      expect(await run1('login', 'sessions', '--session', session)).toMatch(/open +from 127\.0\.0\.1/)
      expect(await run1('person', 'sessions', 'nina', ...asOfficer())).toMatch(/open +from 127\.0\.0\.1/)
      expect(await run1('person', 'list', ...asOfficer())).toMatch(/person {6}nina\npersonId .*\nlogin {7}password and codes/)
      expect(await run1('login', 'out', '--session', session)).toBe('You are logged out.\n')
      await expect(run1('audit', 'search', '--session', session)).rejects.toMatchObject({ stderr: expect.stringMatching(/has no session/) as string })
      expect(JSON.parse(readFileSync(session, 'utf8')), 'the device stays known').toEqual({ device })
      await expect(run1('person', 'ticket', 'nobody-there', ...asOfficer())).rejects.toMatchObject({
        stderr: 'gridseal: There is no person named nobody-there. gridseal person list shows them.\n',
      })
    },
    120_000,
  )

  function spawned(args: readonly string[]): { stdin: Writable; stdout: () => string; stderr: () => string; exited: Promise<number> } {
    const child = spawn(process.execPath, args, { stdio: 'pipe' })
    let [out, err] = ['', '']
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')))
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString('utf8')))
    return { stdin: child.stdin, stdout: () => out, stderr: () => err, exited: once(child, 'exit').then(([code]: unknown[]) => code as number) }
  }
})

describe('the log', () => {
  it('has each of these refusals: those before a decision as counts by address and code', async () => {
    // The aggregate is written once a minute, and when the service stops; an export after the next start has it.
    await service.stop()
    service = await startService({ data: join(folder, 'data') })
    auditor = { ...auditor, client: new ApiClient({ url: service.url, trust, certificate: auditor.certificate, key: auditor.key }) }
    const counted = await entriesNamed('system.requests-failed-early', () => true)
    const counts = counted.flatMap(({ facts }) => (facts as { counts: string[] }).counts).join('\n')
    for (const what of [/127\.0\.0\.3 login-delayed \d/, /127\.0\.0\.1 cross-site \d/, /127\.0\.0\.2 unauthenticated \d/]) expect(counts).toMatch(what)
    expect(readFileSync(join(folder, 'people/root.pem'), 'utf8')).toBe(trust)
  })
})

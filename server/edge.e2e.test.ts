import { execFile, execFileSync } from 'node:child_process'
import { createHash, X509Certificate } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { programArguments } from '../clients/site.ts'
import { EdgeSite, ExpectedRefusals, JSON_TYPE, problemOf, type Told, type Wanted, type Who } from './testing/edge-site.ts'
import { readiness, WELL } from './testing/health.ts'
import { describedIn, type OpenApi, seedsOf } from './testing/fuzz.ts'

const KEYS = '/v1/kms/keys'
const NOWHERE = '01890000-0000-7000-8000-000000000000'
const STACK = /\bat \w.*:\d+:\d+/

let site: EdgeSite
/** Of the policy that runs. */
let revision: string
beforeAll(async () => {
  site = await EdgeSite.open()
  revision = createHash('sha256')
    .update(readFileSync(join(site.crash.data, 'policy.yaml')))
    .digest('hex')
    .slice(0, 16)
})
afterAll(() => site.close())

const refused = async (who: Who, wanted: Wanted): Promise<Told> => problemOf(await site.changesNothing(() => site.ask(who, wanted)))
const post = (path: string, body: unknown = {}): Wanted => ({ method: 'POST', path, body: JSON.stringify(body), headers: JSON_TYPE })

describe('what the policy does not allow: 403, with rule and revision, and an entry', () => {
  const refusals = new ExpectedRefusals()
  const forbidden: readonly (readonly [claim: string, ask: () => readonly [Who, Wanted], rule: string])[] = [
    [
      'a module that registers a vendor',
      () => [site.module, post('/v1/card-personalization/vendors', { name: 'X', callerName: 'x', encryptionCertificate: 'x' })],
      'default',
    ],
    ['an officer who makes a key', () => [site.alice, post(KEYS, { label: 'x', algorithm: 'ec-p256' })], 'default'],
    ['a vendor that approves an order', () => [site.vendor, post(`/v1/card-personalization/orders/${NOWHERE}/approve`)], 'default'],
    ['a vendor that looks at the log', () => [site.vendor, { path: '/v1/policies/audit/entries' }], 'default'],
    ['an officer who looks at the log', () => [site.alice, { path: '/v1/policies/audit/export' }], 'default'],
    [
      'an auditor who registers a caller',
      () => [site.auditor, post('/v1/policies/callers', { kind: 'officer', name: 'eve' })],
      'guard:auditors-change-nothing',
    ],
    ['an auditor who signs', () => [site.auditor, post(`${KEYS}/${NOWHERE}/sign`, { items: [{ message: '' }] })], 'guard:auditors-use-no-key'],
  ]
  it.each(forbidden)('%s', async (_claim, ask, rule) => {
    const told = await refused(...ask())
    expect(told.code).toBe('forbidden')
    expect(told.detail).toContain(rule === 'default' ? 'no rule of the policy allows it' : `rule ${rule}`)
    expect(told.detail).toContain(`revision ${revision}`)
    refusals.add(told, { decision: { effect: 'deny', rule, revision } })
  })

  it('a key that is not there looks like another’s: in what is said, and in what the log says of it', async () => {
    const { keyId } = await site.otherModule.client.post<{ keyId: string }>(KEYS, { label: 'own', algorithm: 'ec-p256' })
    for (const wanted of [
      { path: `${KEYS}/ID` },
      post(`${KEYS}/ID/sign`, { items: [{ message: 'YQ==' }] }),
      post(`${KEYS}/ID/verify`, { items: [{ message: 'YQ==', signature: 'YQ==' }] }),
    ]) {
      const [foreign, unknown] = [
        await refused(site.module, { ...wanted, path: wanted.path.replace('ID', keyId) }),
        await refused(site.module, { ...wanted, path: wanted.path.replace('ID', NOWHERE) }),
      ]
      expect(foreign.code).toBe('forbidden')
      expect({ ...foreign, operationId: '' }).toEqual({ ...unknown, operationId: '' })
      expect(foreign.detail).not.toContain('traffic')
      for (const told of [foreign, unknown]) refusals.add(told, { decision: { effect: 'deny', rule: 'default', revision } })
    }
  })

  it('what is not there is told to who may know: 404 after the decision, with an entry', async () => {
    const cases: readonly (readonly [Who, Wanted, string])[] = [
      [site.alice, { path: `/v1/kms/certificates/${'0'.repeat(32)}` }, 'officers-people'],
      [site.alice, post(`/v1/kms/certificates/${'0'.repeat(32)}/revoke`, { reason: 'superseded' }), 'officers-people'],
      [site.alice, post(`/v1/policies/callers/${NOWHERE}/revoke`), 'officers-people'],
      [site.alice, post('/v1/kms/certificates', { callerId: NOWHERE, csr: 'x' }), 'officers-people'],
      [site.alice, post(`/v1/card-personalization/vendors/${NOWHERE}/transport-keys`), 'officers-personalization'],
      [site.auditor, { path: `/v1/policies/audit/operations/${NOWHERE}` }, 'auditors'],
    ]
    for (const [who, wanted, rule] of cases) {
      const told = await refused(who, wanted)
      expect(told, wanted.path).toMatchObject({ code: 'not-found', detail: expect.stringMatching(/^(There is no|The log has no)/) as string })
      refusals.add(told, { decision: { effect: 'allow', rule, revision } })
    }
  })

  it('what the state does not allow is a conflict, with an entry: a label taken, a caller registered, oneself revoked, a request for a certificate that is none', async () => {
    await site.module.client.post(KEYS, { label: 'taken', algorithm: 'ec-p256' })
    const cases: readonly (readonly [Who, Wanted, string])[] = [
      [site.module, post(KEYS, { label: 'taken', algorithm: 'hmac-sha256' }), 'conflict'],
      [site.alice, post('/v1/policies/callers', { kind: 'module', name: 'billing' }), 'conflict'],
      [site.alice, post(`/v1/policies/callers/${site.alice.callerId}/revoke`), 'conflict'],
      [site.alice, post('/v1/kms/certificates', { callerId: site.module.callerId, csr: 'not a request' }), 'request-invalid'],
    ]
    for (const [who, wanted, code] of cases) {
      const told = problemOf(await site.ask(who, wanted))
      expect(told.code, told.detail).toBe(code)
      const entries = await site.entriesOf(told.operationId)
      expect(entries.at(-1)).toMatchObject({ code })
      expect((await site.tables()).get('open_intents')).toMatch(/^0 /)
    }
  })

  it('and each of these refusals stands in the log', async () => {
    expect(await refusals.check(site)).toBe(forbidden.length + 3 * 2 + 6)
  })
})

describe('addresses and methods', () => {
  it.each([
    '/',
    '/v1',
    '/v1/',
    '/v1/kms',
    `${KEYS}/`,
    '/V1/KMS/KEYS',
    '//v1/kms/keys',
    '/v1/kms/../kms/keys',
    '/v1/kms%2fkeys',
    '/v1/kms/keys;a=b',
    '/readyz',
    '/metrics',
    '/openapi.json/',
    '/%',
    '/%ff',
    `/v1/${'a'.repeat(8000)}`,
  ])('%s: 404', async (path) => {
    expect(await refused(site.module, { path })).toMatchObject({
      code: 'not-found',
      detail: expect.stringMatching(/openapi\.json lists all there is/) as string,
    })
  })

  it.each([
    ['HEAD', KEYS, 'POST, GET'],
    ['OPTIONS', KEYS, 'POST, GET'],
    ['TRACE', KEYS, 'POST, GET'],
    ['PUT', KEYS, 'POST, GET'],
    ['DELETE', KEYS, 'POST, GET'],
    ['PATCH', `${KEYS}/x/sign`, 'POST'],
    ['GET', `${KEYS}/x/sign`, 'POST'],
    ['POST', '/v1/policies/audit/export', 'GET'],
    ['HEAD', '/v1/policies/audit/export', 'GET'],
    ['PROPFIND', '/openapi.json', 'GET'],
    ['HEAD', '/openapi.json', 'GET'],
    ['POST', '/openapi.json', 'GET'],
  ])('%s %s: 405, and allow says %s', async (method, path, allow) => {
    const reply = await site.changesNothing(() => site.ask(site.module, { method, path }))
    expect({ status: reply.status, allow: reply.headers['allow'] }).toEqual({ status: 405, allow })
    if (method === 'HEAD') expect(reply.text).toBe('')
    else expect(problemOf(reply)).toMatchObject({ code: 'method-not-allowed', detail: `This address takes ${allow.replace(', ', ' and ')}.` })
  })

  it('CONNECT and OPTIONS * get nowhere', async () => {
    const tunnel = await site.exchange(site.module, ['CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n'], { untilMs: 2000 })
    expect(tunnel).toMatchObject({ replies: [], isClosed: true })
    const { replies } = await site.exchange(site.module, ['OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'])
    expect(replies.map((reply) => problemOf(reply).code)).toEqual(['not-found'])
  })
})

describe('/openapi.json', () => {
  it('is OpenAPI 3.1 of exactly the operations: each once, each with its parameters, answers and problems, every reference resolved', async () => {
    const reply = await site.ask({}, { path: '/openapi.json' })
    expect(reply.headers['content-type']).toBe('application/json; charset=utf-8')
    const document = JSON.parse(reply.text) as OpenApi
    expect(document.openapi).toMatch(/^3\.1\.\d+$/)
    expect(Object.keys(document).sort()).toEqual(['components', 'info', 'openapi', 'paths', 'security'])
    const operations = describedIn(document)
    expect(operations.map(({ operationId }) => operationId).sort()).toEqual(Object.keys(await seedsOf(site)).sort())
    for (const { path, method } of operations) {
      const op = document.paths[path]?.[method.toLowerCase()] as unknown as {
        parameters?: { name: string; in: string; required?: boolean; schema: object }[]
        responses: Record<string, { content: object }>
        requestBody?: object
        summary: string
      }
      const inPath = (op.parameters ?? []).filter((parameter) => parameter.in === 'path')
      expect(inPath.map(({ name, required }) => [name, required])).toEqual([...path.matchAll(/\{(\w+)\}/g)].map((match) => [match[1], true]))
      expect(Object.keys(op.responses)).toEqual([expect.stringMatching(/^20[012]$/), 'default'])
      expect(op.responses['default']?.content).toEqual({ 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } })
      expect(op.summary).toMatch(/\.$/)
      if (method === 'GET') expect(op.requestBody).toBeUndefined()
    }
    const references = [...reply.text.matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1] ?? '')
    expect(references.length).toBeGreaterThan(0)
    for (const reference of new Set(references)) {
      const found = reference
        .split('/')
        .slice(1)
        .reduce<unknown>((at, step) => (at as Record<string, unknown>)[step.replaceAll('~1', '/').replaceAll('~0', '~')], document)
      expect(reference.startsWith('#/') && typeof found === 'object', reference).toBe(true)
    }
  })

  it('names actions of the policy: a policy of all of them compiles, but for the one that is not there', async () => {
    const document = JSON.parse((await site.ask({}, { path: '/openapi.json' })).text) as OpenApi
    const rules = [...describedIn(document).map(({ operationId }) => operationId), 'kms.key.export'].map(
      (name, at) => `      - { id: r${String(at)}, verdict: allow, reason: x, callers: ["officer:*"], operations: [${name}] }`,
    )
    const failed = await startFailing({
      policy: `policy: 2\nowner: x\nzones: { all: { others: true } }\nchains:\n  - name: all\n    zones: [all]\n    rules:\n${rules.join('\n')}\n`,
    })
    expect(failed).toContain('other-policy.yaml: the policy cannot be used')
    expect(failed.match(/no operation is named .*/g)).toEqual(['no operation is named kms.key.export'])
  })
})

/**
 * What `gridseal serve` says when it must not start; it ends by itself, with exit code 1. Where a policy is in the way it is on a data folder of its own: the file counts
 * until a service has once started with it.
 */
function startFailing({ policy, env = {} }: { readonly policy?: string; readonly env?: Readonly<Record<string, string>> }): Promise<string> {
  const file = join(site.crash.folder, 'other-policy.yaml')
  if (policy !== undefined) writeFileSync(file, policy)
  const settings = {
    GRIDSEAL_DATA: policy === undefined ? site.crash.data : join(site.crash.folder, 'unborn'),
    GRIDSEAL_TLS_PORT: '0',
    GRIDSEAL_PLAIN_PORT: '0',
    ...(policy === undefined ? {} : { GRIDSEAL_POLICY: file }),
    ...env,
  }
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [...programArguments(), 'serve'],
      { env: { ...process.env, ...settings }, timeout: 60_000, killSignal: 'SIGKILL' },
      (error, stdout, stderr) => {
        if (error?.code === 1) resolve(stderr)
        else reject(new Error(`it ended with ${String(error?.code ?? error?.signal ?? 0)}: ${stdout}${stderr}`))
      },
    )
  })
}

const RULE = '      - { id: a, verdict: allow, reason: x, callers: ["officer:*"], operations: ["*"] }'
const TEST = '  - name: alice may\n    ask: { caller: "officer:alice", operation: kms.key.sign }\n    expect: { verdict: allow }\n'
const policyOf = (rules: string): string =>
  `policy: 2\nowner: x\nzones: { all: { others: true } }\nchains:\n  - name: all\n    zones: [all]\n    rules:\n${rules}\n`

describe('a start that cannot be', () => {
  it.each([
    ['is not YAML', 'policy: 2\nchains:\n  - name: [a\n', /line [34], column/],
    ['is of version 1', 'policy: 1\nrules: []\n', /line 1, column 9: policy: found 1, expected 2.*docs\/policy\.md/],
    ['has a rule twice', policyOf(`${RULE}\n${RULE}`), /line 9, column 15: .*there is a rule named a already/],
    ['names a zone that is none', policyOf(RULE.replace(' operations', ' zones: [plant], operations')), /line 8, column 77: .*no zone is named plant/],
    ['has a verdict that is none', policyOf(RULE.replace('allow', 'permit')), /line 8, column 27: .*found "permit", expected one of allow, deny, hold/],
    ['fails its own test', `${policyOf(RULE)}tests:\n${TEST}`, /line 12, column 13: test "alice may": found deny by default, expected allow/],
  ])('a policy that %s: it says where', async (_claim, policy, place) => {
    const said = await startFailing({ policy })
    expect(said).toMatch(place)
    expect(said).toContain('other-policy.yaml')
    expect(said).not.toMatch(STACK)
  })

  it.each(['GRIDSEAL_TLS_PORT', 'GRIDSEAL_PLAIN_PORT'])('a port that another has, as %s: it says so, and ends', async (setting) => {
    const { port } = new URL(site.service.url)
    const said = await startFailing({ env: { [setting]: port } })
    expect(said).toContain(`${setting}: cannot listen on 127.0.0.1:${port}: another program has it`)
    expect(said).not.toMatch(STACK)
  })
})

describe('the plain listener', () => {
  const ask = (path: string, init: RequestInit = {}): Promise<Response> => fetch(`${site.service.plainUrl}${path}`, { redirect: 'error', ...init })

  it('tells health, the CAs, the log’s key', async () => {
    expect(await readiness(site.service.plainUrl)).toEqual(WELL)
    expect((await ask('/healthz')).status).toBe(200)
    expect(await (await ask('/audit/key')).text()).toMatch(/^\S+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+\n$/)
    for (const name of ['root', 'callers', 'cards']) {
      const pem = await (await ask(`/ca/${name}.pem`)).text()
      expect(new X509Certificate(pem).subject).toContain(`CN=Gridseal ${name} CA`)
      expect(pem).not.toContain('PRIVATE')
    }
  })

  it('has metrics that name operations, and nobody and nothing else', async () => {
    expect((await site.ask(site.module, { path: KEYS })).status).toBe(200)
    const text = await (await ask('/metrics')).text()
    expect(text.split('\n')).toContainEqual(expect.stringMatching(/^gridseal_operations_total\{operation="kms\.key\.list",code="ok"\} \d+$/))
    const labels = new Set([...text.matchAll(/(\w+)="([^"]*)"/g)].map((match) => match[1]))
    const values = [...text.matchAll(/operation="([^"]*)"/g)].map((match) => match[1] ?? '')
    const { paths } = JSON.parse((await site.ask({}, { path: '/openapi.json' })).text) as OpenApi
    const names = new Set(describedIn({ openapi: '', paths }).map(({ operationId }) => operationId))
    expect([...new Set(values)].filter((value) => !names.has(value))).toEqual([])
    expect(
      [...labels].filter((label) => !['operation', 'code', 'le', 'type', 'space', 'kind', 'version', 'major', 'minor', 'patch'].includes(String(label))),
    ).toEqual([])
    // Of each line the names alone: a figure may have any digits.
    const named = text.replaceAll(/ [0-9.e+-]+$/gm, '')
    for (const secret of [site.vendor.vendorId, site.vendor.callerId, 'billing', 'acme', '8986', site.vendor.transportKeyId])
      expect(named).not.toContain(secret)
  })

  it.each([
    '/',
    '/ca/',
    '/ca/root',
    '/ca/other.pem',
    '/ca/constructor.pem',
    '/ca/../healthz',
    '/ca/%2e%2e/root.pem',
    '/openapi.json',
    '/v1/kms/keys',
    '/audit/',
    '/health',
    '/healthz/x',
    '/READYZ',
  ])('has nothing at %s', async (path) => {
    const { hostname, port } = new URL(site.service.plainUrl)
    const said = execFileSync('curl', ['-s', '--path-as-is', '-o', '/dev/null', '-w', '%{http_code}', `http://${hostname}:${port}${path}`], {
      encoding: 'utf8',
    })
    expect(said).toBe('404')
  })

  it('takes GET and HEAD alone', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])
      expect((await ask('/readyz', { method, ...(method === 'POST' ? { body: '{}' } : {}) })).status, method).toBe(405)
    const head = await ask('/ca/root.pem', { method: 'HEAD' })
    expect({ status: head.status, text: await head.text() }).toEqual({ status: 200, text: '' })
  })

  it('does not speak to TLS clients, nor the TLS listener to plain ones', async () => {
    await expect(fetch(site.service.plainUrl.replace('http:', 'https:'))).rejects.toThrow(/fetch failed/)
    await expect(fetch(site.service.url.replace('https:', 'http:'))).rejects.toThrow(/fetch failed/)
  })
})

import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import type { OpenSession } from '../policies/people/index.ts'
import { SessionIdentities } from './session-identity.ts'
import { whoCalls } from './who-calls.ts'

const TOKEN = 'T'.repeat(43)
const person = { id: 'p1', name: 'chen' }
const chen: OpenSession = { caller: { kind: 'auditor', name: 'chen', id: 'c1', person }, sessionId: 's1', address: '10.1.0.1', certificate: undefined }

interface From {
  readonly address?: string | undefined
  /** As Node shows fingerprints. */
  readonly fingerprint?: string
}
const request = (headers: Record<string, string>, { address = '10.1.0.1', fingerprint }: From = {}, method = 'GET'): IncomingMessage =>
  ({
    ...{ method, headers: { host: 'h', ...headers } },
    socket: { remoteAddress: address, getPeerX509Certificate: () => (fingerprint === undefined ? undefined : { fingerprint256: fingerprint }) },
  }) as never
const bearer = (token = TOKEN): Record<string, string> => ({ authorization: `Bearer ${token}` })
const cookie = { cookie: `__Host-gridseal-session=${TOKEN}` }

function open(session: OpenSession | undefined = chen) {
  const state: { session: OpenSession | undefined; asked: number; nowMs: number; readonly stolen: object[] } = { session, asked: 0, nowMs: 0, stolen: [] }
  const sessions = new SessionIdentities({
    findSession: (token) => {
      state.asked += 1
      return Promise.resolve(token === TOKEN ? state.session : undefined)
    },
    endStolen: (stolen) => {
      state.stolen.push(stolen)
      state.session = undefined
      return Promise.resolve()
    },
    nowMs: () => state.nowMs,
  })
  return { state, sessions }
}

describe('who comes by a session', () => {
  it('is who it was opened as, by header or cookie', async () => {
    const { sessions } = open()
    const caller = { ...chen.caller, address: '10.1.0.1', listener: 'tls', strength: 'password+totp', session: 's1' }
    expect(await sessions.callerOf(request(bearer()))).toEqual(caller)
    expect(await sessions.callerOf(request(cookie))).toEqual(caller)
    expect(await sessions.callerOf(request({ ...bearer(), cookie: '__Host-gridseal-session=other' }))).toEqual(caller)
    expect(await sessions.callerOf(request({}))).toBeUndefined()
  })

  it('is asked for once a second, so that its end works on an open connection', async () => {
    const { sessions, state } = open()
    for (let at = 0; at < 10; at++) await sessions.callerOf(request(bearer()))
    expect(state.asked).toBe(1)
    state.session = undefined
    state.nowMs = 1000
    await expect(sessions.callerOf(request(bearer()))).rejects.toMatchObject({ code: 'unauthenticated' })
  })

  it.each([
    ['another address', chen, { address: '10.6.6.6' }, 'address'],
    ['a certificate that was not there', chen, { fingerprint: 'AA:BB' }, 'certificate'],
    ['another certificate', { ...chen, certificate: 'aabb' }, { fingerprint: 'AA:CC' }, 'certificate'],
    ['no certificate any more', { ...chen, certificate: 'aabb' }, {}, 'certificate'],
  ])('from %s is nobody, and the session ends, once', async (_what, session, from: From, differs) => {
    const { sessions, state } = open(session)
    const tried = Array.from({ length: 20 }, () => sessions.callerOf(request(bearer(), from)))
    for (const one of tried) await expect(one).rejects.toMatchObject({ code: 'unauthenticated' })
    expect(state.stolen).toEqual([{ sessionId: 's1', address: from.address ?? '10.1.0.1', differs }])
    await expect(sessions.callerOf(request(bearer())), 'for who it was opened by too').rejects.toMatchObject({ code: 'unauthenticated' })
  })

  it('bound to a certificate comes with it', async () => {
    const { sessions } = open({ ...chen, certificate: 'aabb' })
    expect(await sessions.callerOf(request(bearer(), { fingerprint: 'AA:BB' }))).toMatchObject({ certificate: 'aabb', strength: 'password+totp' })
  })

  it.each(['Basic YTpi', 'Bearer', 'Bearer short', `Bearer ${TOKEN}x`, `Bearer ${TOKEN} ${TOKEN}`, TOKEN, ''])(
    'is nobody by the header %j, whatever else is shown',
    async (authorization) => {
      const { sessions } = open()
      await expect(sessions.callerOf(request({ authorization, ...cookie }))).rejects.toMatchObject({ code: 'unauthenticated' })
    },
  )

  it('by cookie comes from a page of the service, before anything is looked up', async () => {
    const { sessions, state } = open()
    await expect(sessions.callerOf(request({ ...cookie, 'sec-fetch-site': 'cross-site' }, {}, 'POST'))).rejects.toMatchObject({ code: 'cross-site' })
    expect(state.asked).toBe(0)
    expect(await sessions.callerOf(request({ ...cookie, 'sec-fetch-site': 'same-origin' }, {}, 'POST'))).toBeDefined()
    expect(await sessions.callerOf(request(bearer(), {}, 'POST')), 'no browser adds this header for another site').toBeDefined()
  })
})

describe('who calls', () => {
  const officer = { kind: 'officer', name: 'alice', id: 'a1', person: { id: 'p2', name: 'alice' }, certificate: 'aabb' } as const
  const module = { kind: 'module', name: 'billing', id: 'm1', certificate: 'ccdd' } as const
  const by = (certified: typeof officer | typeof module, session?: OpenSession) =>
    whoCalls({ identities: { callerOf: () => Promise.resolve(certified) }, sessions: open(session).sessions })
  const ctx = (headers: Record<string, string> = {}) => ({ req: request(headers, { fingerprint: 'AA:BB' }) })

  it('is the session before the certificate, and a session that is no good is not passed over', async () => {
    expect(await by(officer, { ...chen, certificate: 'aabb' })(ctx(bearer()), undefined)).toMatchObject({ kind: 'auditor', session: 's1' })
    expect(await by(officer)(ctx(), undefined)).toEqual(officer)
    await expect(by(officer)(ctx(bearer('X'.repeat(43))), undefined)).rejects.toMatchObject({ code: 'unauthenticated' })
  })

  it('for oneself is the person, in no role; a module is what it is', async () => {
    expect(await by(officer)(ctx(), 'self')).toMatchObject({ kind: 'person', name: 'alice', id: 'p2', certificate: 'aabb' })
    expect(await by(officer, { ...chen, certificate: 'aabb' })(ctx(bearer()), 'self')).toMatchObject({ kind: 'person', name: 'chen', id: 'p1', session: 's1' })
    expect(await by(module)(ctx(), 'self')).toEqual(module)
  })

  it('of what is open to anybody is nobody, whatever is shown', async () => {
    expect(await by(officer)(ctx(bearer()), 'anonymous')).toEqual({
      ...{ kind: 'anonymous', name: 'nobody', id: 'urn:gridseal:anonymous:nobody' },
      ...{ address: '10.1.0.1', listener: 'tls', certificate: 'aabb' },
    })
  })
})

import { execFileSync } from 'node:child_process'
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import * as pkcs11 from 'pkcs11js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Participant } from '../clients/site.ts'
import { encodeName } from '../kms/certificates/names.ts'
import { type AuthorityName, compileProfile, type ProfileName, subjectOf } from '../kms/certificates/profile.ts'
import { assembleCertificate, keyIdentifier, serialFrom, spliceTbs } from '../kms/certificates/splice.ts'
import { findSoftHsm } from '../pkcs11/token-folder.ts'
import { EdgeSite, JSON_TYPE, problemOf, type Told, type Wanted, type Who } from './testing/edge-site.ts'
import { describedIn, type OpenApi } from './testing/fuzz.ts'
import { eventually } from './testing/processes.ts'

const KEYS = '/v1/kms/keys'
const DAY_MS = 86_400_000

let site: EdgeSite
beforeAll(async () => {
  site = await EdgeSite.open()
})
afterAll(() => site.close())

const refused = async (who: Who, wanted: Wanted): Promise<Told> => problemOf(await site.changesNothing(() => site.ask(who, wanted)))
const post = (path: string, body: unknown): Wanted => ({ method: 'POST', path, body: JSON.stringify(body), headers: JSON_TYPE })

describe('who is nobody', () => {
  interface Forged {
    readonly profile: ProfileName
    /** Default: a year around now. */
    readonly from?: number
    readonly to?: number
    /** Signs the TBSCertificate: raw r||s. */
    readonly sign: (tbs: Uint8Array) => Uint8Array
  }

  /** A certificate that says all that the module's says, but for what is told. */
  function forge({ profile, from = Date.now() - DAY_MS, to = Date.now() + 365 * DAY_MS, sign: signTbs }: Forged): Required<Who> {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const spki = publicKey.export({ type: 'spki', format: 'der' })
    const authority: AuthorityName = profile === 'tls-server' || profile === 'client' ? 'callers' : 'root'
    const issuer = { name: encodeName(subjectOf.authority('Gridseal', authority)), keyIdentifier: keyIdentifier(authorityKey(authority)) }
    const tbs = spliceTbs(compileProfile(profile, issuer, 'Gridseal'), {
      serial: serialFrom(randomBytes(16)),
      notBefore: new Date(from),
      notAfter: new Date(to),
      subject: encodeName(subjectOf.client('Gridseal', { kind: 'module', name: 'billing' })),
      spki,
      names: [{ kind: 'uri', value: 'urn:gridseal:module:billing' }],
    })
    const der = Buffer.from(assembleCertificate(tbs, signTbs(tbs)))
    return { certificate: new X509Certificate(der).toString(), key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
  }

  const authorities = new Map<AuthorityName, Buffer>()
  const authorityKey = (name: AuthorityName): Buffer => authorities.get(name) ?? Buffer.alloc(0)
  beforeAll(async () => {
    for (const name of ['root', 'callers', 'cards'] as const) {
      const pem = await (await fetch(`${site.service.plainUrl}/ca/${name}.pem`)).text()
      authorities.set(name, new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' }))
    }
  })

  /** With a CA key of the token itself: what only somebody who has the token and its PIN can do. */
  const withToken =
    (label: string) =>
    (tbs: Uint8Array): Uint8Array => {
      process.env['SOFTHSM2_CONF'] = join(site.crash.data, 'token/softhsm2.conf')
      const token = new pkcs11.PKCS11()
      token.load(findSoftHsm())
      token.C_Initialize()
      try {
        const slot = token.C_GetSlotList(true).find((id) => token.C_GetTokenInfo(id).label.trim() === 'gridseal')
        const session = token.C_OpenSession(slot ?? Buffer.alloc(0), pkcs11.CKF_SERIAL_SESSION)
        token.C_Login(session, pkcs11.CKU_USER, readFileSync(join(site.crash.data, 'pins/user.pin'), 'utf8').trim())
        token.C_FindObjectsInit(session, [
          { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PRIVATE_KEY },
          { type: pkcs11.CKA_LABEL, value: label },
        ])
        const [key] = token.C_FindObjects(session, 1)
        token.C_FindObjectsFinal(session)
        token.C_SignInit(session, { mechanism: pkcs11.CKM_ECDSA }, key ?? Buffer.alloc(0))
        return token.C_Sign(session, createHash('sha256').update(tbs).digest(), Buffer.alloc(64))
      } finally {
        token.C_Finalize()
        token.close()
      }
    }
  const withOwnKey =
    (key: KeyObject) =>
    (tbs: Uint8Array): Uint8Array =>
      sign('sha256', tbs, { key, dsaEncoding: 'ieee-p1363' })
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey

  const strangers: readonly (readonly [claim: string, make: () => Who, detail: RegExp])[] = [
    ['without a certificate', () => ({}), /^Present a client certificate/],
    ['with one of a CA of the same name and another key', () => forge({ profile: 'client', sign: withOwnKey(own) }), /not of the callers’ CA/],
    ['with one signed by itself', () => selfSigned(), /not of the callers’ CA/],
    [
      'with the service’s own TLS certificate',
      () => ({
        certificate: readFileSync(join(site.crash.data, 'tls/certificate.pem'), 'utf8'),
        key: readFileSync(join(site.crash.data, 'tls/key.pem'), 'utf8'),
      }),
      /not of the callers’ CA/,
    ],
    ['with one of the callers’ CA for servers', () => forge({ profile: 'tls-server', sign: withToken('root:ca-callers') }), /not for client authentication/],
    [
      'with one of the callers’ CA that has ended',
      () => forge({ profile: 'client', from: Date.now() - 2 * DAY_MS, to: Date.now() - DAY_MS, sign: withToken('root:ca-callers') }),
      /not valid now/,
    ],
    [
      'with one of the callers’ CA that has not begun',
      () => forge({ profile: 'client', from: Date.now() + DAY_MS, sign: withToken('root:ca-callers') }),
      /not valid now/,
    ],
    ['with one of the callers’ CA that nobody registered', () => forge({ profile: 'client', sign: withToken('root:ca-callers') }), /not registered here/],
    [
      'with one of the callers’ CA in name, signed by the cards’ CA',
      () => forge({ profile: 'client', sign: withToken('root:ca-cards') }),
      /not of the callers’ CA/,
    ],
    ['with one of the callers’ CA in name, signed by the root', () => forge({ profile: 'client', sign: withToken('root:ca-root') }), /not of the callers’ CA/],
    ['with a CA of the root’s, its own', () => forge({ profile: 'callers-ca', sign: withToken('root:ca-root') }), /not of the callers’ CA/],
  ]
  it.each(strangers)('%s: 401', async (_claim, make, detail) => {
    const who = make()
    expect(await refused(who, { path: KEYS })).toMatchObject({ code: 'unauthenticated', detail: expect.stringMatching(detail) as string })
    expect(await refused(who, post(KEYS, { label: 'x', algorithm: 'ec-p256' }))).toMatchObject({ code: 'unauthenticated' })
  })

  function selfSigned(): Required<Who> {
    const [key, certificate] = ['self.key.pem', 'self.pem'].map((name) => join(site.crash.folder, name)) as [string, string]
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-keyout',
        key,
        '-out',
        certificate,
        '-subj',
        '/O=Gridseal/OU=callers/CN=officer:alice',
        '-addext',
        'extendedKeyUsage=clientAuth',
      ],
      { stdio: 'pipe' },
    )
    return { certificate: readFileSync(certificate, 'utf8'), key: readFileSync(key, 'utf8') }
  }

  it('sees nothing of what there is: every operation answers 401 before it looks at anything, and what is not there 404', async () => {
    const document = JSON.parse((await site.ask({}, { path: '/openapi.json' })).text) as OpenApi
    for (const { method, path, isOpen } of describedIn(document)) {
      // Logging in is for who is nobody yet: server/people.e2e.test.ts.
      if (isOpen) continue
      const reply = await site.ask({}, { method, path: path.replaceAll(/\{\w+\}/g, 'x'), headers: { 'content-type': 'text/plain' } })
      expect(problemOf(reply).code, path).toBe('unauthenticated')
    }
  })
})

describe('who is revoked stops within 5 s, on the connection that is open', () => {
  /** One connection for all requests, as long as it lasts. */
  class OneConnection {
    readonly #agent: Agent
    readonly sessions: Buffer[] = []
    readonly reused: boolean[] = []
    constructor(who: Participant) {
      this.#agent = new Agent({ ...(site.tlsOptions(who) as object), keepAlive: true, maxSockets: 1 })
    }

    status(): Promise<number> {
      return new Promise((resolve, reject) => {
        const sent = request(`${site.service.url}${KEYS}`, { agent: this.#agent }, (response) => {
          this.reused.push(sent.reusedSocket)
          response.resume().on('end', () => resolve(response.statusCode ?? 0))
        })
        sent.on('socket', (socket) => (socket as TLSSocket).on('session', (session: Buffer) => this.sessions.push(session)))
        sent.on('error', reject).end()
      })
    }
  }

  const revocations: readonly (readonly [what: string, revoke: (who: Participant) => Promise<unknown>])[] = [
    ['the caller', ({ callerId }) => site.alice.client.post(`/v1/policies/callers/${callerId}/revoke`)],
    [
      'its certificate alone',
      ({ certificate }) =>
        site.alice.client.post(`/v1/kms/certificates/${new X509Certificate(certificate).serialNumber.toLowerCase()}/revoke`, { reason: 'keyCompromise' }),
    ],
  ]
  it.each(revocations)('%s; and a TLS session is not resumed', async (what, revoke) => {
    const who = await site.crash.enrol('module', `leaving-${String(what.length)}`)
    const connection = new OneConnection(who)
    const old = await site.connect(who, { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' })
    const session = old.getSession()
    for (let at = 0; at < 5; at++) expect(await connection.status()).toBe(200)
    await revoke(who)
    const began = performance.now()
    await eventually('401 on the open connection', async () => ((await connection.status()) === 401 ? true : undefined), { timeoutMs: 5000, everyMs: 20 })
    expect(performance.now() - began).toBeLessThan(5000)
    expect(connection.reused.slice(1).every(Boolean), 'one connection all the time').toBe(true)

    for (const known of [...connection.sessions, ...(session === undefined ? [] : [session])]) {
      const socket = await site.connect(who, { session: known, ...(known === session ? { maxVersion: 'TLSv1.2' as const } : {}) })
      expect(socket.isSessionReused()).toBe(false)
      socket.destroy()
    }
    expect(await refused(who, { path: KEYS })).toMatchObject({ code: 'unauthenticated', detail: expect.stringMatching(/revoked/) as string })
    old.destroy()
    if (what === 'its certificate alone')
      expect((await site.alice.client.get<{ callers: { callerId: string; state: string }[] }>('/v1/policies/callers')).callers).toContainEqual(
        expect.objectContaining({ callerId: who.callerId, state: 'active' }),
      )
  })
})

import { randomBytes, X509Certificate } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { base64 } from '../../../core/bytes.ts'
import { newUuid } from '../../../core/ids.ts'
import type { Problem } from '../../../core/problem.ts'
import { type CallerKind, systemCaller } from '../../../policies/caller.ts'
import { perform } from '../../../policies/gate.ts'
import type { AnyOperation } from '../../../policies/operation.ts'
import { memoryGate } from '../../../policies/testing/memory-gate.ts'
import { csrDer, pemOf } from '../../testing/make-csr.ts'
import { MemoryCertificateStore } from '../../testing/memory-stores.ts'
import { softwareHsm, softwareSealer } from '../../testing/software-hsm.ts'
import type { CertificateDeps, Registration } from './deps.ts'
import { establishAuthoritiesOperation } from './establish-authorities.ts'
import { getAuthorityOperation } from './get-authority.ts'
import { getCertificateOperation } from './get-certificate.ts'
import { issueCertificateOperation } from './issue-certificate.ts'
import { issueServiceCertificateOperation } from './issue-service-certificate.ts'
import { revokeCertificateOperation } from './revoke-certificate.ts'

const officer = { kind: 'officer', name: 'wang', id: newUuid() } as const
const system = systemCaller('start')

function world() {
  const sealer = softwareSealer()
  const hsm = softwareHsm(sealer)
  const certificates = new MemoryCertificateStore(sealer)
  const registrations = new Map<string, Registration>()
  const clock = { now: new Date('2026-11-23T10:00:00Z') }
  const deps: CertificateDeps = {
    hsm,
    sealer,
    certificates,
    callers: { find: (id) => Promise.resolve(registrations.get(id)) },
    cardFacts: () => Promise.resolve({ region: '330106', cardState: 'delivered' }),
    now: () => clock.now,
    random: randomBytes,
    organization: 'Gridseal',
  }
  const gate = memoryGate()
  const ask = async <Output>(op: AnyOperation, body: unknown, caller: Parameters<typeof perform>[2]['caller'] = officer): Promise<Output> =>
    (await perform(gate, op, { caller, body })) as Output
  const register = (kind: CallerKind, name: string, state: Registration['state'] = 'active'): string => {
    const id = newUuid()
    registrations.set(id, { id, kind, name, state, version: 1 })
    return id
  }
  const establish = () => ask<{ authorities: View[] }>(establishAuthoritiesOperation(deps), {}, system)
  const issue = async (body: object) => ask<View & { chain: string }>(issueCertificateOperation(deps), body)
  return { sealer, hsm, certificates, deps, gate, clock, ask, register, establish, issue }
}

interface View {
  readonly serial: string
  readonly certificate: string
  readonly state: string
  readonly fingerprint: string
  readonly revokedAt?: string
  readonly reason?: string
  readonly notAfter: string
}

/** Of CN=officer:root, which nobody believes. */
const csr = () => pemOf(csrDer())
const problemOf = (work: Promise<unknown>): Promise<Problem> =>
  work.then(
    () => expect.unreachable('it was not refused'),
    (error: unknown) => error as Problem,
  )

let at: ReturnType<typeof world>
beforeEach(() => {
  at = world()
})

describe('establishing the authorities', () => {
  test('issues three certificates once, and none again', async () => {
    const first = await at.establish()
    const second = await at.establish()
    expect(first.authorities).toHaveLength(3)
    expect(second.authorities.map(({ serial }) => serial).sort()).toEqual(first.authorities.map(({ serial }) => serial).sort())
    expect(at.hsm.uses()).toBe(1)
  })

  test('serials and digests are recorded before anything is signed', async () => {
    at.hsm.fail = 'before'
    expect((await problemOf(at.establish())).code).toBe('hsm-unavailable')
    const rows = [...at.certificates.rows.values()]
    expect(rows.map(({ record }) => record.state)).toEqual(['reserved', 'reserved', 'reserved'])
    expect(rows.every(({ record }) => record.tbsSha256.length === 32 && record.der === undefined)).toBe(true)
  })

  test('after a failure it starts again with new serials', async () => {
    at.hsm.fail = 'after'
    await problemOf(at.establish())
    at.hsm.fail = 'no'
    expect((await at.establish()).authorities).toHaveLength(3)
    expect(at.certificates.rows.size).toBe(6)
  })

  test('a signature that does not verify is never issued', async () => {
    at.hsm.corrupt = true
    expect((await problemOf(at.establish())).code).toBe('hsm-failed')
    expect([...at.certificates.rows.values()].some(({ record }) => record.state === 'issued')).toBe(false)
  })

  test('refuses when the token holds other keys than the certificates', async () => {
    await at.establish()
    const other = world()
    const op = establishAuthoritiesOperation({ ...at.deps, hsm: other.hsm })
    expect((await problemOf(at.ask(op, {}, system))).code).toBe('integrity-failed')
  })

  test('the chain is answered from the authority up to the root', async () => {
    expect((await problemOf(at.ask(getAuthorityOperation(at.deps), { name: 'callers' }))).code).toBe('not-found')
    await at.establish()
    const { chain } = await at.ask<{ chain: string }>(getAuthorityOperation(at.deps), { name: 'callers' })
    const [callers, root] = pems(chain).map((pem) => new X509Certificate(pem))
    expect(callers?.checkIssued(root as X509Certificate)).toBe(true)
    expect(root?.checkIssued(root)).toBe(true)
    expect(pems(chain)).toHaveLength(2)
  })
})

const pems = (text: string): string[] => text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/g) ?? []

describe('issuing to a caller', () => {
  beforeEach(() => at.establish())

  test('the names are those of the registration, whatever the CSR wishes for', async () => {
    const callerId = at.register('vendor', 'acme.cards')
    const issued = await at.issue({ callerId, csr: csr() })
    const certificate = new X509Certificate(issued.certificate)
    expect(certificate.subjectAltName).toBe('URI:urn:gridseal:vendor:acme.cards')
    expect(certificate.subject).toBe('O=Gridseal\nOU=callers\nCN=vendor:acme.cards')
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2'])
    expect(certificate.ca).toBe(false)
    expect(certificate.checkIssued(new X509Certificate(pems(issued.chain)[0] as string))).toBe(true)
    expect(issued.notAfter).toBe('2027-11-23T10:00:00.000Z')
  })

  test('the outcome in the log names the row as it is now, and the intent its serial', async () => {
    const issued = await at.issue({ callerId: at.register('module', 'billing'), csr: csr() })
    const [intent, outcome] = at.gate.log.entries.slice(-2)
    expect(intent?.facts?.public).toMatchObject({ serial: issued.serial, authority: 'callers', subjectKind: 'module' })
    expect(outcome?.facts?.rows).toMatchObject([{ table: 'certificates', id: issued.serial, version: 2 }])
  })

  test.each([
    ['an unknown registration', () => ({ callerId: newUuid(), csr: csr() }), 'not-found'],
    ['a revoked registration', () => ({ callerId: at.register('vendor', 'gone', 'revoked'), csr: csr() }), 'conflict'],
    ['a CSR that is none', () => ({ callerId: at.register('vendor', 'acme'), csr: 'junk' }), 'request-invalid'],
    ['826 days', () => ({ callerId: at.register('vendor', 'acme'), csr: csr(), validityDays: 826 }), 'request-invalid'],
    ['0 days', () => ({ callerId: at.register('vendor', 'acme'), csr: csr(), validityDays: 0 }), 'request-invalid'],
    ['names of the asker', () => ({ callerId: at.register('vendor', 'acme'), csr: csr(), dnsNames: ['x'] }), 'request-invalid'],
  ])('refuses %s: no serial is taken, no key used', async (_what, body, code) => {
    const before = { rows: at.certificates.rows.size, uses: at.hsm.uses() }
    expect((await problemOf(at.issue(body()))).code).toBe(code)
    expect({ rows: at.certificates.rows.size, uses: at.hsm.uses() }).toEqual(before)
  })

  test('a refused CSR says where the fault is, and stands in the log as a refusal', async () => {
    const problem = await problemOf(at.issue({ callerId: at.register('vendor', 'acme'), csr: 'junk' }))
    expect(problem.faults).toMatchObject([{ pointer: '/csr' }])
    expect(at.gate.log.entries.at(-1)).toMatchObject({ kind: 'refusal', code: 'request-invalid' })
  })

  test('an edited row of the callers CA stops issuing before a key is used', async () => {
    const ca = [...at.certificates.rows.values()].find(({ record }) => record.subjectId === 'callers')
    if (ca === undefined) throw new Error('the CA is there')
    const row = { ...ca.sealed.row, columns: { ...ca.sealed.row.columns, not_after: Date.UTC(2099, 0) } }
    at.certificates.rows.set(ca.record.serial, { record: { ...ca.record, notAfter: new Date(Date.UTC(2099, 0)) }, sealed: { ...ca.sealed, row } })
    const uses = at.hsm.uses()
    expect((await problemOf(at.issue({ callerId: at.register('vendor', 'acme'), csr: csr() }))).code).toBe('integrity-failed')
    expect(at.hsm.uses()).toBe(uses)
  })

  test('a signature that does not verify is not recorded as issued', async () => {
    at.hsm.corrupt = true
    expect((await problemOf(at.issue({ callerId: at.register('vendor', 'acme'), csr: csr() }))).code).toBe('hsm-failed')
    expect(at.gate.log.entries.at(-1)).toMatchObject({ kind: 'outcome', code: 'hsm-failed' })
  })

  test('near the end of the CA a certificate ends with it, and after it none is issued', async () => {
    at.clock.now = new Date('2036-11-01T00:00:00Z')
    const issued = await at.issue({ callerId: at.register('vendor', 'acme'), csr: csr() })
    expect(issued.notAfter).toBe('2036-11-22T10:00:00.000Z')
    at.clock.now = new Date('2036-11-23T00:00:00Z')
    expect((await problemOf(at.issue({ callerId: at.register('vendor', 'b'), csr: csr() }))).code).toBe('conflict')
  })
})

test('before the authorities are established nothing is issued', async () => {
  expect((await problemOf(at.issue({ callerId: at.register('vendor', 'acme'), csr: csr() }))).code).toBe('conflict')
})

describe('certificates of the service', () => {
  const service = (body: object) => at.ask<View>(issueServiceCertificateOperation(at.deps), body, system)
  beforeEach(() => at.establish())

  test('the delivery key gets one for five years, of its key in the token', async () => {
    const certificate = new X509Certificate((await service({ purpose: 'delivery' })).certificate)
    expect(certificate.publicKey.export({ format: 'der', type: 'spki' })).toEqual(at.hsm.rootPublicKey('root:delivery' as never))
    expect(certificate.subjectAltName).toBe('URI:urn:gridseal:service:delivery')
    expect(certificate.validTo).toBe('Nov 23 10:00:00 2031 GMT')
  })

  test('the TLS listener gets one for 90 days, for its names and addresses', async () => {
    const spki = base64(at.hsm.rootPublicKey('root:delivery' as never))
    const issued = await service({ purpose: 'tls-server', spki, dnsNames: ['localhost', 'grid.example'], ipAddresses: ['127.0.0.1', '::1'] })
    const certificate = new X509Certificate(issued.certificate)
    expect(certificate.checkHost('grid.example')).toBe('grid.example')
    expect(certificate.checkIP('::1')).toBe('::1')
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1'])
    expect(certificate.validTo).toBe('Feb 21 10:00:00 2027 GMT')
  })

  test.each(['*.grid.example', 'a..b', '-a.example', 'grid.example.', 'A.example', 'urn:x', '10.0.0.1/8'])('the host name %s is refused', async (name) => {
    const body = { purpose: 'tls-server', spki: '', dnsNames: [name], ipAddresses: [] }
    expect((await problemOf(service(body))).code).toBe('request-invalid')
  })
})

describe('revoking', () => {
  let serial: string
  const revoke = (body: object) => at.ask<View>(revokeCertificateOperation(at.deps), body)
  const get = (of: string) => at.ask<View>(getCertificateOperation(at.deps), { serial: of })

  beforeEach(async () => {
    await at.establish()
    serial = (await at.issue({ callerId: at.register('vendor', 'acme'), csr: csr() })).serial
  })

  test('is final and says when and why', async () => {
    expect(await get(serial)).toMatchObject({ state: 'issued' })
    await revoke({ serial, reason: 'keyCompromise' })
    expect(await get(serial)).toMatchObject({ state: 'revoked', reason: 'keyCompromise', revokedAt: '2026-11-23T10:00:00.000Z' })
  })

  test('again with the same reason answers the same and changes nothing', async () => {
    const first = await revoke({ serial, reason: 'superseded' })
    at.clock.now = new Date('2026-12-01T00:00:00Z')
    expect(await revoke({ serial, reason: 'superseded' })).toEqual(first)
    expect(at.certificates.rows.get(serial)?.record.version).toBe(3)
    expect(at.gate.log.entries.at(-1)?.facts).toMatchObject({ public: { changed: false }, rows: [] })
  })

  test('again with another reason is a conflict', async () => {
    await revoke({ serial, reason: 'superseded' })
    expect((await problemOf(revoke({ serial, reason: 'keyCompromise' }))).code).toBe('conflict')
  })

  test.each(['certificateHold', 'removeFromCRL', 'because', ''])('the reason %j is refused', async (reason) => {
    expect((await problemOf(revoke({ serial, reason }))).code).toBe('request-invalid')
  })

  test('of two at once one wins and the other is told', async () => {
    const results = await Promise.allSettled([revoke({ serial, reason: 'superseded' }), revoke({ serial, reason: 'keyCompromise' })])
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(at.certificates.rows.get(serial)?.record.version).toBe(3)
  })

  test('an unknown serial and a reserved one are both not there', async () => {
    at.hsm.fail = 'before'
    await problemOf(at.issue({ callerId: at.register('vendor', 'b'), csr: csr() }))
    const reserved = [...at.certificates.rows.values()].find(({ record }) => record.state === 'reserved')?.record.serial ?? ''
    for (const absent of [reserved, '40'.repeat(16)]) {
      expect((await problemOf(revoke({ serial: absent, reason: 'superseded' }))).code).toBe('not-found')
      expect((await problemOf(get(absent))).code).toBe('not-found')
    }
  })

  test('the certificate of an authority is not revoked this way', async () => {
    const root = [...at.certificates.rows.values()].find(({ record }) => record.subjectId === 'root')?.record.serial
    expect((await problemOf(revoke({ serial: root, reason: 'superseded' }))).code).toBe('conflict')
  })

  test('a revocation that was edited away is refused, not believed', async () => {
    const before = at.certificates.rows.get(serial)
    await revoke({ serial, reason: 'keyCompromise' })
    const after = at.certificates.rows.get(serial)
    if (before === undefined || after === undefined) throw new Error('the certificate is there')
    const { revoked: _, ...record } = after.record
    const { reason: _reason, revoked_at: _at, ...columns } = after.sealed.row.columns
    const row = { ...after.sealed.row, columns: { ...columns, state: 'issued' } }
    at.certificates.rows.set(serial, { record: { ...record, state: 'issued' }, sealed: { row, mac: after.sealed.mac } })
    expect((await problemOf(get(serial))).code).toBe('integrity-failed')
    expect((await problemOf(revoke({ serial, reason: 'keyCompromise' }))).code).toBe('integrity-failed')
  })
})

import { execFileSync } from 'node:child_process'
import { generateKeyPairSync, randomBytes, sign, X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { base64, hex, sha256 } from '../../core/bytes.ts'
import { REVOCATION_REASONS, type RevocationReason } from './certificate.ts'
import { assembleCrl, crlEntry, encodeTbsCrl, listedIn } from './crl.ts'
import { type PlannedCertificate, planCertificate } from './issuing.ts'
import { encodeName } from './names.ts'
import { subjectOf } from './profile.ts'
import { assembleCertificate, keyIdentifier } from './splice.ts'

const pair = () => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { spki: publicKey.export({ format: 'der', type: 'spki' }), privateKey }
}
const ca = pair()
const issuer = { name: encodeName(subjectOf.authority('Gridseal', 'root')), keyIdentifier: keyIdentifier(ca.spki) }
const raw = (tbs: Uint8Array, { privateKey } = ca) => sign('sha256', tbs, { key: privateKey, dsaEncoding: 'ieee-p1363' })

interface Entry {
  readonly serial: string
  readonly reason: RevocationReason
  readonly at: Date
}
const entry = (reason: RevocationReason = 'superseded', serial = `40${hex(randomBytes(15))}`): Entry => ({
  serial,
  reason,
  at: new Date('2026-11-20T10:00:00Z'),
})
const list = (entries: readonly Entry[], number = 1, thisUpdate = new Date()): Uint8Array => {
  const tbs = encodeTbsCrl({
    ...{ issuer, number, thisUpdate, nextUpdate: new Date(thisUpdate.getTime() + 7 * 86_400_000) },
    entries: Buffer.concat(entries.map(({ serial, reason, at }) => crlEntry({ serial, revoked: { at, reason } }))),
  })
  return assembleCrl(tbs, raw(tbs), ca.spki)
}

const folder = mkdtempSync(join(tmpdir(), 'gridseal-crl-'))
afterAll(() => rmSync(folder, { recursive: true }))
const file = (name: string, content: Uint8Array | string): string => {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}
const openssl = (...args: string[]): string => execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 26 })
const pemOf = (der: Uint8Array): string => `-----BEGIN X509 CRL-----\n${base64(der).replaceAll(/.{64}(?=.)/g, '$&\n')}\n-----END X509 CRL-----\n`

const NAMES: Readonly<Record<RevocationReason, string | undefined>> = {
  unspecified: undefined,
  keyCompromise: 'Key Compromise',
  affiliationChanged: 'Affiliation Changed',
  superseded: 'Superseded',
  cessationOfOperation: 'Cessation Of Operation',
  privilegeWithdrawn: 'Privilege Withdrawn',
}

describe('openssl reads a CRL', () => {
  test('of nothing', () => {
    const text = openssl('crl', '-inform', 'DER', '-in', file('0.crl', list([])), '-noout', '-text')
    expect(text).toMatch(/Version 2[^]*No Revoked Certificates/)
  })

  test.each(REVOCATION_REASONS)('of one, revoked for %s', (reason) => {
    const one = entry(reason)
    const text = openssl('crl', '-inform', 'DER', '-in', file('1.crl', list([one], 300)), '-noout', '-text')
    expect(text).toContain(`Serial Number: ${one.serial.toUpperCase()}`)
    expect(text).toContain('Revocation Date: Nov 20 10:00:00 2026 GMT')
    expect(/X509v3 CRL Reason Code: *\n *([A-Za-z ]+)/.exec(text)?.[1]).toBe(NAMES[reason])
    expect(/X509v3 CRL Number: *\n *([0-9]+)/.exec(text)?.[1]).toBe('300')
    expect(text.replaceAll(':', '').toLowerCase()).toContain(hex(issuer.keyIdentifier))
  })

  test('of 5,000', () => {
    const entries = Array.from({ length: 5000 }, () => entry())
    const text = openssl('crl', '-inform', 'DER', '-in', file('5000.crl', list(entries)), '-noout', '-text')
    expect([...text.matchAll(/Serial Number: ([0-9A-F]{32})/g)].map(([, serial]) => serial?.toLowerCase())).toEqual(entries.map(({ serial }) => serial))
  })
})

test('openssl verifies strictly with it: the good one passes, the revoked one does not', () => {
  const common = { organization: 'Gridseal', subjectKind: 'service', subjectId: 'x', now: new Date() } as const
  const signed = ({ tbs }: PlannedCertificate) => new X509Certificate(assembleCertificate(tbs, raw(tbs))).toString()
  const root = planCertificate({
    ...{ ...common, profile: 'root-ca', issuer: undefined, subject: subjectOf.authority('Gridseal', 'root'), names: [] },
    ...{ spki: ca.spki, random: randomBytes(16) },
  })
  const leaf = () =>
    planCertificate({
      ...common,
      profile: 'delivery',
      issuer,
      subject: subjectOf.service('Gridseal', 'x'),
      names: [],
      spki: pair().spki,
      random: randomBytes(16),
    })
  const [good, bad] = [leaf(), leaf()]
  const crl = file('v.pem', pemOf(list([entry('keyCompromise', bad.record.serial)])))
  const check = (one: PlannedCertificate) =>
    openssl('verify', '-x509_strict', '-crl_check', '-CRLfile', crl, '-CAfile', file('root.pem', signed(root)), file('leaf.pem', signed(one)))
  expect(check(good)).toContain(': OK')
  expect(() => check(bad)).toThrow(/certificate revoked/)
})

test('a signature of another key is never issued', () => {
  const tbs = encodeTbsCrl({ issuer, number: 1, thisUpdate: new Date(), nextUpdate: new Date(), entries: new Uint8Array() })
  expect(() => assembleCrl(tbs, raw(tbs, pair()), ca.spki)).toThrow('does not verify')
})

test.each([0, 1, 300])('%d entries are read back as they stand', (count) => {
  const entries = Array.from({ length: count }, (_, at) => entry(REVOCATION_REASONS[at % 6]))
  const der = list(entries)
  const listed = listedIn(der, { authority: 'root', digest: sha256(der), count })
  expect([...listed.serials]).toEqual(entries.map(({ serial }) => serial))
  expect(hex(listed.entries)).toBe(hex(Buffer.concat(entries.map(({ serial, reason, at }) => crlEntry({ serial, revoked: { at, reason } })))))
})

test('a list that was edited is not read', () => {
  const der = list([entry()])
  const at = { authority: 'root', digest: sha256(der), count: 1 } as const
  const edited = Buffer.from(der)
  edited[100] = (edited[100] ?? 0) ^ 1
  for (const attempt of [() => listedIn(edited, at), () => listedIn(der, { ...at, count: 2 })]) expect(attempt).toThrow('not the one that was issued')
})

test('a hundred thousand entries are built and read back', () => {
  const entries = Array.from({ length: 100_000 }, () => entry())
  const der = list(entries)
  expect(listedIn(der, { authority: 'root', digest: sha256(der), count: 100_000 }).serials.size).toBe(100_000)
})

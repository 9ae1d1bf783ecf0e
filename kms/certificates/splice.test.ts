import { execFileSync } from 'node:child_process'
import { generateKeyPairSync, randomBytes, sign, webcrypto, X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as asn1js from 'asn1js'
import fc from 'fast-check'
import * as pkijs from 'pkijs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hex } from '../../core/bytes.ts'
import { certificatePlanner, type PlannedCertificate, planCertificate } from './issuing.ts'
import { addressBytes, type DistinguishedName, encodeName, type GeneralName } from './names.ts'
import { type ProfileName, PROFILES, subjectOf } from './profile.ts'
import { assembleCertificate, keyIdentifier, serialFrom } from './splice.ts'

const NOW = new Date('2026-11-23T10:20:30.456Z')
const pair = () => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { spki: publicKey.export({ format: 'der', type: 'spki' }), privateKey }
}
const keys = { root: pair(), callers: pair(), cards: pair(), leaf: pair() }
const issuers = {
  root: { name: encodeName(subjectOf.authority('Gridseal', 'root')), keyIdentifier: keyIdentifier(keys.root.spki) },
  callers: { name: encodeName(subjectOf.authority('Gridseal', 'callers')), keyIdentifier: keyIdentifier(keys.callers.spki) },
  cards: { name: encodeName(subjectOf.authority('Gridseal', 'cards')), keyIdentifier: keyIdentifier(keys.cards.spki) },
}

interface Case {
  readonly profile: ProfileName
  readonly key: keyof typeof keys
  readonly subject: DistinguishedName
  readonly names: readonly GeneralName[]
}
const CASES: readonly Case[] = [
  { profile: 'root-ca', key: 'root', subject: subjectOf.authority('Gridseal', 'root'), names: [] },
  { profile: 'callers-ca', key: 'callers', subject: subjectOf.authority('Gridseal', 'callers'), names: [] },
  { profile: 'cards-ca', key: 'cards', subject: subjectOf.authority('Gridseal', 'cards'), names: [] },
  {
    profile: 'client',
    key: 'leaf',
    subject: subjectOf.client('Gridseal', { kind: 'vendor', name: 'acme.cards' }),
    names: [{ kind: 'uri', value: 'urn:gridseal:vendor:acme.cards' }],
  },
  {
    profile: 'tls-server',
    key: 'leaf',
    subject: subjectOf.service('Gridseal', 'tls-server'),
    names: [
      { kind: 'dns', value: 'localhost' },
      { kind: 'ip', value: '127.0.0.1' },
      { kind: 'ip', value: '::1' },
    ],
  },
  { profile: 'delivery', key: 'leaf', subject: subjectOf.service('Gridseal', 'delivery'), names: [{ kind: 'uri', value: 'urn:gridseal:service:delivery' }] },
  { profile: 'statement', key: 'leaf', subject: subjectOf.service('Gridseal', 'statement'), names: [{ kind: 'uri', value: 'urn:gridseal:service:statement' }] },
  {
    profile: 'card',
    key: 'leaf',
    subject: subjectOf.card('Gridseal', '89860123456789012345'),
    names: [{ kind: 'uri', value: 'urn:gridseal:card:89860123456789012345' }],
  },
]

const plan = ({ profile, key, subject, names }: Case, now = NOW, crlUrl?: string): PlannedCertificate =>
  planCertificate({
    profile,
    issuer: profile === 'root-ca' ? undefined : issuers[PROFILES[profile].issuer],
    organization: 'Gridseal',
    crlUrl,
    subject,
    subjectKind: 'service',
    subjectId: 'x',
    spki: keys[key].spki,
    names,
    now,
    random: randomBytes(16),
  })

const signed = (planned: PlannedCertificate): Uint8Array =>
  assembleCertificate(planned.tbs, sign('sha256', planned.tbs, { key: keys[planned.record.authority].privateKey, dsaEncoding: 'ieee-p1363' }))

/** The same certificate's TBS as pkijs builds it. */
async function builtByPkijs({ profile, key, subject, names }: Case, { record }: PlannedCertificate, crlUrl?: string): Promise<Uint8Array> {
  const engine = new pkijs.CryptoEngine({ name: 'node', crypto: webcrypto as Crypto })
  const certificate = new pkijs.Certificate()
  certificate.version = 2
  certificate.serialNumber = new asn1js.Integer({ valueHex: Uint8Array.from(Buffer.from(record.serial, 'hex')).buffer })
  const dn = (name: DistinguishedName) => {
    const types = { O: '2.5.4.10', OU: '2.5.4.11', CN: '2.5.4.3', serialNumber: '2.5.4.5' }
    // pkijs writes all attributes into one RDN, but keeps what it has read.
    const text = (type: string, value: string) => (type === 'serialNumber' ? new asn1js.PrintableString({ value }) : new asn1js.Utf8String({ value }))
    const rdn = (type: keyof typeof types, value: string) =>
      new asn1js.Set({ value: [new asn1js.Sequence({ value: [new asn1js.ObjectIdentifier({ value: types[type] }), text(type, value)] })] })
    return pkijs.RelativeDistinguishedNames.fromBER(new asn1js.Sequence({ value: name.map(([type, value]) => rdn(type, value)) }).toBER())
  }
  const issuer = PROFILES[profile].issuer
  certificate.issuer = dn(subjectOf.authority('Gridseal', issuer))
  certificate.subject = dn(subject)
  const at = (value: Date) => new pkijs.Time({ type: value.getUTCFullYear() < 2050 ? 0 : 1, value })
  certificate.notBefore = at(record.notBefore)
  certificate.notAfter = at(record.notAfter)
  await certificate.subjectPublicKeyInfo.importKey(
    await webcrypto.subtle.importKey('spki', keys[key].spki, { name: 'ECDSA', namedCurve: 'P-256' }, true, ['verify']),
    engine,
  )
  const extension = (extnID: string, critical: boolean, value: asn1js.BaseBlock) => new pkijs.Extension({ extnID, critical, extnValue: value.toBER() })
  const ca = { 'root-ca': 1, 'callers-ca': 0, 'cards-ca': 0 }[profile as string]
  const usage = ca === undefined ? { unusedBits: 7, byte: 0x80 } : { unusedBits: 1, byte: 0x06 }
  const purposes = { 'callers-ca': ['1.3.6.1.5.5.7.3.2'], 'client': ['1.3.6.1.5.5.7.3.2'], 'tls-server': ['1.3.6.1.5.5.7.3.1'] }[profile as string]
  const below = { 'callers-ca': 'callers', 'cards-ca': 'cards' }[profile as string]
  const keyId = (which: keyof typeof keys) => new asn1js.OctetString({ valueHex: Uint8Array.from(keyIdentifier(keys[which].spki)).buffer })
  const subtree = (type: 2 | 4 | 7, value: string | object) =>
    new pkijs.GeneralSubtree({ base: new pkijs.GeneralName({ type, value } as pkijs.GeneralNameParameters) })
  certificate.extensions = [
    extension('2.5.29.19', true, new pkijs.BasicConstraints(ca === undefined ? {} : { cA: true, pathLenConstraint: ca }).toSchema()),
    extension('2.5.29.15', true, new asn1js.BitString({ valueHex: Uint8Array.of(usage.byte).buffer, unusedBits: usage.unusedBits })),
    ...(purposes === undefined ? [] : [extension('2.5.29.37', false, new pkijs.ExtKeyUsage({ keyPurposes: purposes }).toSchema())]),
    ...(below === undefined
      ? []
      : [
          extension(
            '2.5.29.30',
            true,
            new pkijs.NameConstraints({
              permittedSubtrees: [
                subtree(
                  4,
                  dn([
                    ['O', 'Gridseal'],
                    ['OU', below],
                  ]),
                ),
              ],
              excludedSubtrees: [
                subtree(2, ''),
                subtree(7, new asn1js.OctetString({ valueHex: new ArrayBuffer(8) })),
                subtree(7, new asn1js.OctetString({ valueHex: new ArrayBuffer(32) })),
              ],
            }).toSchema(),
          ),
        ]),
    extension('2.5.29.35', false, new pkijs.AuthorityKeyIdentifier({ keyIdentifier: keyId(issuer) }).toSchema()),
    ...(crlUrl === undefined || profile === 'root-ca'
      ? []
      : [
          extension(
            '2.5.29.31',
            false,
            new pkijs.CRLDistributionPoints({
              distributionPoints: [
                new pkijs.DistributionPoint({ distributionPoint: [new pkijs.GeneralName({ type: 6, value: `${crlUrl}/crl/${issuer}.crl` })] }),
              ],
            }).toSchema(),
          ),
        ]),
    extension('2.5.29.14', false, keyId(key)),
    ...(names.length === 0
      ? []
      : [
          extension(
            '2.5.29.17',
            false,
            new pkijs.AltName({
              altNames: names.map(({ kind, value }) =>
                kind === 'ip'
                  ? new pkijs.GeneralName({ type: 7, value: new asn1js.OctetString({ valueHex: Uint8Array.from(addressBytes(value)).buffer }) })
                  : new pkijs.GeneralName({ type: kind === 'dns' ? 2 : 6, value }),
              ),
            }).toSchema(),
          ),
        ]),
  ]
  certificate.signature = new pkijs.AlgorithmIdentifier({ algorithmId: '1.2.840.10045.4.3.2' })
  return new Uint8Array(certificate.encodeTBS().toBER())
}

test.each(CASES)('the spliced TBS of $profile is the one that pkijs builds', async (one) => {
  const planned = plan(one)
  expect(hex(planned.tbs)).toBe(hex(await builtByPkijs(one, planned)))
})

test.each(CASES)('with a distribution point of the CRL as well: $profile', async (one) => {
  const planned = plan(one, NOW, 'http://pki.grid.example')
  expect(hex(planned.tbs)).toBe(hex(await builtByPkijs(one, planned, 'http://pki.grid.example')))
  expect(Buffer.from(planned.tbs).includes(`http://pki.grid.example/crl/${planned.record.authority}.crl`)).toBe(one.profile !== 'root-ca')
})

test('many that are planned together are each as if planned alone', () => {
  const card = CASES.at(-1) as Case
  const batch = { profile: 'card', issuer: issuers.cards, organization: 'Gridseal', now: NOW } as const
  const planOne = certificatePlanner(batch)
  for (const iccid of ['89860123456789012345', '8986012345678901239']) {
    const one = {
      ...{ subject: subjectOf.card('Gridseal', iccid), names: card.names, subjectKind: 'card' as const, subjectId: iccid },
      ...{ spki: pair().spki, random: randomBytes(16) },
    }
    expect(planOne(one)).toEqual(planCertificate({ ...batch, ...one }))
  }
})

describe('openssl', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gridseal-splice-'))
  const file = (name: string): string => join(folder, name)
  const openssl = (...args: string[]): string => execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  // valid now, whatever the clock of the machine says
  beforeAll(() => {
    for (const one of CASES) writeFileSync(file(`${one.profile}.pem`), new X509Certificate(signed(plan(one, new Date(), 'http://pki.grid.example'))).toString())
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  test.each([
    ['callers-ca', [], []],
    ['cards-ca', [], []],
    ['client', ['callers-ca'], ['-purpose', 'sslclient']],
    ['tls-server', [], ['-purpose', 'sslserver', '-verify_hostname', 'localhost']],
    ['tls-server', [], ['-purpose', 'sslserver', '-verify_ip', '::1']],
    ['delivery', [], []],
    ['statement', [], []],
    ['card', ['cards-ca'], []],
  ])('verifies %s strictly', (profile, between, options) => {
    const untrusted = between.flatMap((one) => ['-untrusted', file(`${one}.pem`)])
    expect(openssl('verify', '-x509_strict', '-CAfile', file('root-ca.pem'), ...untrusted, ...options, file(`${profile}.pem`))).toContain(': OK')
  })

  test.each([
    ['a client certificate as a server', ['-purpose', 'sslserver'], 'client'],
    ['a server certificate as a client', ['-purpose', 'sslclient'], 'tls-server'],
  ])('refuses %s', (_what, options, profile) => {
    expect(() =>
      openssl('verify', '-x509_strict', '-CAfile', file('root-ca.pem'), '-untrusted', file('callers-ca.pem'), ...options, file(`${profile}.pem`)),
    ).toThrow(/purpose/)
  })

  test.each([
    ['a DNS name', { names: [{ kind: 'dns', value: 'grid.example' }] as const, ou: 'callers' }],
    ['an IP address', { names: [{ kind: 'ip', value: '10.0.0.1' }] as const, ou: 'callers' }],
    ['a subject elsewhere', { names: [], ou: 'services' }],
  ])('the name constraints of the callers CA refuse %s', (_what, { names, ou }) => {
    const subject: DistinguishedName = [
      ['O', 'Gridseal'],
      ['OU', ou],
      ['CN', 'vendor:x'],
    ]
    writeFileSync(file('stray.pem'), new X509Certificate(signed(plan({ profile: 'client', key: 'leaf', subject, names }, new Date()))).toString())
    expect(() => openssl('verify', '-CAfile', file('root-ca.pem'), '-untrusted', file('callers-ca.pem'), file('stray.pem'))).toThrow(
      /excluded subtree violation|permitted subtree violation/,
    )
  })
})

test('a serial is positive, 16 bytes in its shortest form, and keeps 126 random bits', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (random) => {
      const serial = serialFrom(random)
      expect(serial.length).toBe(16)
      expect(serial[0]).toBeGreaterThanOrEqual(0x40)
      expect(serial[0]).toBeLessThan(0x80)
      expect(hex(serial.subarray(1))).toBe(hex(random.subarray(1)))
      expect((serial[0] ?? 0) & 0x3f).toBe((random[0] ?? 0) & 0x3f)
    }),
  )
})

test('a certificate ends no later than its issuer and begins no earlier', () => {
  const issuer = { ...issuers.callers, notBefore: new Date('2026-11-23T10:20:00Z'), notAfter: new Date('2027-01-01T00:00:00Z') }
  const client = CASES[3] as Case
  const { record } = planCertificate({
    ...{ profile: 'client', organization: 'Gridseal', subject: client.subject, names: client.names, subjectKind: 'caller', subjectId: 'x' },
    ...{ issuer, spki: keys.leaf.spki, now: NOW, random: randomBytes(16) },
  })
  expect([record.notBefore, record.notAfter]).toEqual([issuer.notBefore, issuer.notAfter])
})

test.each([
  ['10.0.0.1', '0a000001'],
  ['::', '00'.repeat(16)],
  ['::1', `${'00'.repeat(15)}01`],
  ['2001:db8::ff00:42:8329', '20010db8000000000000ff0000428329'],
  ['::ffff:192.0.2.1', '00000000000000000000ffffc0000201'],
])('the address %s is %s', (text, bytes) => {
  expect(hex(addressBytes(text))).toBe(bytes)
})

test.each(['localhost', '010.0.0.1', 'fe80::1%eth0', '1.2.3'])('%s is not an address', (text) => {
  expect(() => addressBytes(text)).toThrow(RangeError)
})

test('a name with a value over 64 characters is refused', () => {
  expect(() => encodeName([['CN', 'x'.repeat(65)]])).toThrow(RangeError)
})

test('the serial number of a subject is a PrintableString', () => {
  expect(hex(encodeName([['serialNumber', '8986']]))).toBe('300f310d300b060355040513043839 3836'.replace(' ', ''))
  expect(() => encodeName([['serialNumber', 'a@b']])).toThrow(RangeError)
})

import { X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeEncryptionPair } from './testing/certificates.ts'
import { countTables, officers, openPlace, person, type Place, Shop } from './testing/shop.ts'

let place: Place
let shop: Shop
const [alice, bob] = officers
const good = makeEncryptionPair()
const day = 86_400_000

beforeAll(async () => {
  place = await openPlace()
  shop = new Shop(place)
})
afterAll(() => place.close())

/** The certificate with the first of these bytes changed, hex. Nobody checks its own signature. */
function edited(pem: string, [from, to]: readonly [string, string]): string {
  const der = new X509Certificate(pem).raw.toString('hex')
  expect(der).toContain(from)
  const lines = Buffer.from(der.replace(from, to), 'hex').toString('base64').replaceAll(/.{64}/g, '$&\n')
  return `-----BEGIN CERTIFICATE-----\n${lines.trimEnd()}\n-----END CERTIFICATE-----\n`
}

const fingerprintOf = (pem: string): string => new X509Certificate(pem).fingerprint256
let at = 0
const register = (pem: string, callerName = `vendor-${at++}`): Promise<{ vendorId: string; fingerprint: string }> =>
  shop.call(alice, 'vendor.register', { name: 'Acme Cards Ltd', callerName, encryptionCertificate: pem })

describe('an encryption certificate', () => {
  it.each([
    ['of 2048 bits', () => makeEncryptionPair({ bits: 2048 }).pem, /must have 3072 to 4096 bits, it has 2048/],
    ['that has ended', () => makeEncryptionPair({ notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) }).pem, /not valid since/],
    [
      'that has not begun',
      () => makeEncryptionPair({ notBefore: new Date(Date.now() + day), notAfter: new Date(Date.now() + 2 * day) }).pem,
      /not valid before/,
    ],
    ['of a CA', () => makeEncryptionPair({ ca: true, keyUsage: 0x06 }).pem, /a CA certificate encrypts nothing/],
    ['for signatures only', () => makeEncryptionPair({ keyUsage: 0x80 }).pem, /key usage does not allow/],
    ['twice', () => good.pem + good.pem, /one certificate in PEM, and nothing else/],
    ['with text before', () => `Subject: x\n${good.pem}`, /one certificate in PEM/],
    ['with bytes behind', () => good.pem.replace('-----END', 'AAAA\n-----END'), /no X.509 certificate/],
    ['that is a key', () => good.privateKey, /one certificate in PEM/],
    ['that is nothing', () => '', /one certificate in PEM/],
    ['whose dates are none', () => edited(good.pem, ['170d323', '170d7a7']), /its dates cannot be read/],
    ['whose key is none', () => edited(good.pem, ['0282018100', '0382018100']), /its key or its extensions cannot be read/],
  ])('%s is refused, and nothing is left', async (_name, make, why) => {
    const before = await countTables(place.db)
    const problem = await shop.refused(alice, 'vendor.register', { name: 'x', callerName: 'x', encryptionCertificate: make() })
    expect(problem.code).toBe('request-invalid')
    expect(problem.faults).toMatchObject([{ pointer: '/encryptionCertificate', message: expect.stringMatching(why) as string }])
    expect(await countTables(place.db)).toEqual(before)
  })

  it('is registered with its fingerprint; a caller is a vendor once', async () => {
    expect(await register(good.pem, 'acme')).toMatchObject({
      state: 'registered',
      confirmedBy: [],
      fingerprint: fingerprintOf(good.pem).replaceAll(':', '').toLowerCase(),
    })
    expect((await shop.refused(bob, 'vendor.register', { name: 'Other', callerName: 'acme', encryptionCertificate: good.pem })).code).toBe('conflict')
  })
})

describe('a fingerprint', () => {
  it('is confirmed by two different officers; no transport key before', async () => {
    const { vendorId, fingerprint } = await register(good.pem)
    const early = await shop.refused(alice, 'transport-key.make', { vendorId })
    expect(early.detail).toMatch(/Two officers must confirm/)
    expect(await shop.call(alice, 'vendor.confirm', { vendorId, fingerprint: fingerprintOf(good.pem) })).toMatchObject({ state: 'half-confirmed' })
    expect((await shop.refused(alice, 'vendor.confirm', { vendorId, fingerprint })).detail).toMatch(/You have confirmed/)
    expect((await shop.refused(alice, 'transport-key.make', { vendorId })).code).toBe('conflict')
    expect(await shop.call(bob, 'vendor.confirm', { vendorId, fingerprint })).toMatchObject({
      state: 'confirmed',
      confirmedBy: ['urn:gridseal:officer:alice', 'urn:gridseal:officer:bob'],
    })
    expect((await shop.refused(person('officer', 'carol'), 'vendor.confirm', { vendorId, fingerprint })).detail).toMatch(/already/)
    const [one, two] = [await shop.call(alice, 'transport-key.make', { vendorId }), await shop.call(bob, 'transport-key.make', { vendorId })]
    expect(one).toMatchObject({
      number: 1,
      algorithm: 'aes-256',
      recipient: fingerprint,
      kcv: { method: expect.stringMatching(/^aes-(gp|cmac)$/) as string, value: expect.stringMatching(/^[0-9a-f]{6,10}$/) as string },
    })
    expect(two).toMatchObject({ number: 2 })
    expect(two['encryptedKey']).not.toBe(one['encryptedKey'])
    expect(await shop.call(alice, 'transport-key.get', { transportKeyId: one['transportKeyId'] })).toEqual(one)
  })

  it('that is wrong is refused and logged, and confirms nothing', async () => {
    const { vendorId } = await register(good.pem)
    const wrong = 'ab'.repeat(32)
    const problem = await shop.refused(alice, 'vendor.confirm', { vendorId, fingerprint: wrong })
    expect(problem).toMatchObject({ code: 'conflict', detail: expect.stringMatching(/not the fingerprint/) as string })
    expect(shop.entries.at(-1)).toMatchObject({
      kind: 'refusal',
      operation: 'card-personalization.vendor.confirm',
      code: 'conflict',
      facts: { public: { vendorId, fingerprint: wrong } },
    })
    expect(await shop.call(alice, 'vendor.get', { vendorId })).toMatchObject({ state: 'registered' })
    expect((await shop.refused(alice, 'vendor.confirm', { vendorId, fingerprint: 'ab' })).code).toBe('request-invalid')
    expect((await shop.refused(person('vendor', 'acme'), 'vendor.confirm', { vendorId, fingerprint: wrong })).code).toBe('forbidden')
  })

  it('confirmed twice at once by two officers counts twice or is told to try again', async () => {
    const { vendorId, fingerprint } = await register(good.pem)
    const ends = await Promise.allSettled([alice, bob].map((officer) => shop.call(officer, 'vendor.confirm', { vendorId, fingerprint })))
    const confirmed = ends.filter(({ status }) => status === 'fulfilled').length
    const { confirmedBy } = await shop.call<{ confirmedBy: string[] }>(alice, 'vendor.get', { vendorId })
    expect(confirmedBy).toHaveLength(confirmed)
  })

  it('of an edited certificate is refused with the row: nobody else’s key gets in', async () => {
    const { vendorId, fingerprint } = await register(good.pem)
    for (const officer of officers) await shop.call(officer, 'vendor.confirm', { vendorId, fingerprint })
    await place.db.ownerSql.query('UPDATE vendors SET certificate = $2 WHERE id = $1', [vendorId, makeEncryptionPair().der])
    const before = await countTables(place.db)
    expect((await shop.refused(alice, 'transport-key.make', { vendorId })).code).toBe('integrity-failed')
    await place.db.ownerSql.query(`UPDATE vendors SET certificate = $2, second_confirmer = NULL WHERE id = $1`, [vendorId, good.der])
    expect((await shop.refused(alice, 'vendor.get', { vendorId })).code).toBe('integrity-failed')
    expect(await countTables(place.db)).toEqual(before)
    await place.db.ownerSql.query('DELETE FROM vendors WHERE id = $1', [vendorId])
  })
})

describe('the profile', () => {
  it('is established once, also when two starts come together', async () => {
    const both = await Promise.allSettled([shop.feature.establishProfiles(), new Shop(place).feature.establishProfiles()])
    expect(both.some(({ status }) => status === 'fulfilled')).toBe(true)
    await shop.feature.establishProfiles()
    expect(await countTables(place.db)).toMatchObject({ card_profiles: 1, card_masters: 1, operator_keys: 1 })
  })
})

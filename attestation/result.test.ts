import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import fc from 'fast-check'
import { calculateJwkThumbprint, createLocalJWKSet, jwtVerify } from 'jose'
import { describe, expect, it } from 'vitest'
import { base64url, fromBase64url, utf8 } from '../core/bytes.ts'
import {
  type Appraisal,
  buildResult,
  compactResult,
  jwkOf,
  keySetOf,
  RESULT_PROFILE,
  resultSigningInput,
  type Status,
  statusOf,
  verifyResult,
} from './result.ts'

const spkiOf = (key: KeyObject): Uint8Array => key.export({ format: 'der', type: 'spki' })
const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const spki = spkiOf(publicKey)
const keySet = keySetOf([spkiOf(other.publicKey), spki])
const { kid } = jwkOf(spki)

const ISSUED = 1_790_000_000
const at = new Date(ISSUED * 1000)
const APPRAISAL: Appraisal = {
  issuedAt: ISSUED,
  expiresAt: ISSUED + 3600,
  nonce: new Uint8Array(32).fill(1),
  ueid: new Uint8Array(33).fill(1),
  vector: { 'instance-identity': 2, 'configuration': 2 },
  level: 'L1',
  reasons: [],
  method: 'evidence',
  binding: { state: 'bound', imei: '26053179311383', udid: '00112233-4455-6677-8899-aabbccddeeff' },
  build: '0.1.0',
}

const signed = (input: string, key = privateKey): string => compactResult(input, sign('sha256', utf8(input), { key, dsaEncoding: 'ieee-p1363' }))
const tokenOf = (change: Partial<Appraisal> = {}): string => signed(resultSigningInput(buildResult({ ...APPRAISAL, ...change }), kid))
const part = (value: unknown): string => base64url(utf8(JSON.stringify(value)))
/** A token of whatever claims, signed. */
const forged = (claims: unknown, header: unknown = { alg: 'ES256', typ: 'JWT', kid }): string => signed(`${part(header)}.${part(claims)}`)

const value = fc.integer({ min: -128, max: 127 })
const vector = fc.record({ 'instance-identity': value, 'configuration': value, 'sourced-data': value }, { requiredKeys: [] })
/** Worse is more. */
const RANK: Readonly<Record<Status, number>> = { affirming: 0, none: 1, warning: 2, contraindicated: 3 }

describe('a result', () => {
  it('is these claims', () => {
    expect(buildResult(APPRAISAL)).toEqual({
      eat_profile: 'tag:ietf.org,2026:rats/ear#03',
      iat: ISSUED,
      exp: ISSUED + 3600,
      ear_verifier_id: { developer: 'gridseal', build: '0.1.0' },
      submods: {
        card: {
          ear_status: 'affirming',
          ear_trustworthiness_vector: { 'instance-identity': 2, 'configuration': 2 },
          ear_appraisal_policy_ids: ['urn:gridseal:appraisal:1'],
          eat_nonce: 'AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE',
          ueid: 'AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB',
          gridseal_method: 'evidence',
          gridseal_level: 'L1',
          gridseal_reasons: [],
          gridseal_binding: { state: 'bound', imei: '26053179311383', udid: '00112233-4455-6677-8899-aabbccddeeff' },
        },
      },
    })
  })

  it('leaves out what is not known', () => {
    const { issuedAt, expiresAt, nonce, build } = APPRAISAL
    const { card } = buildResult({ issuedAt, expiresAt, nonce, build, vector: {}, reasons: ['mac-wrong'], method: 'cmac' }).submods
    expect(Object.keys(card)).toEqual([
      'ear_status',
      'ear_trustworthiness_vector',
      'ear_appraisal_policy_ids',
      'eat_nonce',
      'gridseal_method',
      'gridseal_reasons',
    ])
    expect(card.ear_status).toBe('none')
  })

  it('holds for an hour at most', () => {
    for (const expiresAt of [ISSUED + 3601, ISSUED, ISSUED - 1, Number.NaN]) expect(() => buildResult({ ...APPRAISAL, expiresAt })).toThrow(RangeError)
  })

  it('is verified, and says what was appraised', () => {
    const report = verifyResult({ token: tokenOf(), keySet, at, nonce: APPRAISAL.nonce })
    expect(report).toEqual({ ok: true, status: 'affirming', claims: buildResult(APPRAISAL) })
  })

  it('is verified by jose', async () => {
    const { payload, protectedHeader } = await jwtVerify(tokenOf(), createLocalJWKSet({ keys: [...keySet.keys] }), {
      currentDate: at,
      algorithms: ['ES256'],
      typ: 'JWT',
    })
    expect(payload).toEqual(buildResult(APPRAISAL))
    expect(protectedHeader).toEqual({ alg: 'ES256', typ: 'JWT', kid })
    expect(await calculateJwkThumbprint({ ...jwkOf(spki) })).toBe(kid)
  })

  it('that was changed is refused, by jose too', async () => {
    const token = tokenOf()
    const jwks = createLocalJWKSet({ keys: [...keySet.keys] })
    const edit = fc.record({ at: fc.nat(token.length - 1), put: fc.constantFrom(...Array.from('abcXYZ019-_.=+/ \n\u0000é')) })
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 3 }), async (edits) => {
        const changed = edits.reduce((text, { at: place, put }) => text.slice(0, place) + put + text.slice(place + 1), token)
        fc.pre(changed !== token)
        expect(verifyResult({ token: changed, keySet, at }).ok).toBe(false)
        const [, , signature = ''] = changed.split('.')
        // jose is lenient with the form of base64url.
        if (base64url(fromBase64url(signature)) === signature) await expect(jwtVerify(changed, jwks, { currentDate: at })).rejects.toBeInstanceOf(Error)
      }),
      { numRuns: 300 },
    )
  })

  it.each([
    ['another nonce', tokenOf(), { nonce: new Uint8Array(32).fill(2) }, 'it answers another nonce'],
    ['a nonce of another length', tokenOf(), { nonce: new Uint8Array(31).fill(1) }, 'it answers another nonce'],
    ['the time over', tokenOf(), { at: new Date((ISSUED + 3600) * 1000) }, 'it has expired'],
    ['a time to come', tokenOf(), { at: new Date((ISSUED - 61) * 1000) }, 'it was issued in the future'],
    ['no time', tokenOf(), { at: new Date(Number.NaN) }, 'there is no such time'],
    ['the key of another', tokenOf(), { keySet: keySetOf([spkiOf(other.publicKey)]) }, 'the key set has no key of this kid for ES256'],
    ['no keys', tokenOf(), { keySet: { keys: [] } }, 'the key set has no key of this kid for ES256'],
    ['no key set', tokenOf(), { keySet: undefined }, 'it cannot be read'],
    [
      'a key of that kid for something else',
      tokenOf(),
      { keySet: { keys: [{ ...jwkOf(spki), use: 'enc' }, null, 1] } },
      'the key set has no key of this kid for ES256',
    ],
    ['a key that is no point', tokenOf(), { keySet: { keys: [{ ...jwkOf(spki), x: 'AAAA' }] } }, 'it cannot be read'],
    ['a signature of another', signed(resultSigningInput(buildResult(APPRAISAL), kid), other.privateKey), {}, 'the signature is wrong'],
  ])('is refused with %s', (_, token, change, reason) => {
    expect(verifyResult({ token, keySet, at, ...change })).toEqual({ ok: false, reason })
  })

  it('is taken when the clock is behind by a minute, and until the last second', () => {
    for (const seconds of [-60, 0, 3599]) expect(verifyResult({ token: tokenOf(), keySet, at: new Date((ISSUED + seconds) * 1000) }).ok).toBe(true)
  })

  const claims = buildResult(APPRAISAL)
  const card = { ...claims.submods.card }
  const withCard = (change: object) => ({ ...claims, submods: { card: { ...card, ...change } } })
  it('is read from the claims that the forgeries are made of', () => {
    expect(verifyResult({ token: forged(claims), keySet, at }).ok).toBe(true)
    expect(verifyResult({ token: forged({ ...claims, jti: 'unknown claims are ignored' }), keySet, at })).toEqual({ ok: true, status: 'affirming', claims })
  })

  it.each<[string, unknown]>([
    ['a longer life', { ...claims, exp: ISSUED + 3601 }],
    ['an end before its beginning', { ...claims, iat: ISSUED + 30, exp: ISSUED + 20 }],
    ['no end', { ...claims, exp: undefined }],
    ['a fraction of a second', { ...claims, iat: ISSUED + 0.5 }],
    ['a time in text', { ...claims, iat: String(ISSUED) }],
    ['another profile', { ...claims, eat_profile: 'tag:github.com,2023:veraison/ear' }],
    ['no card', { ...claims, submods: {} }],
    ['another attester', { ...claims, submods: { card, other: card } }],
    ['a better status than a warning', withCard({ ear_trustworthiness_vector: { 'instance-identity': 2, 'configuration': 32 } })],
    ['no status where there is a warning', withCard({ ear_status: 'none', ear_trustworthiness_vector: { configuration: 32 } })],
    ['a better status than a claim that is not known', withCard({ ear_trustworthiness_vector: { 'instance-identity': 2, 'hardware': 96 } })],
    ['a status out of nothing', withCard({ ear_trustworthiness_vector: {} })],
    ['a claim of no tier', withCard({ ear_trustworthiness_vector: { configuration: 128 } })],
    ['a claim in text', withCard({ ear_trustworthiness_vector: { configuration: '2' } })],
    ['a status that is a number', withCard({ ear_status: 2 })],
    ['no nonce', withCard({ eat_nonce: '' })],
    ['no policy', withCard({ ear_appraisal_policy_ids: [] })],
    ['null', null],
    ['a list', [claims]],
  ])('that is signed is refused with %s', (_, body) => {
    expect(verifyResult({ token: forged(body), keySet, at }).ok).toBe(false)
  })

  it.each<[string, unknown]>([
    ['no algorithm', { alg: 'none', typ: 'JWT', kid }],
    ['a MAC', { alg: 'HS256', typ: 'JWT', kid }],
    ['another algorithm', { alg: 'ES384', typ: 'JWT', kid }],
    ['no kid', { alg: 'ES256', typ: 'JWT' }],
    ['another kid', { alg: 'ES256', typ: 'JWT', kid: 'x' }],
    ['another type', { alg: 'ES256', typ: 'at+jwt', kid }],
    ['its own key', { alg: 'ES256', typ: 'JWT', kid, jwk: jwkOf(spki) }],
    ['critical parameters', { alg: 'ES256', typ: 'JWT', kid, crit: ['b64'], b64: false }],
    ['a list as header', []],
  ])('is refused with %s', (_, header) => {
    expect(verifyResult({ token: forged(claims, header), keySet, at }).ok).toBe(false)
  })

  it('is refused without a signature', () => {
    const [header, payload] = tokenOf().split('.')
    for (const token of [`${header}.${payload}.`, `${header}.${payload}`, `${part({ alg: 'none', typ: 'JWT', kid })}.${payload}.`])
      expect(verifyResult({ token, keySet, at }).ok).toBe(false)
  })

  it('never throws, whatever it is', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(fc.json().map((text) => base64url(utf8(text)))).map((parts) => parts.join('.')),
        ),
        fc.anything(),
        (token, keys) => {
          expect(verifyResult({ token, keySet: keys, at }).ok).toBe(false)
        },
      ),
    )
    for (const token of ['', '.', '..', 'a'.repeat(1_000_000), '.'.repeat(1_000_000), '['.repeat(10_000)])
      expect(verifyResult({ token, keySet, at }).ok).toBe(false)
    expect(verifyResult({ token: `${base64url(utf8('['.repeat(9000)))}.e30.e30`, keySet, at }).ok).toBe(false)
  })

  it('has a signature of 64 bytes', () => {
    expect(() => compactResult('a.b', new Uint8Array(70))).toThrow(RangeError)
  })
})

describe('the status', () => {
  it('is never better than the worst claim', () => {
    fc.assert(
      fc.property(vector, (claims) => {
        const status = statusOf(claims)
        for (const [name, one] of Object.entries(claims)) if (one !== 0) expect(RANK[status]).toBeGreaterThanOrEqual(RANK[statusOf({ [name]: one })])
        const report = verifyResult({ token: tokenOf({ vector: claims }), keySet, at })
        expect(report.ok && report.status).toBe(status)
      }),
    )
  })

  it('that is better than the worst claim is refused, whoever signed', () => {
    fc.assert(
      fc.property(vector, fc.constantFrom<Status>('affirming', 'none', 'warning', 'contraindicated'), (claims, status) => {
        const body = buildResult({ ...APPRAISAL, vector: claims })
        const token = forged({ ...body, submods: { card: { ...body.submods.card, ear_status: status } } })
        expect(verifyResult({ token, keySet, at }).ok).toBe(RANK[status] >= RANK[statusOf(claims)])
      }),
    )
  })

  // draft-ietf-rats-ar4si 2.3.2.
  it.each<[Status, readonly number[]]>([
    ['none', [0, 1, -1]],
    ['affirming', [2, 31, -2, -32]],
    ['warning', [32, 95, -33, -96]],
    ['contraindicated', [96, 127, -97, -128]],
  ])('is %s for %j', (status, all) => {
    for (const one of all) expect(statusOf({ configuration: one })).toBe(status)
  })

  it('of no claim is none, and a claim that says nothing changes nothing', () => {
    expect(statusOf({})).toBe('none')
    expect(statusOf({ 'instance-identity': 2, 'sourced-data': 0 })).toBe('affirming')
    expect(statusOf({ 'instance-identity': 2, 'sourced-data': -1 })).toBe('none')
  })
})

describe('a public key', () => {
  it('is one of P-256 in DER', () => {
    for (const key of [generateKeyPairSync('ec', { namedCurve: 'P-384' }), generateKeyPairSync('ed25519')]) {
      expect(() => jwkOf(spkiOf(key.publicKey))).toThrow(RangeError)
    }
  })

  it('has nothing private', () => {
    expect(Object.keys(jwkOf(spki))).toEqual(['kty', 'crv', 'x', 'y', 'alg', 'use', 'kid'])
    expect(RESULT_PROFILE).toBe('tag:ietf.org,2026:rats/ear#03')
  })
})

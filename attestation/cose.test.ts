import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { base64url, concat, fromHex, hex, utf8 } from '../core/bytes.ts'
import { assembleSign1, readSign1, signatureInput, verifySign1 } from './cose.ts'

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const signed = (bytes: Uint8Array, key = privateKey): Uint8Array => sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' })
const tokenOf = (payload: Uint8Array): Uint8Array => assembleSign1({ payload, signature: signed(signatureInput({ payload })) })

const p256 = (x: string, y: string): KeyObject => createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' })

describe('COSE_Sign1', () => {
  it('reads back what it assembles, and verifies it', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (payload) => {
        const token = tokenOf(payload)
        const read = readSign1(token)
        expect(hex(read?.payload ?? utf8('none'))).toBe(hex(payload))
        expect(hex(token.subarray(0, 2))).toBe('d83d')
        expect(verifySign1(token, publicKey)).toBe(true)
        // Without the CWT tag it is a COSE_Sign1 still.
        expect(readSign1(token.subarray(2))).toEqual(read)
      }),
      { numRuns: 30 },
    )
  })

  it('is refused when any byte is changed', () => {
    const token = tokenOf(utf8('content'))
    for (let at = 0; at < token.length; at++) {
      const changed = Uint8Array.from(token)
      changed[at] = (changed[at] ?? 0) ^ 1
      const read = readSign1(changed)
      expect(read !== undefined && verifySign1(changed, publicKey)).toBe(false)
    }
  })

  it('is refused by another key, and by a key of another kind', () => {
    const token = tokenOf(utf8('content'))
    for (const other of [
      generateKeyPairSync('ec', { namedCurve: 'P-256' }),
      generateKeyPairSync('ec', { namedCurve: 'P-384' }),
      generateKeyPairSync('ed25519'),
      generateKeyPairSync('rsa', { modulusLength: 1024 }),
    ])
      expect(verifySign1(token, other.publicKey)).toBe(false)
  })

  it('signs the external data too', () => {
    const payload = utf8('content')
    const token = assembleSign1({ payload, signature: signed(signatureInput({ payload, externalAad: utf8('aad') })) })
    expect(verifySign1(token, publicKey, utf8('aad'))).toBe(true)
    expect(verifySign1(token, publicKey)).toBe(false)
  })

  it('has a signature of 64 bytes', () => {
    expect(() => assembleSign1({ payload: utf8(''), signature: new Uint8Array(63) })).toThrow(RangeError)
  })

  const body = `4161` + `5840${'11'.repeat(64)}`
  it.each([
    ['no tag', `8443a10126a0${body}`],
    ['the CWT tag alone', `d83d8443a10126a0${body}`],
    ['the CWT tag twice', `d83dd83dd28443a10126a0${body}`],
    ['the tags exchanged', `d2d83d8443a10126a0${body}`],
    ['another tag', `d18443a10126a0${body}`],
    ['a kid', `d28443a10126a1044131${body}`],
    ['no protected header', `d28440a0${body}`],
    ['an empty protected header', `d28441a0a0${body}`],
    ['an unprotected algorithm', `d28440a10126${body}`],
    ['another algorithm', `d28444a1013822a0${body}`],
    ['more in the protected header', `d28445a201260300a0${body}`],
    ['a payload that is elsewhere', `d28443a10126a0f65840${'11'.repeat(64)}`],
    ['a signature of 63 bytes', `d28443a10126a04161583f${'11'.repeat(63)}`],
    ['three parts', `d28343a10126a04161`],
    ['five parts', `d28543a10126a0${body}00`],
    ['a map', 'd2a0'],
    ['text', 'd26161'],
    ['nothing', ''],
  ])('is not read with %s', (_, encoded) => {
    expect(readSign1(fromHex(encoded))).toBeUndefined()
  })

  it('is not verified with critical parameters, or one in both headers', () => {
    const payload = utf8('content')
    // {1: -7, 2: [1]}, and {1: -7} with an unprotected {1: -7}.
    for (const [protectedHex, unprotectedHex] of [
      ['a20126028101', 'a0'],
      ['a10126', 'a10126'],
    ] as const) {
      const protectedBytes = fromHex(protectedHex)
      const signature = signed(signatureInput({ protectedBytes, payload }))
      const token = concat(
        Uint8Array.of(0xd2, 0x84, 0x40 + protectedBytes.length),
        protectedBytes,
        fromHex(unprotectedHex),
        Uint8Array.of(0x47),
        payload,
        fromHex('5840'),
        signature,
      )
      expect(verifySign1(token, publicKey)).toBe(false)
    }
  })
})

describe('published signatures', () => {
  // RFC 8392 A.3: key of A.2.3, signed CWT.
  it('takes the CWT of RFC 8392 A.3', () => {
    const key = p256(
      base64url(fromHex('143329cce7868e416927599cf65a34f3ce2ffda55a7eca69ed8919a394d42f0f')),
      base64url(fromHex('60f7f1a780d8a783bfb7a2dd6b2796e8128dbbcef9d3d168db9529971a36e7b9')),
    )
    const payload =
      'a70175636f61703a2f2f61732e6578616d706c652e636f6d02656572696b77037818636f61703a2f2f6c696768742e6578616d706c652e636f6d041a5612aeb0051a5610d9f0061a5610d9f007420b71'
    const signature = '5427c1ff28d23fbad1f29c4c7c6a555e601d6fa29f9179bc3d7438bacaca5acd08c8d4d4f96131680c429a01f85951ecee743a52b9b63632c57209120e1c9e30'
    expect(hex(signatureInput({ payload: fromHex(payload) }))).toBe(`846a5369676e61747572653143a10126405850${payload}`)
    expect(verifySign1(fromHex(`d28443a10126a05850${payload}5840${signature}`), key)).toBe(true)
    expect(hex(assembleSign1({ payload: fromHex(payload), signature: fromHex(signature) }))).toBe(`d83dd28443a10126a05850${payload}5840${signature}`)
    expect(readSign1(fromHex(`d28443a10126a05850${payload}5840${signature}`))).toBeDefined()
  })

  // github.com/cose-wg/Examples, sign1-tests: sign-pass-01, sign-pass-02 and sign-fail-02.
  it('takes and refuses examples of the COSE working group', () => {
    const key = p256('usWxHK2PmfnHKwXPS54m0kTcGJ90UiglWiGahtagnv8', 'IBOL-C3BttVivg-lSreASjpkttcsz-1rb7btKLv8EX4')
    const pass01 =
      'd28441a0a201260442313154546869732069732074686520636f6e74656e742e584087db0d2e5571843b78ac33ecb2830df7b6e0a4d5b7376de336b23c591c90c425317e56127fbe04370097ce347087b233bf722b64072beb4486bda4031d27244f'
    const pass02 =
      'd28443a10126a10442313154546869732069732074686520636f6e74656e742e584010729cd711cb3813d8d8e944a8da7111e7b258c9bdca6135f7ae1adbee9509891267837e1e33bd36c150326ae62755c6bd8e540c3e8f92d7d225e8db72b8820b'
    const fail02 =
      'd28443a10126a10442313154546869732069732074686520636f6e74656e742f58408eb33e4ca31d1c465ab05aac34cc6b23d58fef5c083106c4d25a91aef0b0117e2af9a291aa32e14ab834dc56ed2a223444547e01f11d3b0916e5a4c345cacb36'
    expect(verifySign1(fromHex(pass01), key)).toBe(true)
    expect(verifySign1(fromHex(pass02), key, fromHex('11aa22bb33cc44dd55006699'))).toBe(true)
    expect(verifySign1(fromHex(pass02), key)).toBe(false)
    expect(verifySign1(fromHex(fail02), key)).toBe(false)
  })
})

/** Of testing/vectors/SOURCE.md. Bytes in hexadecimal. */
interface Vector {
  readonly title: string
  readonly fail: boolean
  readonly x: string
  readonly y: string
  readonly external?: string
  readonly cbor: string
}

describe('the vectors of the COSE working group', () => {
  const vectors = JSON.parse(readFileSync(new URL('./testing/vectors/cose_sign1.json', import.meta.url), 'utf8')) as Vector[]

  it('are all there', () => {
    expect(vectors.filter(({ fail }) => fail)).toHaveLength(6)
    expect(vectors).toHaveLength(10)
  })

  it.each(vectors.map((vector) => [vector.title, vector] as const))('%s', (_, { fail, x, y, external, cbor }) => {
    const key = p256(base64url(fromHex(x)), base64url(fromHex(y)))
    expect(verifySign1(fromHex(cbor), key, external === undefined ? undefined : fromHex(external))).toBe(!fail)
  })
})

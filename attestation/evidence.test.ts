import { generateKeyPairSync, sign } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { base64url, concat, fromHex, hex, sha256, utf8 } from '../core/bytes.ts'
import { encodeEfIccid } from '../core/iccid.ts'
import { encodeCbor, Tagged } from './cbor.ts'
import { assembleSign1, verifySign1 } from './cose.ts'
import { EVIDENCE_PROFILE, type EvidenceClaims, evidenceToSign, readEvidence, ueidOf } from './evidence.ts'

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const signature = new Uint8Array(64).fill(7)

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const evidence: fc.Arbitrary<EvidenceClaims> = fc
  .record(
    {
      nonce: bytes(32),
      issuedAt: fc.maxSafeNat(),
      ueid: bytes(32).map((rest) => concat(Uint8Array.of(1), rest)),
      imei: fc.stringMatching(/^[0-9]{14}$/),
      udid: fc.uuid(),
    },
    { requiredKeys: ['nonce', 'issuedAt', 'ueid', 'imei'] },
  )
  .map(({ udid, ...claims }) => (udid === undefined ? claims : { ...claims, udid }))

const plain = ({ nonce, ueid, ...claims }: EvidenceClaims) => ({ ...claims, nonce: base64url(nonce), ueid: base64url(ueid) })

const CLAIMS: EvidenceClaims = {
  nonce: new Uint8Array(32).fill(0xaa),
  issuedAt: 1_790_000_000,
  ueid: concat(Uint8Array.of(1), new Uint8Array(32).fill(0xbb)),
  imei: '26053179311383',
  udid: '00112233-4455-6677-8899-aabbccddeeff',
}

describe('evidence', () => {
  it('is these bytes', () => {
    const token = evidenceToSign(CLAIMS).assemble(signature)
    const payload =
      `a5` +
      `061a6ab13b80` +
      `0a5820${'aa'.repeat(32)}` +
      `190100582101${'bb'.repeat(32)}` +
      `190101a2` +
      `64696d6569` +
      `4f03` +
      `0206000503010709030101030803` +
      `6475646964` +
      `5101` +
      `00112233445566778899aabbccddeeff` +
      `1901097820${hex(utf8(EVIDENCE_PROFILE))}`
    const length = (payload.length / 2).toString(16)
    expect(hex(token)).toBe(`d83dd28443a10126a058${length}${payload}5840${'07'.repeat(64)}`)
  })

  it('reads back as it was written, and its signature is over what it says', () => {
    fc.assert(
      fc.property(evidence, (claims) => {
        const { toBeSigned, assemble } = evidenceToSign(claims)
        const made = sign('sha256', toBeSigned, { key: privateKey, dsaEncoding: 'ieee-p1363' })
        const token = assemble(made)
        const read = readEvidence(token)
        if (!read.ok) throw new Error(read.fault)
        expect(plain(read.claims)).toEqual(plain(claims))
        expect(hex(read.toBeSigned)).toBe(hex(toBeSigned))
        expect(hex(read.signature)).toBe(hex(made))
        expect(verifySign1(token, publicKey)).toBe(true)
      }),
      { numRuns: 50 },
    )
  })

  it('never throws: what it reads of changed bytes has one encoding', () => {
    const edits = fc.array(fc.record({ at: fc.nat(), put: fc.nat(255) }), { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(evidence, edits, (claims, changes) => {
        const token = Buffer.from(evidenceToSign(claims).assemble(signature))
        for (const { at, put } of changes) token[at % token.length] = put
        const read = readEvidence(token)
        if (read.ok) expect(hex(evidenceToSign(read.claims).assemble(read.signature))).toBe(hex(token))
      }),
      { numRuns: 1000 },
    )
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (any) => {
        expect(readEvidence(any).ok).toBe(false)
      }),
    )
  })

  const imei = concat(Uint8Array.of(3), Uint8Array.of(2, 6, 0, 5, 3, 1, 7, 9, 3, 1, 1, 3, 8, 3))
  const good: readonly (readonly [unknown, unknown])[] = [
    [6, 1],
    [10, CLAIMS.nonce],
    [256, CLAIMS.ueid],
    [257, new Map([['imei', imei]])],
    [265, EVIDENCE_PROFILE],
  ]
  const tokenOf = (changes: readonly (readonly [unknown, unknown])[], without?: number): Uint8Array => {
    const claims = new Map([...good, ...changes])
    claims.delete(without)
    return assembleSign1({ payload: encodeCbor(claims), signature })
  }

  it('is read from the claims that the faults are made of', () => {
    expect(readEvidence(tokenOf([])).ok).toBe(true)
  })

  it.each<[string, Uint8Array]>([
    ['another claim', tokenOf([[7, 1]])],
    ['a text claim', tokenOf([['iat', 1]])],
    ['no nonce', tokenOf([], 10)],
    ['no time', tokenOf([], 6)],
    ['no ueid', tokenOf([], 256)],
    ['no sueids', tokenOf([], 257)],
    ['no profile', tokenOf([], 265)],
    ['a profile that is not text', tokenOf([[265, utf8(EVIDENCE_PROFILE)]])],
    ['a short nonce', tokenOf([[10, CLAIMS.nonce.subarray(1)]])],
    ['many nonces', tokenOf([[10, [CLAIMS.nonce, CLAIMS.nonce]]])],
    ['a time before 1970', tokenOf([[6, -1]])],
    ['a time that no number holds', tokenOf([[6, 2n ** 60n]])],
    ['a time in text', tokenOf([[6, '1']])],
    ['a ueid of another type', tokenOf([[256, concat(Uint8Array.of(2), CLAIMS.ueid.subarray(1))]])],
    ['a short ueid', tokenOf([[256, CLAIMS.ueid.subarray(1)]])],
    ['no imei', tokenOf([[257, new Map()]])],
    ['an imei in text', tokenOf([[257, new Map([['imei', CLAIMS.imei]])]])],
    [
      'another device',
      tokenOf([
        [
          257,
          new Map([
            ['imei', imei],
            ['mac', imei],
          ]),
        ],
      ]),
    ],
    [
      'an udid in text',
      tokenOf([
        [
          257,
          new Map<string, unknown>([
            ['imei', imei],
            ['udid', CLAIMS.udid],
          ]),
        ],
      ]),
    ],
    [
      'an udid of null',
      tokenOf([
        [
          257,
          new Map<string, unknown>([
            ['imei', imei],
            ['udid', null],
          ]),
        ],
      ]),
    ],
    [
      'an udid of 16 bytes',
      tokenOf([
        [
          257,
          new Map([
            ['imei', imei],
            ['udid', new Uint8Array(16)],
          ]),
        ],
      ]),
    ],
    [
      'an udid of another type',
      tokenOf([
        [
          257,
          new Map([
            ['imei', imei],
            ['udid', new Uint8Array(17).fill(3)],
          ]),
        ],
      ]),
    ],
    ['a payload that is an array', assembleSign1({ payload: encodeCbor([]), signature })],
    ['a payload that is not CBOR', assembleSign1({ payload: fromHex('a1'), signature })],
    ['a payload with keys out of order', assembleSign1({ payload: fromHex('a20a010601'), signature })],
    ['a payload that is deep', assembleSign1({ payload: fromHex('81'.repeat(3000)), signature })],
    ['a payload that is tagged', assembleSign1({ payload: encodeCbor(new Tagged(61, new Map(good))), signature })],
    ['depth', fromHex('d2'.repeat(4000))],
    ['more depth', fromHex('81'.repeat(100_000))],
    ['too many bytes', new Uint8Array(4097)],
    ['nothing', new Uint8Array(0)],
    ['a byte behind the end', concat(tokenOf([]), Uint8Array.of(0))],
  ])('with %s is malformed', (_, token) => {
    expect(readEvidence(token)).toEqual({ ok: false, fault: 'evidence-malformed' })
  })

  it('of another profile says so', () => {
    expect(
      readEvidence(
        tokenOf([
          [265, 'urn:gridseal:eat:card-evidence:2'],
          [99, 1],
        ]),
      ),
    ).toEqual({ ok: false, fault: 'evidence-profile' })
  })

  it.each([
    ['a check digit', concat(imei, Uint8Array.of(7))],
    ['13 digits', imei.subarray(0, 14)],
    ['characters', concat(Uint8Array.of(3), utf8(CLAIMS.imei))],
    ['a digit of ten', concat(imei.subarray(0, 14), Uint8Array.of(10))],
    ['another type', concat(Uint8Array.of(1), imei.subarray(1))],
    ['nothing', new Uint8Array(0)],
  ])('with an imei of %s says so', (_, device) => {
    expect(readEvidence(tokenOf([[257, new Map([['imei', device]])]]))).toEqual({ ok: false, fault: 'evidence-imei' })
  })

  it.each<[string, Partial<EvidenceClaims>]>([
    ['a short nonce', { nonce: new Uint8Array(31) }],
    ['a ueid of another type', { ueid: new Uint8Array(33) }],
    ['an imei with a check digit', { imei: '260531793113837' }],
    ['an udid in upper case', { udid: '00112233-4455-6677-8899-AABBCCDDEEFF' }],
    ['a time before 1970', { issuedAt: -1 }],
  ])('is not made with %s', (_, change) => {
    expect(() => evidenceToSign({ ...CLAIMS, ...change })).toThrow(RangeError)
  })

  it('is not made with a fraction of a second', () => {
    expect(() => evidenceToSign({ ...CLAIMS, issuedAt: 1.5 })).toThrow('a float')
  })
})

describe('the ueid', () => {
  const spki = publicKey.export({ format: 'der', type: 'spki' })
  const efIccid = encodeEfIccid('89860012345678901234')

  it('is the type and a hash of key and card', () => {
    const framed = concat(fromHex('00000010'), utf8('gridseal-ueid-v1'), fromHex('0000005b'), spki, fromHex('0000000a'), efIccid)
    expect(hex(ueidOf({ spki, efIccid }))).toBe(`01${hex(sha256(framed))}`)
  })

  it('differs for another key and for another card', () => {
    const all = [ueidOf({ spki, efIccid }), ueidOf({ spki: spki.subarray(1), efIccid }), ueidOf({ spki, efIccid: efIccid.subarray(1) })]
    expect(new Set(all.map(hex)).size).toBe(3)
  })
})

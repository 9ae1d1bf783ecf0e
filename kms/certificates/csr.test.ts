import { generateKeyPairSync, sign } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { concat, fromHex, hex } from '../../core/bytes.ts'
import { bitString, constructed, oid, sequence, setOf, smallInteger, tlv, utf8String } from '../../core/der.ts'
import { CSR_CHARACTERS, parseCsr } from './csr.ts'
import { csrDer, type CsrParts, ecPair, pemOf, spkiOf } from '../testing/make-csr.ts'
import { encodeName } from './names.ts'

/** extensionRequest (RFC 2985 5.4.2) that wishes for names. */
const wishes = sequence(
  oid('1.2.840.113549.1.9.14'),
  setOf(
    sequence(
      sequence(
        oid('2.5.29.17'),
        tlv(0x04, sequence(tlv(0x86, Buffer.from('urn:gridseal:officer:root')), tlv(0x82, Buffer.from('*.grid.example')), tlv(0x87, fromHex('0a000001')))),
      ),
    ),
  ),
)

describe('takes', () => {
  test.each(['P-256', 'P-384'])('a request for a key on %s, and gives its SPKI alone', async (curve) => {
    const pair = ecPair(curve)
    const csr = await parseCsr(pemOf(csrDer({ pair, attributes: [wishes] })))
    expect(csr).toEqual({ kind: 'csr', spki: Buffer.from(spkiOf(pair.publicKey)) })
  })

  test.each([
    ['SHA-384', '1.2.840.10045.4.3.3', 'sha384'],
    ['SHA-512', '1.2.840.10045.4.3.4', 'sha512'],
  ])('a signature over %s', async (_name, algorithm, hash) => {
    expect(await parseCsr(pemOf(csrDer({ algorithm, hash })))).toMatchObject({ kind: 'csr' })
  })

  test('lines that end in CR LF', async () => {
    expect(await parseCsr(pemOf(csrDer()).replaceAll('\n', '\r\n'))).toMatchObject({ kind: 'csr' })
  })
})

const rsa = (modulusLength: number) => generateKeyPairSync('rsa', { modulusLength })
const flipLast = (bytes: Uint8Array): Uint8Array => Uint8Array.from(bytes, (byte, at) => (at === bytes.length - 1 ? byte ^ 1 : byte))
const nested = (depth: number): Uint8Array => (depth === 0 ? sequence() : sequence(nested(depth - 1)))
const compressed = (): CsrParts => {
  const pair = ecPair('P-256')
  const spki = spkiOf(pair.publicKey)
  const point = concat(Uint8Array.of(2 + ((spki.at(-1) ?? 0) & 1)), spki.subarray(27, 59))
  return { pair, spki: sequence(sequence(oid('1.2.840.10045.2.1'), oid('1.2.840.10045.3.1.7')), bitString(point)) }
}

describe('refuses', () => {
  test.each<[string, () => string, RegExp]>([
    ['a signature that is not its key’s', () => pemOf(csrDer({ signature: flipLast })), /signature/],
    ['another’s key with one’s own signature', () => pemOf(csrDer({ spki: spkiOf(ecPair('P-256').publicKey) })), /signature/],
    ['RSA of 1,024 bits', () => pemOf(csrDer({ pair: rsa(1024), algorithm: '1.2.840.113549.1.1.11' })), /not signed with ECDSA/],
    ['RSA of 3,072 bits', () => pemOf(csrDer({ pair: rsa(3072), algorithm: '1.2.840.113549.1.1.11' })), /not signed with ECDSA/],
    ['an RSA key under an ECDSA name', () => pemOf(csrDer({ pair: rsa(2048) })), /not an EC key/],
    ['a signature over SHA-1', () => pemOf(csrDer({ algorithm: '1.2.840.10045.4.1', hash: 'sha1' })), /not signed with ECDSA/],
    ['a key on P-521', () => pemOf(csrDer({ pair: ecPair('P-521') })), /P-256 or P-384/],
    ['a key on secp256k1', () => pemOf(csrDer({ pair: ecPair('secp256k1') })), /P-256 or P-384/],
    ['a compressed point', () => pemOf(csrDer(compressed())), /uncompressed/],
    ['a point off its curve', () => pemOf(csrDer({ spki: flipLast(spkiOf(ecPair('P-256').publicKey)) })), /not DER|signature/],
    ['100 kB', () => pemOf(csrDer({ attributes: [sequence(oid('1.2.3'), setOf(utf8String('x'.repeat(100_000))))] })), /longer than/],
    ['text before it', () => `Certificate Request:\n${pemOf(csrDer())}`, /one PEM block/],
    ['text after it', () => `${pemOf(csrDer())}junk`, /one PEM block/],
    ['two of them', () => pemOf(csrDer()) + pemOf(csrDer()), /one PEM block/],
    ['bytes after the DER', () => pemOf(concat(csrDer(), Uint8Array.of(0))), /not DER/],
    ['a certificate in its place', () => pemOf(csrDer(), 'CERTIFICATE'), /one PEM block/],
    ['the label of old tools', () => pemOf(csrDer(), 'NEW CERTIFICATE REQUEST'), /one PEM block/],
    ['nothing', () => '', /one PEM block/],
    ['base64 with spaces in the line', () => pemOf(csrDer()).replace('M', ' M'), /one PEM block/],
    ['DER nested 1,200 deep', () => pemOf(csrDer({ attributes: [sequence(oid('1.2.3'), setOf(nested(1200)))] })), /not DER/],
    ['an indefinite length', () => pemOf(concat(fromHex('3080'), csrDer().subarray(4), fromHex('0000'))), /not DER/],
    ['parameters in the algorithm', () => pemOf(withParameters()), /not signed with ECDSA/],
    ['a fourth value', () => pemOf(sequence(csrDer().subarray(3), smallInteger(1))), /not (signed|DER)/],
  ])('%s', async (_what, make, message) => {
    expect(await parseCsr(make())).toMatchObject({ kind: 'fault', message: expect.stringMatching(message) as string })
  })

  test('whatever bytes, without throwing', async () => {
    const genuine = csrDer()
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(genuine.length - 1), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 3 }), async (flips) => {
        const bytes = Uint8Array.from(genuine)
        for (const [at, mask] of flips) bytes[at] = (bytes[at] ?? 0) ^ mask
        const read = await parseCsr(pemOf(bytes))
        expect(read.kind === 'fault' || hex(bytes) === hex(genuine)).toBe(true)
      }),
      { numRuns: 300 },
    )
  })
})

test('the longest CSR that is taken has room for P-384 and a page of attributes', async () => {
  const filler = sequence(oid('1.2.3'), setOf(utf8String('x'.repeat(5000))))
  const pem = pemOf(csrDer({ pair: ecPair('P-384'), attributes: [filler] }))
  expect(pem.length).toBeLessThan(CSR_CHARACTERS)
  expect(await parseCsr(pem)).toMatchObject({ kind: 'csr' })
})

function withParameters(): Uint8Array {
  const pair = ecPair('P-256')
  const info = sequence(smallInteger(0), encodeName([['CN', 'x']]), spkiOf(pair.publicKey), constructed(0))
  return sequence(info, sequence(oid('1.2.840.10045.4.3.2'), fromHex('0500')), bitString(sign('sha256', info, pair.privateKey)))
}

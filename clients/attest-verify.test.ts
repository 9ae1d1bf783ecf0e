import { generateKeyPairSync, sign } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { buildResult, compactResult, jwkOf, keySetOf, resultSigningInput } from '../attestation/result.ts'
import { base64url, utf8 } from '../core/bytes.ts'
import { AttestInputError, describeResult, verifyResultText } from './attest-verify.ts'

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const spki = publicKey.export({ format: 'der', type: 'spki' })
const keys = JSON.stringify(keySetOf([spki]))
const nonce = new Uint8Array(32).fill(1)
const at = '2026-09-21T14:14:00Z'
const issuedAt = Date.parse(at) / 1000

function tokenOf(change: { readonly reasons?: readonly string[]; readonly configuration?: number } = {}): string {
  const claims = buildResult({
    ...{ issuedAt, expiresAt: issuedAt + 60, nonce, ueid: new Uint8Array(33).fill(1), level: 'L1', method: 'evidence', build: 'gridseal 0.1.0' },
    reasons: change.reasons ?? [],
    vector: { 'instance-identity': 2, 'configuration': change.configuration ?? 2 },
    binding: { state: 'bound', imei: '26053179311383' },
  })
  const input = resultSigningInput(claims, jwkOf(spki).kid)
  return compactResult(input, sign('sha256', utf8(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }))
}

describe('a result for a person', () => {
  it('says what it says', () => {
    const text = describeResult(verifyResultText({ token: `${tokenOf()}\n`, keys, nonce: base64url(nonce), at }))
    expect(text).toBe(
      [
        'VALID RESULT: affirming (the card proved itself, and nothing speaks against it)',
        'by evidence, level L1',
        'claims: instance-identity 2, configuration 2',
        'device: bound, IMEI 26053179311383',
        'issued 2026-09-21T14:14:00.000Z, expires 2026-09-21T14:15:00.000Z, by gridseal 0.1.0',
        `nonce ${base64url(nonce)}, ueid ${base64url(new Uint8Array(33).fill(1))}`,
      ].join('\n'),
    )
  })

  it('names the reasons', () => {
    expect(describeResult(verifyResultText({ token: tokenOf({ reasons: ['binding-conflict'], configuration: 32 }), keys, at }))).toContain(
      'VALID RESULT: warning (the card proved itself, with a reservation)\nby evidence, level L1; reasons: binding-conflict\n',
    )
  })

  it('cannot make the terminal do anything', () => {
    const text = describeResult(verifyResultText({ token: tokenOf({ reasons: ['\u001b[2J\u202eevil'] }), keys, at }))
    expect(text).toContain('reasons: \\u{1b}[2J\\u{202e}evil')
  })

  it.each([
    ['the time over', { at: '2026-09-21T14:15:00Z' }, 'NOT A VALID RESULT: it has expired'],
    ['another nonce', { nonce: base64url(new Uint8Array(32)) }, 'NOT A VALID RESULT: it answers another nonce'],
    ['other keys', { keys: '{"keys":[]}' }, 'NOT A VALID RESULT: the key set has no key of this kid for ES256'],
    ['no token', { token: 'hello' }, 'NOT A VALID RESULT: it is not a JWT in compact form'],
  ])('is not valid with %s', (_, change, text) => {
    expect(describeResult(verifyResultText({ token: tokenOf(), keys, at, ...change }))).toBe(text)
  })

  it.each([
    ['keys that are not JSON', { keys: 'no' }],
    ['keys that are no key set', { keys: '[]' }],
    ['a key alone', { keys: JSON.stringify(jwkOf(spki)) }],
    ['a nonce in hexadecimal with a space', { nonce: '01 02' }],
    ['an empty nonce', { nonce: '' }],
    ['a day without a time', { at: '2026-09-21' }],
    ['no such day', { at: '2026-13-41T00:00:00Z' }],
  ])('is not asked for with %s', (_, change) => {
    expect(() => verifyResultText({ token: tokenOf(), keys, at, ...change })).toThrow(AttestInputError)
  })
})

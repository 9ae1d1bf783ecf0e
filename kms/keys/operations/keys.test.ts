import { createPublicKey, verify } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { base64, base64url, fromBase64, sha256, utf8 } from '../../../core/bytes.ts'
import { newUuid } from '../../../core/ids.ts'
import type { Problem } from '../../../core/problem.ts'
import { leafHash, nodeHash } from '../../../policies/audit/merkle.ts'
import type { Caller } from '../../../policies/caller.ts'
import type { Decision } from '../../../policies/firewall/decide.ts'
import { perform } from '../../../policies/gate.ts'
import type { AnyOperation } from '../../../policies/operation.ts'
import { memoryGate } from '../../../policies/testing/memory-gate.ts'
import { MemoryKeyStore } from '../../testing/memory-stores.ts'
import { softwareHsm, softwareSealer } from '../../testing/software-hsm.ts'
import { keyRow } from '../key.ts'
import { KEY_STATES, type KeyState } from '../state.ts'
import { decryptOperation } from './decrypt.ts'
import { encryptOperation } from './encrypt.ts'
import { generateKeyOperation } from './generate-key.ts'
import { getKeyOperation } from './get-key.ts'
import { listKeysOperation } from './list-keys.ts'
import { signOperation } from './sign.ts'
import { verifyOperation } from './verify.ts'

const billing: Caller = { kind: 'module', name: 'billing', id: newUuid() }
const traffic: Caller = { kind: 'module', name: 'traffic', id: newUuid() }

interface KeyView {
  readonly keyId: string
  readonly publicKey?: string
  readonly kcv?: { readonly method: string; readonly value: string }
}

function world() {
  const sealer = softwareSealer()
  const hsm = softwareHsm(sealer)
  const keys = new MemoryKeyStore(sealer)
  const gate = memoryGate()
  const ask = async <Output>(op: AnyOperation, body: unknown, caller: Caller = billing): Promise<Output> =>
    (await perform(gate, op, { caller, body })) as Output
  const generate = (label: string, algorithm = 'ec-p256', caller?: Caller) =>
    ask<KeyView>(generateKeyOperation({ hsm, keys, now: () => new Date('2026-11-23T10:00:00.123Z'), newId: () => newUuid() }), { label, algorithm }, caller)
  const sign = (keyId: string, ...messages: string[]) =>
    ask<{ signatures: { signature: string }[] }>(signOperation({ hsm, keys, sealer }), {
      keyId,
      items: messages.map((message) => ({ message: base64(utf8(message)) })),
    })
  const check = (keyId: string, message: string, signature: string) =>
    ask<{ keyState: string; results: { valid: boolean }[] }>(verifyOperation({ hsm, keys, sealer }), {
      keyId,
      items: [{ message: base64(utf8(message)), signature }],
    })
  const encrypt = async (keyId: string, items: readonly { plaintext: string; aad?: string }[]) =>
    (await ask<{ ciphertexts: { ciphertext: string }[] }>(encryptOperation({ hsm, keys, sealer }), { keyId, items })).ciphertexts.map(
      ({ ciphertext }) => ciphertext,
    )
  const decrypt = (keyId: string, items: readonly { ciphertext?: string | undefined; aad?: string }[]) =>
    ask<{ keyState: string; plaintexts: { plaintext: string }[] }>(decryptOperation({ hsm, keys, sealer }), { keyId, items })
  const list = (body: object = {}, caller?: Caller) => ask<{ keys: KeyView[]; next?: string }>(listKeysOperation({ keys, sealer }), body, caller)
  const get = (keyId: string) => ask<KeyView>(getKeyOperation({ keys, sealer }), { keyId })
  /** Moves a key to a state as a life-cycle operation would: MAC and all. */
  const move = async (keyId: string, state: KeyState): Promise<void> => {
    const record = keys.rows.get(keyId)?.record
    if (record === undefined) throw new Error('the key is there')
    await keys.replaceKey(undefined as never, { ...record, version: record.version + 1, state })
  }
  return { hsm, keys, sealer, gate, ask, generate, sign, check, encrypt, decrypt, list, get, move }
}

const problemOf = (work: Promise<unknown>): Promise<Problem> =>
  work.then(
    () => expect.unreachable('it was not refused'),
    (error: unknown) => error as Problem,
  )

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: unknown) => (error as Problem).code,
  )

/** [state, applying protection (sign, encrypt), processing what was protected (verify, decrypt)]: NIST SP 800-57 part 1 clause 7. */
const OUTCOMES: readonly (readonly [KeyState, string, string])[] = [
  ['reserved', 'not-found', 'not-found'],
  ['pre-active', 'conflict', 'conflict'],
  ['active', 'ok', 'ok'],
  ['suspended', 'conflict', 'ok'],
  ['deactivated', 'conflict', 'ok'],
  ['compromised', 'conflict', 'ok'],
  ['destroyed', 'conflict', 'conflict'],
]

let at: ReturnType<typeof world>
beforeEach(() => {
  at = world()
})

describe('generating', () => {
  test('a P-256 key signs so that its public key verifies', async () => {
    const { keyId, publicKey } = await at.generate('meters')
    const { signatures } = await at.sign(keyId, 'one', 'two')
    const valid = ['one', 'two'].map((message, i) =>
      verify('sha256', utf8(message), { key: createPublicKey(publicKey ?? ''), dsaEncoding: 'ieee-p1363' }, fromBase64(signatures[i]?.signature ?? '')),
    )
    expect(valid).toEqual([true, true])
  })

  test('an HMAC key says how its check value was made', async () => {
    expect((await at.generate('meters', 'hmac-sha256')).kcv).toMatchObject({ method: 'hmac-sha256', value: expect.stringMatching(/^[0-9a-f]{10}$/) as string })
  })

  test('an AES-GCM key has a check value that GCM does not show', async () => {
    expect((await at.generate('meters', 'aes-gcm-256')).kcv?.method).toBe('aes-cmac')
  })

  test('id and label are taken with the intent, before a key is made', async () => {
    at.hsm.fail = 'before'
    await problemOf(at.generate('meters'))
    expect(at.hsm.uses()).toBe(0)
    expect([...at.keys.rows.values()].map(({ record }) => record.state)).toEqual(['destroyed'])
    expect(at.gate.log.entries.map(({ kind, code }) => [kind, code])).toEqual([
      ['intent', undefined],
      ['outcome', 'hsm-unavailable'],
    ])
  })

  test.each(['before', 'after'] as const)('an HSM that fails %s making the key gives the label back', async (fail) => {
    at.hsm.fail = fail
    await problemOf(at.generate('meters'))
    at.hsm.fail = 'no'
    expect(await at.generate('meters')).toMatchObject({ label: 'meters', state: 'active' })
  })

  test('a label is unique for its owner, and another may have it too', async () => {
    await at.generate('meters')
    expect((await problemOf(at.generate('meters'))).code).toBe('conflict')
    expect(await at.generate('meters', 'ec-p256', traffic)).toMatchObject({ owner: 'urn:gridseal:module:traffic' })
  })

  test('of two at once with one label, one is refused and no key is made for it', async () => {
    const results = await Promise.allSettled([at.generate('meters'), at.generate('meters')])
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(at.hsm.uses()).toBe(1)
  })

  test('the outcome names the row as it is now', async () => {
    const { keyId } = await at.generate('meters')
    expect(at.gate.log.entries.at(-1)?.facts?.rows).toMatchObject([{ table: 'kms_keys', id: keyId, version: 2 }])
  })

  test.each([
    [{ label: '', algorithm: 'ec-p256' }],
    [{ label: 'A', algorithm: 'ec-p256' }],
    [{ label: 'x'.repeat(65), algorithm: 'ec-p256' }],
    [{ label: 'x', algorithm: 'aes-256' }],
    [{ label: 'x', algorithm: 'ec-p256', owner: 'urn:gridseal:module:traffic' }],
    [{ label: 'x' }],
  ])('refuses %j', async (body) => {
    const op = generateKeyOperation({ hsm: at.hsm, keys: at.keys, now: () => new Date(), newId: () => newUuid() })
    expect((await problemOf(at.ask(op, body))).code).toBe('request-invalid')
  })
})

describe('signing and verifying', () => {
  test.each(['ec-p256', 'hmac-sha256'])('%s: what was signed verifies, anything else does not', async (algorithm) => {
    const { keyId } = await at.generate('meters', algorithm)
    const signature = (await at.sign(keyId, 'reading')).signatures[0]?.signature ?? ''
    const validity = async (message: string, given: string) => (await at.check(keyId, message, given)).results[0]?.valid
    expect(await validity('reading', signature)).toBe(true)
    expect(await validity('other', signature)).toBe(false)
    expect(await validity('reading', base64(utf8('short')))).toBe(false)
    expect(await validity('reading', '')).toBe(false)
  })

  test.each(OUTCOMES)('a key that is %s: sign %s, verify %s', async (state, signs, verifies) => {
    const { keyId } = await at.generate('meters')
    const signature = (await at.sign(keyId, 'm')).signatures[0]?.signature ?? ''
    if (state !== 'active') await at.move(keyId, state)
    expect([await codeOf(at.sign(keyId, 'm')), await codeOf(at.check(keyId, 'm', signature))]).toEqual([signs, verifies])
  })

  test('the table above has every state', () => {
    expect(KEY_STATES).toHaveLength(7)
  })

  test('the answer of verify names the state, for who relies on it', async () => {
    const { keyId } = await at.generate('meters')
    await at.move(keyId, 'compromised')
    expect(await at.check(keyId, 'm', '')).toMatchObject({ keyState: 'compromised', results: [{ valid: false }] })
  })

  test('an unknown key is put to the policy like any other, and then is not there', async () => {
    const asked: unknown[] = []
    const allow: Decision = { effect: 'allow', rule: 'x', revision: 'x', reason: '' }
    const gate = memoryGate((ask) => {
      asked.push({ uses: ask.uses, facts: ask.facts })
      return allow
    })
    const keyId = newUuid()
    const body = { keyId, items: [{ message: '' }] }
    const problem = await problemOf(perform(gate, signOperation({ hsm: at.hsm, keys: at.keys, sealer: at.sealer }), { caller: billing, body }))
    expect(problem.code).toBe('not-found')
    expect(asked).toMatchObject([{ uses: [{ action: 'sign', keyId }], facts: { keyId, count: 1 } }])
    expect(gate.log.entries).toMatchObject([{ kind: 'refusal', code: 'not-found' }])
  })

  test('the policy sees label, algorithm, owner and state', async () => {
    const { keyId } = await at.generate('meters')
    await at.sign(keyId, 'm')
    const seen = { keyId, label: 'meters', algorithm: 'ec-p256', owner: 'urn:gridseal:module:billing', state: 'active' }
    expect(at.gate.log.entries.at(-1)?.facts?.public).toMatchObject(seen)
  })

  test('the log has the digest of each message of a short batch', async () => {
    const { keyId } = await at.generate('meters')
    await at.sign(keyId, 'a', 'b')
    expect(at.gate.log.entries.at(-1)?.facts?.public).toMatchObject({ count: 2, digests: ['a', 'b'].map((m) => base64url(sha256(utf8(m)))) })
  })

  test('the log has the RFC 6962 root of a long batch', async () => {
    const { keyId } = await at.generate('meters')
    const messages = Array.from({ length: 32 }, (_, i) => `m${i}`)
    await at.sign(keyId, ...messages)
    let level = messages.map((message) => leafHash(utf8(message)))
    while (level.length > 1) level = level.flatMap((node, i) => (i % 2 === 0 ? [nodeHash(node, level[i + 1] ?? node)] : []))
    expect(at.gate.log.entries.at(-1)?.facts?.public).toMatchObject({ count: 32, messagesRoot: base64url(level[0] ?? new Uint8Array()) })
  })

  test('an edited row is refused: another owner, another state, another key', async () => {
    const { keyId } = await at.generate('meters')
    const { keyId: other } = await at.generate('other')
    await at.move(keyId, 'deactivated')
    const [mine, others] = [at.keys.rows.get(keyId), at.keys.rows.get(other)]
    if (mine?.record.wrapped === undefined || others?.record.wrapped === undefined) throw new Error('the keys are there')
    for (const edit of [
      { owner: 'urn:gridseal:module:traffic', state: 'active' },
      { state: 'active' },
      { state: 'active', wrapped: others.record.wrapped },
    ] as const) {
      const record = { ...mine.record, ...edit }
      at.keys.rows.set(keyId, { record, sealed: { row: keyRow(record), mac: mine.sealed.mac } })
      expect((await problemOf(at.sign(keyId, 'm'))).code).toBe('integrity-failed')
      expect((await problemOf(at.get(keyId))).code).toBe('integrity-failed')
      expect((await problemOf(at.list({}, record.owner === 'urn:gridseal:module:traffic' ? traffic : billing))).code).toBe('integrity-failed')
    }
  })

  const items = (count: number, message = 'AA==') => Array.from({ length: count }, () => ({ message }))
  test.each([
    ['no items', []],
    ['1,001 items', items(1001)],
    ['base64 without padding', items(1, 'AA')],
    ['base64url', items(1, '_-8=')],
    ['base64 with a line break', items(1, 'AA==\n')],
    ['a message over 64 KiB', items(1, base64(Buffer.alloc(65_537)))],
    ['a field that is not known', [{ message: 'AA==', hash: 'sha1' }]],
  ])('refuses %s', async (_what, given) => {
    const problem = await problemOf(at.ask(signOperation({ hsm: at.hsm, keys: at.keys, sealer: at.sealer }), { keyId: newUuid(), items: given }))
    expect(problem.code).toBe('request-invalid')
    expect(problem.faults[0]?.pointer).toMatch(/^\/items/)
  })

  test('takes 1,000 items, and a message of 64 KiB', async () => {
    const { keyId } = await at.generate('meters', 'hmac-sha256')
    const op = signOperation({ hsm: at.hsm, keys: at.keys, sealer: at.sealer })
    expect((await at.ask<{ signatures: unknown[] }>(op, { keyId, items: items(1000) })).signatures).toHaveLength(1000)
    expect((await at.ask<{ signatures: unknown[] }>(op, { keyId, items: items(1, base64(Buffer.alloc(65_536))) })).signatures).toHaveLength(1)
  })
})

const text = (words: string): string => base64(utf8(words))

describe('encrypting and decrypting', () => {
  test('what was encrypted opens again with its AAD, in the order of the items', async () => {
    const { keyId } = await at.generate('readings', 'aes-gcm-256')
    const items = [{ plaintext: text('one'), aad: text('meter 1') }, { plaintext: text('two') }, { plaintext: '' }]
    const ciphertexts = await at.encrypt(keyId, items)
    const { plaintexts, keyState } = await at.decrypt(
      keyId,
      ciphertexts.map((ciphertext, i) => ({ ciphertext, ...(items[i]?.aad === undefined ? {} : { aad: items[i].aad }) })),
    )
    expect(plaintexts.map(({ plaintext }) => plaintext)).toEqual(items.map(({ plaintext }) => plaintext))
    expect(keyState).toBe('active')
  })

  test('one plaintext is never encrypted the same twice', async () => {
    const { keyId } = await at.generate('readings', 'aes-gcm-256')
    const ciphertexts = await at.encrypt(
      keyId,
      Array.from({ length: 256 }, () => ({ plaintext: text('same') })),
    )
    expect(new Set(ciphertexts.map((ciphertext) => ciphertext.slice(0, 16))).size).toBe(256)
  })

  test('of a batch with what does not open nothing is answered, and each fault has its place', async () => {
    const [{ keyId }, { keyId: other }] = [await at.generate('readings', 'aes-gcm-256'), await at.generate('others', 'aes-gcm-256')]
    const plaintext = text('reading')
    const [mine, theirs] = [(await at.encrypt(keyId, [{ plaintext, aad: text('a') }]))[0] ?? '', (await at.encrypt(other, [{ plaintext }]))[0]]
    const altered = base64(fromBase64(mine).map((byte, i) => (i === 13 ? byte ^ 1 : byte)))
    const items = [
      { ciphertext: mine, aad: text('a') },
      { ciphertext: mine, aad: text('b') },
      { ciphertext: mine },
      { ciphertext: theirs },
      { ciphertext: altered, aad: text('a') },
      { ciphertext: base64(fromBase64(mine).subarray(0, 27)), aad: text('a') },
      { ciphertext: '', aad: text('a') },
    ]
    const problem = await problemOf(at.decrypt(keyId, items))
    expect(problem).toMatchObject({ code: 'request-invalid', detail: '6 of 7 ciphertexts do not open. Nothing was decrypted.' })
    expect(problem.faults.map(({ pointer }) => pointer)).toEqual([1, 2, 3, 4, 5, 6].map((i) => `/items/${i}/ciphertext`))
    expect(at.gate.log.entries.at(-1)).toMatchObject({ kind: 'outcome', code: 'request-invalid', operation: 'kms.key.decrypt' })
  })

  test.each(OUTCOMES)('a key that is %s: encrypt %s, decrypt %s', async (state, encrypts, decrypts) => {
    const { keyId } = await at.generate('readings', 'aes-gcm-256')
    const [ciphertext] = await at.encrypt(keyId, [{ plaintext: '' }])
    if (state !== 'active') await at.move(keyId, state)
    expect([await codeOf(at.encrypt(keyId, [{ plaintext: '' }])), await codeOf(at.decrypt(keyId, [{ ciphertext }]))]).toEqual([encrypts, decrypts])
  })

  test.each(['ec-p256', 'hmac-sha256'])('a key of %s neither encrypts nor decrypts, and its use is not tried', async (algorithm) => {
    const { keyId } = await at.generate('meters', algorithm)
    const used = at.hsm.uses()
    expect(await problemOf(at.encrypt(keyId, [{ plaintext: '' }]))).toMatchObject({ code: 'conflict', detail: expect.stringContaining(algorithm) as string })
    expect((await problemOf(at.decrypt(keyId, [{ ciphertext: '' }]))).code).toBe('conflict')
    expect(at.hsm.uses()).toBe(used)
  })

  test('an AES-GCM key neither signs nor verifies', async () => {
    const { keyId } = await at.generate('readings', 'aes-gcm-256')
    expect((await problemOf(at.sign(keyId, 'm'))).code).toBe('conflict')
    expect((await problemOf(at.check(keyId, 'm', ''))).code).toBe('conflict')
  })

  test('a row whose algorithm was edited is told for what it is', async () => {
    const { keyId } = await at.generate('readings', 'aes-gcm-256')
    const mine = at.keys.rows.get(keyId)
    if (mine === undefined) throw new Error('the key is there')
    const record = { ...mine.record, algorithm: 'ec-p256' } as const
    at.keys.rows.set(keyId, { record, sealed: { row: keyRow(record), mac: mine.sealed.mac } })
    expect((await problemOf(at.encrypt(keyId, [{ plaintext: '' }]))).code).toBe('integrity-failed')
    expect((await problemOf(at.sign(keyId, 'm'))).code).toBe('integrity-failed')
  })

  test('the log has the digests of ciphertexts, the same at both ends, and none of a plaintext', async () => {
    const { keyId } = await at.generate('readings', 'aes-gcm-256')
    const ciphertexts = await at.encrypt(
      keyId,
      ['a', 'b'].map((plaintext) => ({ plaintext: text(plaintext) })),
    )
    const digests = ciphertexts.map((ciphertext) => base64url(sha256(fromBase64(ciphertext))))
    expect(at.gate.log.entries.at(-1)).toMatchObject({
      operation: 'kms.key.encrypt',
      uses: [{ action: 'encrypt', keyId }],
      facts: { public: { count: 2, digests } },
    })
    await at.decrypt(
      keyId,
      ciphertexts.map((ciphertext) => ({ ciphertext })),
    )
    expect(at.gate.log.entries.at(-1)).toMatchObject({
      operation: 'kms.key.decrypt',
      uses: [{ action: 'decrypt', keyId }],
      facts: { public: { count: 2, digests } },
    })
    expect(JSON.stringify(at.gate.log.entries)).not.toContain(base64url(sha256(utf8('a'))))
  })

  test('an HSM that fails is an outcome without digests', async () => {
    const { keyId } = await at.generate('readings', 'aes-gcm-256')
    at.hsm.fail = 'after'
    expect((await problemOf(at.encrypt(keyId, [{ plaintext: '' }]))).code).toBe('hsm-unavailable')
    expect(at.gate.log.entries.at(-1)).toMatchObject({ kind: 'outcome', code: 'hsm-unavailable', facts: { public: { count: 1 } } })
  })

  const items = (count: number, plaintext = 'AA==') => Array.from({ length: count }, () => ({ plaintext }))
  test.each([
    ['no items', []],
    ['257 items', items(257)],
    ['base64 without padding', items(1, 'AA')],
    ['a plaintext over 64 KiB', items(1, base64(Buffer.alloc(65_537)))],
    ['an AAD over 64 KiB', [{ plaintext: '', aad: base64(Buffer.alloc(65_537)) }]],
    ['an IV of the caller', [{ plaintext: '', iv: 'AAAAAAAAAAAAAAAA' }]],
  ])('refuses %s', async (_what, given) => {
    const problem = await problemOf(at.ask(encryptOperation({ hsm: at.hsm, keys: at.keys, sealer: at.sealer }), { keyId: newUuid(), items: given }))
    expect(problem.code).toBe('request-invalid')
    expect(problem.faults[0]?.pointer).toMatch(/^\/items/)
  })

  test('a plaintext of 64 KiB comes back', async () => {
    const { keyId } = await at.generate('readings', 'aes-gcm-256')
    const plaintext = base64(Buffer.alloc(65_536, 7))
    const [ciphertext] = await at.encrypt(keyId, [{ plaintext }])
    expect((await at.decrypt(keyId, [{ ciphertext }])).plaintexts).toEqual([{ plaintext }])
  })
})

describe('listing', () => {
  test('gives the own keys in pages, and nobody else’s', async () => {
    const made: string[] = []
    for (const label of ['a', 'b', 'c', 'd', 'e']) made.push((await at.generate(label)).keyId)
    await at.generate('theirs', 'ec-p256', traffic)
    const first = await at.list({ limit: '2' })
    const second = await at.list({ limit: '2', after: first.next })
    const third = await at.list({ limit: '2', after: second.next })
    expect([first, second, third].flatMap(({ keys }) => keys.map(({ keyId }) => keyId))).toEqual(made.sort())
    expect(third.next).toBeUndefined()
  })

  test('a key that was never made is not listed and not there', async () => {
    at.hsm.fail = 'before'
    await problemOf(at.generate('meters'))
    expect((await at.list()).keys).toEqual([])
    expect((await problemOf(at.get([...at.keys.rows.keys()][0] ?? ''))).code).toBe('not-found')
  })

  test.each([{ limit: '0' }, { limit: '501' }, { limit: 'x' }, { after: 'x' }, { owner: 'urn:gridseal:module:traffic' }])('refuses %j', async (body) => {
    expect((await problemOf(at.list(body))).code).toBe('request-invalid')
  })
})

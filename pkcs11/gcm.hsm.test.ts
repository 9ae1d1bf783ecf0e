import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { frame, unframe } from '../core/bytes.ts'
import { keyId, newUuid } from '../core/ids.ts'
import { encodeRow } from '../core/row.ts'
import { withTestPermit } from '../policies/testing/memory-gate.ts'
import type { KeyAlgorithm, StoredKey } from './contract.ts'
import { decryptGcm } from './gcm.ts'
import type { LaneKeys, SealedBytes } from './lane-keys.ts'
import { sealed } from './testing/fill-fixture.ts'
import { type TestToken, testToken } from './testing/test-token.ts'
import { tokenInProcess, wrapKnownKey } from './testing/token-in-process.ts'
import { VERBS } from './verbs.ts'

let test: TestToken
let keys: LaneKeys
beforeAll(async () => {
  test = await testToken()
  keys = tokenInProcess(test.folder)
})
afterAll(() => test.close())

const KEY = randomBytes(32)
const IV_BYTES = 12

/** By another implementation. */
function seal(plaintext: Uint8Array, aad: Uint8Array): Buffer {
  const iv = randomBytes(IV_BYTES)
  const cipher = createCipheriv('aes-256-gcm', KEY, iv).setAAD(aad)
  return Buffer.concat([iv, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}
function open(whole: Uint8Array, aad: Uint8Array): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', KEY, whole.subarray(0, IV_BYTES)).setAAD(aad).setAuthTag(whole.subarray(-16))
  return Buffer.concat([decipher.update(whole.subarray(IV_BYTES, -16)), decipher.final()])
}
const knownKey = (): SealedBytes => {
  const id = keyId(newUuid())
  const row = encodeRow({ table: 'keys', schema: 1, id, version: 1, columns: { algorithm: 'aes-gcm-256', wrapped: wrapKnownKey(keys, 'aes-gcm-256', KEY) } })
  return { id, row, mac: VERBS.macRows(keys, { rows: frame([row]) }) }
}
/** By the token: the key has no such use, or not that mechanism. */
const REFUSED = /^(CKR_|mechanism-unsupported)/
/** Of every length that a block, an empty field or a large one could make a difference. */
const CASES = [0, 1, 15, 16, 17, 1000, 65_536].flatMap((length) => [0, 1, 16, 20_000].map((aad) => [randomBytes(length), randomBytes(aad)] as const))

describe('AES-GCM by a key of known value', () => {
  it('what the token encrypts another implementation opens', () => {
    const whole = unframe(VERBS.encrypt(keys, { key: knownKey(), items: frame(CASES.flat()) }))
    CASES.forEach(([plaintext, aad], at) => expect(open(whole[at] as Uint8Array, aad).equals(plaintext)).toBe(true))
  })

  it('what another implementation encrypts the token opens', () => {
    const items = frame(CASES.flatMap(([plaintext, aad]) => [seal(plaintext, aad), aad]))
    const fields = unframe(VERBS.decrypt(keys, { key: knownKey(), items }))
    CASES.forEach(([plaintext], at) => expect([fields[2 * at]?.[0], Buffer.compare(fields[2 * at + 1] as Uint8Array, plaintext)]).toEqual([1, 0]))
  })

  it('every altered byte of IV, ciphertext, tag and AAD is found, and whatever is too short', () => {
    const [plaintext, aad] = [randomBytes(20), randomBytes(5)]
    const whole = seal(plaintext, aad)
    const flipped = (bytes: Buffer, at: number): Buffer => Buffer.from(bytes.map((byte, index) => (index === at ? byte ^ 0x80 : byte)))
    const wrong = [
      ...Array.from(whole, (_, at) => [flipped(whole, at), aad] as const),
      ...Array.from(aad, (_, at) => [whole, flipped(aad, at)] as const),
      ...Array.from(whole, (_, length) => [whole.subarray(0, length), aad] as const),
      [whole, Buffer.alloc(0)] as const,
    ]
    const fields = unframe(VERBS.decrypt(keys, { key: knownKey(), items: frame([...wrong, [whole, aad]].flat()) }))
    const answers = fields.filter((_, at) => at % 2 === 0).map((answer) => answer[0])
    expect(answers).toEqual([...wrong.map(() => 0), 1])
    expect(fields.slice(0, -1).filter((field, at) => at % 2 === 1 && field.length > 0)).toEqual([])
  })

  it('a token that fails is not a wrong tag', () => {
    const { lib } = keys.token
    const key = keys.load(knownKey()).handle
    const call = { iv: Buffer.alloc(12), data: Buffer.alloc(32), aad: Buffer.alloc(0) }
    expect(decryptGcm(keys.token, key, call)).toBeUndefined()
    const real = lib.C_Decrypt.bind(lib)
    // It says CKR_GENERAL_ERROR to whatever it is asked; and then it opens a published value, but wrongly.
    const broken = vi.spyOn(lib, 'C_Decrypt').mockImplementation((session) => real(session, Buffer.alloc(16), Buffer.alloc(16)))
    try {
      expect(() => decryptGcm(keys.token, key, call)).toThrow('CKR_GENERAL_ERROR')
      broken.mockImplementationOnce((session) => real(session, Buffer.alloc(16), Buffer.alloc(16)))
      broken.mockImplementationOnce((session, data, out) => real(session, data, out).fill(1))
      expect(() => decryptGcm(keys.token, key, call)).toThrow('CKR_GENERAL_ERROR')
    } finally {
      broken.mockRestore()
    }
    expect(decryptGcm(keys.token, key, call)).toBeUndefined()
  })
})

describe('AES-GCM by keys of the database', () => {
  const newKey = async (algorithm: KeyAlgorithm): Promise<StoredKey> => {
    const id = keyId(newUuid())
    const made = await withTestPermit([{ action: 'generate', keyId: id }], (permit) => test.hsm.generate(permit, id, algorithm))
    expect(made.kcv?.value).toHaveLength(algorithm === 'aes-gcm-256' ? 5 : 3)
    return { id, sealed: await sealed(test, id, { algorithm, wrapped: made.wrapped }) }
  }
  const encrypt = (key: StoredKey, items: Parameters<typeof test.hsm.encrypt>[2]) =>
    withTestPermit([{ action: 'encrypt', keyId: key.id }], (permit) => test.hsm.encrypt(permit, key, items))
  const decrypt = (key: StoredKey, items: Parameters<typeof test.hsm.decrypt>[2]) =>
    withTestPermit([{ action: 'decrypt', keyId: key.id }], (permit) => test.hsm.decrypt(permit, key, items))

  it('600 plaintexts come back, each under an IV of its own; another key opens none', async () => {
    const [key, other] = [await newKey('aes-gcm-256'), await newKey('aes-gcm-256')]
    const items = Array.from({ length: 600 }, (_, at) => ({ plaintext: randomBytes(at % 50), aad: randomBytes(at % 7) }))
    const ciphertexts = (await encrypt(key, items)).map((ciphertext, at) => ({ ciphertext, aad: items[at]?.aad ?? Buffer.alloc(0) }))
    expect(new Set(ciphertexts.map(({ ciphertext }) => Buffer.from(ciphertext.subarray(0, IV_BYTES)).toString('hex'))).size).toBe(600)
    const opened = await decrypt(key, ciphertexts)
    expect(opened.map((plaintext) => plaintext && Buffer.from(plaintext))).toEqual(items.map(({ plaintext }) => plaintext))
    expect(new Set(await decrypt(other, ciphertexts.slice(0, 3)))).toEqual(new Set([undefined]))
  })

  it('a key of another algorithm does neither, and an AES-GCM key nothing else', async () => {
    const [gcm, block] = [await newKey('aes-gcm-256'), await newKey('aes-256')]
    const refused = { code: 'hsm-failed' }
    await expect(encrypt(block, [{ plaintext: Buffer.alloc(1), aad: Buffer.alloc(0) }])).rejects.toMatchObject(refused)
    await expect(decrypt(block, [{ ciphertext: Buffer.alloc(40), aad: Buffer.alloc(0) }])).rejects.toMatchObject(refused)
    const [sign, mac] = [{ action: 'sign', keyId: gcm.id } as const, { action: 'mac', keyId: gcm.id } as const]
    await expect(withTestPermit([sign], (permit) => test.hsm.sign(permit, gcm, [Buffer.alloc(1)]))).rejects.toMatchObject(refused)
    await expect(withTestPermit([mac], (permit) => test.hsm.mac(permit, gcm, [Buffer.alloc(1)]))).rejects.toMatchObject(refused)
    // The token holds to it too: the key as it is used does not even tell its check value again.
    const known = keys.load(knownKey()).handle
    expect(() => keys.token.cmac(known, Buffer.alloc(16))).toThrow(REFUSED)
    expect(() => keys.token.encryptBlock(known, Buffer.alloc(16))).toThrow(REFUSED)
  })
})

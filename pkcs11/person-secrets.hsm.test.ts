import { constants, createDecipheriv, createHmac, generateKeyPairSync, privateDecrypt } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Handle } from 'pkcs11js'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { utf8 } from '../core/bytes.ts'
import { type KeyId, keyId, newUuid } from '../core/ids.ts'
import { encodeRow, type SealedRow } from '../core/row.ts'
import { withTestPermit } from '../policies/testing/memory-gate.ts'
import { OTP_ALGORITHM, OTP_SPEC } from './algorithms.ts'
import { forkCeremony } from './ceremony/run-ceremony.ts'
import { entryUrl } from './child.ts'
import { openHsm, type SecretIdentity, type StoredKey } from './index.ts'
import { isKekBackup } from './key-backup.ts'
import { KNOWN_ANSWERS } from './known-answers.ts'
import type { LaneKeys, SealedBytes } from './lane-keys.ts'
import { CKM } from './mechanisms.ts'
import { openLanes } from './open.ts'
import { makeOtpSecret, otpHmac, wipeSecret } from './otp-secret.ts'
import { pepper } from './pepper.ts'
import { SYSTEM_KEYS } from './root-keys.ts'
import { CKA } from './templates.ts'
import { sealed } from './testing/fill-fixture.ts'
import { softToken } from './testing/soft-token.ts'
import { type TestToken, testToken } from './testing/test-token.ts'
import { tokenInProcess } from './testing/token-in-process.ts'

/** SoftHSM answers CKR_MECHANISM_INVALID to a mechanism that is not among the key's. */
const REFUSED = /CKR_|mechanism-unsupported/

let test: TestToken
/** The code of a lane, in this process. */
let keys: LaneKeys
beforeAll(async () => {
  test = await testToken({ lanes: 2 })
  keys = tokenInProcess(test.folder)
})
afterAll(() => test.close())
afterEach(() => vi.restoreAllMocks())

const hmacOf = (secret: Uint8Array, counter: number, algorithm = 'sha1'): Buffer => {
  const message = Buffer.alloc(8)
  message.writeBigUInt64BE(BigInt(counter))
  return createHmac(algorithm, secret).update(message).digest()
}
const otpRow = (wrapped: Uint8Array): Promise<SealedRow> => sealed(test, keyId(newUuid()), { algorithm: OTP_ALGORITHM, wrapped })
const bytesOf = ({ row, mac }: SealedRow): SealedBytes => ({ id: keyId(row.id), row: encodeRow(row), mac })

/** A secret of known value, as the database would hold it. */
function wrapKnown(secret: Uint8Array): Buffer {
  const { token } = keys
  const key = token.importKey(token.form({ ...OTP_SPEC, extractable: true, wrapWithTrusted: true }), { type: CKA.VALUE, value: Buffer.from(secret) })
  const wrapped = Buffer.from(token.wrap(keys.current('storage-kek'), key))
  token.destroy(key)
  return wrapped
}

function objects(): number {
  const { lib, handle } = keys.token
  lib.C_FindObjectsInit(handle, [])
  const count = lib.C_FindObjects(handle, 1000).length
  lib.C_FindObjectsFinal(handle)
  return count
}

describe('the pepper', () => {
  it('is HMAC-SHA-256 by the pepper key over purpose || 00 || value: the key of a backup that is open here', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'gridseal-pepper-'))
    const recipient = generateKeyPairSync('rsa', { modulusLength: 3072 })
    try {
      const { environment, settings, uri, env } = await softToken(folder, 'a')
      const spki = recipient.publicKey.export({ format: 'der', type: 'spki' })
      const { backups, identity } = await forkCeremony(environment, 'makeRootKeys', settings, { recipient: spki })
      await forkCeremony(environment, 'finishRootKeys', settings)
      const kek = backups.map(({ backup }) => backup).find(isKekBackup)
      const wrapped = backups.map(({ backup }) => backup).find((backup) => backup.keyId === SYSTEM_KEYS.pepper)
      if (kek === undefined || wrapped === undefined) throw new Error('the pepper has no backup')
      const kekValue = privateDecrypt({ key: recipient.privateKey, oaepHash: 'sha1', padding: constants.RSA_PKCS1_OAEP_PADDING }, kek.wrapped)
      const decipher = createDecipheriv('id-aes256-wrap-pad', kekValue, Buffer.from('a65959a6', 'hex'))
      const value = Buffer.concat([decipher.update(wrapped.wrapped), decipher.final()])
      expect(value).toHaveLength(32)
      // Its check value is of the method that it can do, and says so.
      const kcv = createHmac('sha256', value).update(Buffer.alloc(16)).digest().subarray(0, 5)
      expect(wrapped).toMatchObject({ algorithm: 'hmac-sha256', kcv: { method: 'hmac-sha256', value: kcv } })
      expect(identity.keys.find((key) => key.keyId === SYSTEM_KEYS.pepper)).toMatchObject({ algorithm: 'hmac-sha256', kcv: { value: kcv } })

      process.env['SOFTHSM2_CONF'] = env.SOFTHSM2_CONF
      const open = await openHsm({ dataFolder: folder, lanes: 1, uri })
      try {
        for (const purpose of ['password', 'recovery-code', 'device', 'login-name'] as const) {
          for (const text of ['', 'x', 'tower gravel anise 9'.repeat(50)]) {
            const right = createHmac('sha256', value).update(`${purpose}\0${text}`).digest()
            expect(Buffer.from(await open.personSecrets.pepper(purpose, utf8(text)))).toEqual(right)
          }
        }
        expect(open.stats().personSecrets).toEqual({ peppers: 12, secretsMade: 0, codes: 0 })
      } finally {
        await open.close()
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('has its purposes and no others, and its key does nothing else', () => {
    for (const purpose of ['', 'password\0', 'toString', 'x'])
      expect(() => pepper(keys, { purpose: purpose as 'password', value: Buffer.alloc(1) })).toThrow('no such purpose')
    const { token, roots } = keys
    expect(() => token.read(roots.pepper, CKA.VALUE)).toThrow('CKR_ATTRIBUTE_SENSITIVE')
    expect(() => token.sign(CKM.SHA_1_HMAC, roots.pepper, Buffer.alloc(8), Buffer.alloc(20))).toThrow(REFUSED)
    expect(() => token.wrap(keys.current('storage-kek'), roots.pepper)).toThrow(REFUSED)
  })
})

describe('a secret of one-time codes', () => {
  it('is made of 20 new bytes, and its codes are the HMAC-SHA-1 of the counters', async () => {
    const [first, second] = [await test.personSecrets.makeOtpSecret(), await test.personSecrets.makeOtpSecret()]
    expect([first.secret.length, second.secret.length]).toEqual([20, 20])
    expect(Buffer.from(first.secret).equals(second.secret)).toBe(false)
    for (const { wrapped, secret } of [first, second]) {
      const row = await otpRow(wrapped)
      for (const counters of [[0], [59_480_000, 59_479_999], [Number.MAX_SAFE_INTEGER]])
        expect((await test.personSecrets.otpHmac(row, counters)).map((mac) => Buffer.from(mac))).toEqual(counters.map((one) => hmacOf(secret, one)))
    }
  })

  it('of RFC 4226 gives the values of its appendix D', async () => {
    const { secret, hmacs } = KNOWN_ANSWERS.hotp
    const row = await otpRow(wrapKnown(Buffer.from(secret, 'hex')))
    for (let count = 0; count < hmacs.length; count += 2) {
      const macs = await test.personSecrets.otpHmac(row, [count, count + 1])
      expect(macs.map((mac) => Buffer.from(mac).toString('hex'))).toEqual(hmacs.slice(count, count + 2))
    }
  })

  it('is not unwrapped for a row that the service did not write', async () => {
    const { wrapped } = await test.personSecrets.makeOtpSecret()
    const { row, mac } = await otpRow(wrapped)
    const wrong: readonly SealedRow[] = [
      { row, mac: Buffer.alloc(16) },
      { row, mac: mac.subarray(0, 8) },
      { row: { ...row, version: 2 }, mac },
      { row: { ...row, columns: { ...row.columns, wrapped: Buffer.alloc(32) } }, mac },
    ]
    const unwrap = vi.spyOn(keys.token, 'unwrap')
    for (const one of wrong) {
      expect(() => otpHmac(keys, { sealed: bytesOf(one), counters: [1] })).toThrow(expect.objectContaining({ code: 'integrity-failed' }))
      await expect(test.personSecrets.otpHmac(one, [1])).rejects.toMatchObject({ code: 'integrity-failed' })
    }
    // Nor under another person's id.
    expect(() => otpHmac(keys, { sealed: { ...bytesOf({ row, mac }), id: keyId(newUuid()) }, counters: [1] })).toThrow(/integrity-failed/)
    expect(unwrap).not.toHaveBeenCalled()
    // The control.
    expect(otpHmac(keys, { sealed: bytesOf({ row, mac }), counters: [1] })).toHaveLength(20)
    expect(unwrap).toHaveBeenCalledOnce()
    await expect(test.personSecrets.otpHmac(await otpRow(Buffer.alloc(32, 7)), [1])).rejects.toMatchObject({ code: 'integrity-failed' })
  })

  it('is unwrapped at each call, does HMAC-SHA-1 alone meanwhile, and no object of it stays', async () => {
    const { wrapped } = await test.personSecrets.makeOtpSecret()
    const row = bytesOf(await otpRow(wrapped))
    const before = objects()
    const unwrap = vi.spyOn(keys.token, 'unwrap')
    const sign = keys.token.sign.bind(keys.token)
    const refusals: string[] = []
    vi.spyOn(keys.token, 'sign').mockImplementation((mechanism, key, message, out) => {
      if (mechanism !== CKM.SHA_1_HMAC) return sign(mechanism, key, message, out)
      for (const act of attempts(key))
        try {
          act()
          refusals.push('it was not refused')
        } catch (error) {
          refusals.push(String(error))
        }
      return sign(mechanism, key, message, out)
    })
    const attempts = (key: Handle): readonly (() => unknown)[] => [
      () => keys.token.read(key, CKA.VALUE),
      () => keys.token.wrap(keys.current('storage-kek'), key),
      () => sign(CKM.SHA256_HMAC, key, Buffer.alloc(8), Buffer.alloc(32)),
    ]
    for (let time = 0; time < 3; time++) otpHmac(keys, { sealed: row, counters: [time, time + 1] })
    expect(unwrap).toHaveBeenCalledTimes(3)
    expect(refusals).toHaveLength(3 * 2 * 3)
    expect(refusals.filter((refusal) => !REFUSED.test(refusal))).toEqual([])
    expect(objects()).toBe(before)
    vi.restoreAllMocks()
    makeOtpSecret(keys)
    expect(objects()).toBe(before)
  })

  it('is gone from the lane once it was sent, or when it could not be wrapped', () => {
    const made = makeOtpSecret(keys)
    expect(made.secret.some((byte) => byte !== 0)).toBe(true)
    wipeSecret(made)
    expect(made.secret).toEqual(Buffer.alloc(20))
    for (const answer of [undefined, null, 1, Buffer.alloc(1), { secret: 'x' }]) expect(() => wipeSecret(answer)).not.toThrow()

    const random = keys.token.lib.C_GenerateRandom.bind(keys.token.lib)
    let value: Buffer = Buffer.alloc(0)
    vi.spyOn(keys.token.lib, 'C_GenerateRandom').mockImplementation((...args: Parameters<typeof random>) => (value = random(...args)))
    const before = objects()
    vi.spyOn(keys.token, 'wrap').mockImplementation(() => {
      expect(value.some((byte) => byte !== 0)).toBe(true)
      throw new Error('the token fails')
    })
    expect(() => makeOtpSecret(keys)).toThrow('the token fails')
    expect(value).toEqual(Buffer.alloc(20))
    expect(objects()).toBe(before)
  })

  it('is asked for two codes at once at most', async () => {
    const { wrapped } = await test.personSecrets.makeOtpSecret()
    const row = await otpRow(wrapped)
    for (const counters of [[], [1, 2, 3], [-1], [0.5], [Number.MAX_SAFE_INTEGER + 1]])
      await expect(test.personSecrets.otpHmac(row, counters)).rejects.toMatchObject({ code: 'hsm-failed' })
  })

  it('is no key of a caller, and a key of a caller is none', async () => {
    const id = keyId(newUuid())
    const uses = (['generate', 'sign', 'verify', 'mac'] as const).map((action) => ({ action, keyId: id }))
    const { wrapped } = await test.personSecrets.makeOtpSecret()
    const otp: StoredKey = { id, sealed: await sealed(test, id, { algorithm: OTP_ALGORITHM, wrapped }) }
    await withTestPermit(uses, async (permit) => {
      const failed = { code: 'hsm-failed' }
      await expect(test.hsm.generate(permit, id, OTP_ALGORITHM as 'hmac-sha256')).rejects.toMatchObject(failed)
      await expect(test.hsm.sign(permit, otp, [Buffer.alloc(8)])).rejects.toMatchObject(failed)
      await expect(test.hsm.verify(permit, otp, [{ message: Buffer.alloc(8), signature: Buffer.alloc(20) }])).rejects.toMatchObject(failed)
      await expect(test.hsm.mac(permit, otp, [Buffer.alloc(8)])).rejects.toMatchObject(failed)
      const { wrapped: other } = await test.hsm.generate(permit, id, 'hmac-sha256')
      await expect(test.personSecrets.otpHmac(await sealed(test, id, { algorithm: 'hmac-sha256', wrapped: other }), [1])).rejects.toMatchObject(failed)
      return {}
    })
    // No verb either, whatever it is asked for.
    const { open, lanes } = await openLanes({ dataFolder: test.folder, lanes: 1 }, entryUrl('lane-process'))
    try {
      await expect(lanes.any().call('generate', { algorithm: OTP_ALGORITHM as 'hmac-sha256' })).rejects.toMatchObject({ code: 'hsm-failed' })
    } finally {
      await open.close()
    }
  })
})

describe('a rotation of the storage KEK', () => {
  const [FIRST, SECOND] = [keyId('root:storage-kek'), keyId('root:storage-kek-2')]
  const identityOf = (id: KeyId): SecretIdentity => test.identity.keys.find((key) => key.keyId === id) as SecretIdentity

  it('opens secrets under both, wraps them anew, and they are the same without the old one', async () => {
    const secret = await test.personSecrets.makeOtpSecret()
    const before = await otpRow(secret.wrapped)
    const codes = async (row: SealedRow): Promise<Buffer[]> => (await test.personSecrets.otpHmac(row, [7, 6])).map((mac) => Buffer.from(mac))
    const right = [hmacOf(secret.secret, 7), hmacOf(secret.secret, 6)]
    const { identity: second } = await withTestPermit([{ action: 'ceremony', keyId: SECOND }], (permit) => test.hsm.makeGeneration(permit, SECOND))
    const others = [keyId('root:row-mac'), keyId('root:group-mac')].map((id) => ({ identity: identityOf(id), isCurrent: true }))
    const both = [
      { identity: second, isCurrent: true },
      { identity: identityOf(FIRST), isCurrent: false },
    ]
    test.rootKeys.use({ number: 1, keys: [...both, ...others] })
    expect(await codes(before)).toEqual(right)
    const fresh = await test.personSecrets.makeOtpSecret()

    const key = { id: keyId(before.row.id), sealed: before }
    const freshKey = await otpRow(fresh.wrapped).then((row) => ({ id: keyId(row.row.id), sealed: row }))
    const uses = [
      { action: 'unwrap', keyId: FIRST },
      { action: 'wrap', keyId: SECOND },
    ] as const
    const [rewrapped, current] = await withTestPermit(uses, (permit) => test.hsm.rewrap(permit, { from: FIRST, to: SECOND, keys: [key, freshKey] }))
    expect(current).toEqual({ how: 'current' })
    if (rewrapped?.how !== 'rewrapped') throw new Error('the secret was not wrapped anew')
    expect(Buffer.from(rewrapped.wrapped).equals(secret.wrapped)).toBe(false)
    test.rootKeys.use({ number: 2, keys: [...both.slice(0, 1), ...others] })
    expect(await codes(await otpRow(rewrapped.wrapped))).toEqual(right)
    await expect(codes(before)).rejects.toMatchObject({ code: 'integrity-failed' })
  })
})

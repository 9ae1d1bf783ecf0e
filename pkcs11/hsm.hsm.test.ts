import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { utf8 } from '../core/bytes.ts'
import { keyId, newUuid } from '../core/ids.ts'
import type { Permit } from '../policies/permit.ts'
import { withTestPermit } from '../policies/testing/memory-gate.ts'
import { type KeyAlgorithm, ROOT_KEYS, type StoredKey } from './index.ts'
import { sealed } from './testing/fill-fixture.ts'
import { type TestToken, testToken } from './testing/test-token.ts'

let test: TestToken
beforeAll(async () => {
  test = await testToken()
})
afterAll(() => test.close())

const newKey = async (algorithm: KeyAlgorithm): Promise<{ key: StoredKey; publicKey: Uint8Array }> => {
  const id = keyId(newUuid())
  const { wrapped, publicKey } = await withTestPermit([{ action: 'generate', keyId: id }], (permit) => test.hsm.generate(permit, id, algorithm))
  return { key: { id, sealed: await sealed(test, id, { algorithm, wrapped, public_key: publicKey }) }, publicKey: publicKey ?? new Uint8Array() }
}
const sign = (key: StoredKey, messages: Uint8Array[]): Promise<Uint8Array[]> =>
  withTestPermit([{ action: 'sign', keyId: key.id }], (permit) => test.hsm.sign(permit, key, messages))
const spki = (der: Uint8Array): KeyObject => createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' })
const messages = ['', 'a', 'b'.repeat(10_000)].map(utf8)

describe('keys of the database', () => {
  it('P-256: signs raw r||s that others verify, and verifies', async () => {
    const { key, publicKey } = await newKey('ec-p256')
    const signatures = await sign(key, messages)
    signatures.forEach((signature, at) => {
      expect(verify('sha256', messages[at] as Uint8Array, { key: spki(publicKey), dsaEncoding: 'ieee-p1363' }, signature)).toBe(true)
    })
    const items = [
      { message: messages[0] as Uint8Array, signature: signatures[0] as Uint8Array },
      { message: messages[1] as Uint8Array, signature: signatures[0] as Uint8Array },
      { message: messages[2] as Uint8Array, signature: new Uint8Array(3) },
      { message: messages[2] as Uint8Array, signature: new Uint8Array(64) },
    ]
    expect(await withTestPermit([{ action: 'verify', keyId: key.id }], (permit) => test.hsm.verify(permit, key, items))).toEqual([true, false, false, false])
  })

  it('HMAC: signs the same again, and verifies whole tags only', async () => {
    const { key } = await newKey('hmac-sha256')
    const [one, two] = [await sign(key, messages), await sign(key, messages)]
    expect(one).toEqual(two)
    expect(one.map(({ length }) => length)).toEqual([32, 32, 32])
    const items = [one[1] as Uint8Array, (one[1] as Uint8Array).subarray(0, 16), one[0] as Uint8Array].map((signature) => ({
      message: messages[1] as Uint8Array,
      signature,
    }))
    expect(await withTestPermit([{ action: 'verify', keyId: key.id }], (permit) => test.hsm.verify(permit, key, items))).toEqual([true, false, false])
  })

  it('a key does only what its algorithm is for', async () => {
    const [{ key: cmac }, { key: aes }] = [await newKey('aes-cmac-256'), await newKey('aes-128')]
    const mac = (key: StoredKey): Promise<Uint8Array[]> => withTestPermit([{ action: 'mac', keyId: key.id }], (permit) => test.hsm.mac(permit, key, messages))
    expect((await mac(cmac)).map(({ length }) => length)).toEqual([16, 16, 16])
    await expect(mac(aes)).rejects.toMatchObject({ code: 'hsm-failed' })
    await expect(sign(cmac, messages)).rejects.toMatchObject({ code: 'hsm-failed' })
  })

  it('more keys than stay unwrapped are all served', async () => {
    const small = await testToken({ cachedKeys: 2 })
    try {
      const ids = [1, 2, 3, 4, 5].map((at) => keyId(`key-${at}`))
      const keys = await Promise.all(
        ids.map(async (id): Promise<StoredKey> => {
          const { wrapped } = await withTestPermit([{ action: 'generate', keyId: id }], (permit) => small.hsm.generate(permit, id, 'hmac-sha256'))
          return { id, sealed: await sealed(small, id, { algorithm: 'hmac-sha256', wrapped }) }
        }),
      )
      const round = (): Promise<string[]> =>
        Promise.all(
          keys.map(async (key) =>
            Buffer.from(
              (await withTestPermit([{ action: 'sign', keyId: key.id }], (permit) => small.hsm.sign(permit, key, messages)))[0] as Uint8Array,
            ).toString('hex'),
          ),
        )
      const first = await round()
      expect(new Set(first).size).toBe(5)
      expect(await round()).toEqual(first)
    } finally {
      await small.close()
    }
  })
})

describe('what does not pass', () => {
  it('no use without a permit that lists it, and none by a permit that is over', async () => {
    const { key } = await newKey('ec-p256')
    let kept: Permit | undefined
    const attempts = [
      (permit: Permit) => test.hsm.generate(permit, key.id, 'ec-p256'),
      (permit: Permit) => test.hsm.sign(permit, key, messages),
      (permit: Permit) => test.hsm.verify(permit, key, []),
      (permit: Permit) => test.hsm.encrypt(permit, key, []),
      (permit: Permit) => test.hsm.decrypt(permit, key, []),
      (permit: Permit) => test.hsm.mac(permit, key, messages),
      (permit: Permit) => test.hsm.signWithRoot(permit, ROOT_KEYS.root, messages),
      (permit: Permit) => test.hsm.makeCardMaster(permit, keyId('master:x')),
      (permit: Permit) => test.hsm.makeTransportKey(permit, { keyId: keyId('transport:x'), macKeyId: keyId('x'), recipient: new Uint8Array() }),
    ]
    await withTestPermit([{ action: 'sign', keyId: keyId('another') }], async (permit) => {
      kept = permit
      for (const attempt of attempts) await expect(attempt(permit)).rejects.toThrow('does not cover')
      return {}
    })
    for (const attempt of attempts) await expect(attempt(kept as Permit)).rejects.toThrow('the permit is over')
  })

  it('an edited row at the same version, although the key is cached', async () => {
    const [{ key }, { key: other }] = [await newKey('ec-p256'), await newKey('ec-p256')]
    await sign(key, messages)
    const { row, mac } = key.sealed
    const refused = { code: 'integrity-failed' }
    const swapped = { ...row, columns: { ...row.columns, wrapped: other.sealed.row.columns['wrapped'] } }
    await expect(sign({ ...key, sealed: { row: swapped, mac } }, messages)).rejects.toMatchObject(refused)
    await expect(sign({ ...key, sealed: { row: { ...row, version: 2 }, mac } }, messages)).rejects.toMatchObject(refused)
    await expect(sign({ ...key, sealed: { row, mac: Buffer.alloc(16) } }, messages)).rejects.toMatchObject(refused)
    await expect(sign({ ...key, sealed: { row, mac: mac.subarray(0, 8) } }, messages)).rejects.toMatchObject(refused)
    await expect(sign({ id: key.id, sealed: other.sealed }, messages)).rejects.toMatchObject(refused)
    await expect(sign(key, messages)).resolves.toHaveLength(3)
  })

  it('the checkpoint key and the system’s others under the name of a root key', async () => {
    for (const name of ['root:checkpoint', 'root:storage-kek', 'root:row-mac']) {
      const id = keyId(name)
      await expect(withTestPermit([{ action: 'sign', keyId: id }], (permit) => test.hsm.signWithRoot(permit, id, messages))).rejects.toMatchObject({
        code: 'hsm-failed',
      })
      if (name !== 'root:checkpoint') expect(() => test.hsm.rootPublicKey(id)).toThrow('is not a root key with a public part')
    }
  })
})

describe('the system’s own keys', () => {
  it('root keys sign what their public parts verify', async () => {
    for (const id of Object.values(ROOT_KEYS)) {
      const [signature] = await withTestPermit([{ action: 'sign', keyId: id }], (permit) => test.hsm.signWithRoot(permit, id, [utf8('tbs')]))
      expect(verify('sha256', utf8('tbs'), { key: spki(test.hsm.rootPublicKey(id)), dsaEncoding: 'ieee-p1363' }, signature as Uint8Array)).toBe(true)
    }
  })

  it('checkpoints are Ed25519 on this token', async () => {
    const { algorithm, publicKey } = test.integrity.checkpointKey
    expect(algorithm).toBe('ed25519')
    expect(verify(null, utf8('note'), spki(publicKey), await test.integrity.signCheckpoint(utf8('note')))).toBe(true)
  })

  it('MACs of rows, groups and blind indexes are of three keys', async () => {
    const row = { table: 't', schema: 1, id: keyId('r'), version: 1, columns: { a: 'x' } }
    const [mac] = (await test.integrity.macRows([row])) as [Uint8Array]
    await expect(test.integrity.assertRows([{ row, mac }])).resolves.toBeUndefined()
    const wrong = [
      { row, mac },
      { row: { ...row, columns: { a: 'y' } }, mac },
    ]
    await expect(test.integrity.assertRows(wrong)).rejects.toMatchObject({ code: 'integrity-failed', detail: expect.stringContaining('row r of t') as string })
    // Longer than one message, with one wrong row far behind; and nothing at all.
    const rows = Array.from({ length: 1_100 }, (_, at) => ({ ...row, id: `r${at}` }))
    const macs = await test.integrity.macRows(rows)
    const long = rows.map((one, at) => ({ row: one, mac: macs[at === 1_050 ? 0 : at] as Uint8Array }))
    await expect(test.integrity.assertRows(long)).rejects.toMatchObject({ detail: expect.stringContaining('row r1050 of t') as string })
    await expect(test.integrity.assertRows(long.filter((_, at) => at !== 1_050))).resolves.toBeUndefined()
    expect(await test.integrity.macRows([])).toEqual([])
    const group = await test.integrity.macGroup(utf8('g\0v'))
    const [index, same, other] = await test.integrity.blindIndex([
      { name: 'g', value: 'v' },
      { name: 'g', value: 'v' },
      { name: 'gv', value: '' },
    ])
    expect(index).toEqual(same)
    expect(index).not.toEqual(other)
    expect(index).not.toEqual(group)
    expect(
      await test.integrity.checkGroups([
        { message: utf8('g\0v'), mac: group },
        { message: utf8('g'), mac: group },
      ]),
    ).toEqual([true, false])
    await expect(test.integrity.blindIndex([{ name: 'a\0b', value: '' }])).rejects.toThrow(RangeError)
  })
})

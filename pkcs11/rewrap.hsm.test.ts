import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { keyId, type KeyId } from '../core/ids.ts'
import type { Row } from '../core/row.ts'
import { withTestPermit } from '../policies/testing/memory-gate.ts'
import type { GeneratedKey, KeyAlgorithm, Rewrapped, SecretIdentity, StoredKey } from './index.ts'
import { openHsm } from './index.ts'
import type { GenerationsInUse } from './root-key-generations.ts'
import { type TestToken, testToken } from './testing/test-token.ts'

const [FIRST, SECOND] = [keyId('root:storage-kek'), keyId('root:storage-kek-2')]
const [MAC, NEXT_MAC] = [keyId('root:row-mac'), keyId('root:row-mac-2')]

let test: TestToken
beforeAll(async () => {
  test = await testToken({ lanes: 2 })
})
afterAll(() => test.close())

const identityOf = (id: KeyId): SecretIdentity => test.identity.keys.find((key) => key.keyId === id) as SecretIdentity
let number = 0
/** In this order, the first of each key being current. */
const inUse = (...keys: readonly SecretIdentity[]): GenerationsInUse => {
  const given = new Map<string, SecretIdentity[]>()
  for (const key of keys) {
    const name = key.keyId.replace(/-\d+$/, '')
    given.set(name, [...(given.get(name) ?? []), key])
  }
  for (const id of [FIRST, MAC, keyId('root:group-mac')]) if (!given.has(id)) given.set(id, [identityOf(id)])
  return { number: ++number, keys: [...given.values()].flatMap((all) => all.map((identity, at) => ({ identity, isCurrent: at === 0 }))) }
}

async function store(id: string, algorithm: KeyAlgorithm): Promise<StoredKey> {
  const made = await withTestPermit([{ action: 'generate', keyId: keyId(id) }], (permit) => test.hsm.generate(permit, keyId(id), algorithm))
  return sealed(id, algorithm, made)
}
async function sealed(id: string, algorithm: KeyAlgorithm, { wrapped, publicKey }: GeneratedKey, version = 1): Promise<StoredKey> {
  const row: Row = { table: 'keys', schema: 1, id, version, columns: { algorithm, wrapped, public_key: publicKey } }
  const [mac = new Uint8Array()] = await test.integrity.macRows([row])
  return { id: keyId(id), sealed: { row, mac } }
}
const sign = async (key: StoredKey): Promise<Uint8Array> =>
  (await withTestPermit([{ action: 'sign', keyId: key.id }], (permit) => test.hsm.sign(permit, key, [Buffer.from('meter')])))[0] as Uint8Array
const rewrap = (keys: readonly StoredKey[], to: KeyId = SECOND, from: KeyId = FIRST): Promise<Rewrapped[]> =>
  withTestPermit(
    [
      { action: 'unwrap', keyId: from },
      { action: 'wrap', keyId: to },
    ],
    (permit) => test.hsm.rewrap(permit, { from, to, keys }),
  )
const make = (id: KeyId): Promise<{ readonly identity: SecretIdentity }> =>
  withTestPermit([{ action: 'ceremony', keyId: id }], (permit) => test.hsm.makeGeneration(permit, id))
const destroy = (id: KeyId, successor: KeyId): Promise<{ readonly was: boolean }> =>
  withTestPermit([{ action: 'ceremony', keyId: id }], async (permit) => ({ was: await test.hsm.destroyGeneration(permit, { keyId: id, successor }) }))
const blob = (key: StoredKey): Uint8Array => key.sealed.row.columns['wrapped'] as Uint8Array

describe('a second storage KEK', () => {
  const old: StoredKey[] = []
  const signatures: Uint8Array[] = []
  let second: SecretIdentity
  let fresh: StoredKey

  beforeAll(async () => {
    for (let at = 0; at < 60; at++)
      old.push(await store(`old-${at}`, (['hmac-sha256', 'ec-p256', 'aes-gcm-256', 'aes-128', 'aes-cmac-256'] as const)[at % 5] ?? 'aes-128'))
    for (const key of old.filter((_, at) => at % 5 === 0)) signatures.push(await sign(key))
  })

  it('is used for nothing before the service says so', async () => {
    ;({ identity: second } = await make(SECOND))
    expect(second).toMatchObject({ keyId: SECOND, kcv: { method: 'aes-kwp' } })
    expect(test.hsm.currentGeneration('storage-kek')).toBe(FIRST)
    expect(await rewrap([await store('of-the-first', 'aes-128')], FIRST)).toEqual([{ how: 'current' }])
  })

  it('wraps what is made from then on, while both open', async () => {
    test.rootKeys.use(inUse(second, identityOf(FIRST)))
    fresh = await store('of-the-second', 'hmac-sha256')
    const signature = await sign(fresh)
    expect(await sign(old[0] as StoredKey)).toEqual(signatures[0])
    expect((await rewrap([fresh, old[0] as StoredKey])).map(({ how }) => how)).toEqual(['current', 'rewrapped'])
    // Where only the first is known, the row is right and the key does not open.
    test.rootKeys.use(inUse(identityOf(FIRST)))
    const closed = { ...fresh, id: keyId('not-cached') }
    const row = { ...fresh.sealed.row, id: 'not-cached' }
    const [mac = new Uint8Array()] = await test.integrity.macRows([row])
    await expect(sign({ ...closed, sealed: { row, mac } })).rejects.toMatchObject({
      code: 'integrity-failed',
      detail: expect.stringContaining('no storage KEK') as string,
    })
    test.rootKeys.use(inUse(second, identityOf(FIRST)))
    expect(await sign(fresh)).toEqual(signature)
  })

  it('takes every key over, of every algorithm, and each is the key that it was', async () => {
    const results = await rewrap(old)
    expect(new Set(results.map(({ how }) => how))).toEqual(new Set(['rewrapped']))
    const renewed = await Promise.all(
      results.map((result, at) => {
        const { row } = (old[at] as StoredKey).sealed
        const wrapped = result.how === 'rewrapped' ? result.wrapped : new Uint8Array()
        expect(Buffer.from(wrapped).equals(blob(old[at] as StoredKey))).toBe(false)
        const { algorithm, public_key: publicKey } = row.columns as { algorithm: KeyAlgorithm; public_key?: Uint8Array }
        return sealed(row.id, algorithm, { wrapped, ...(publicKey === undefined ? {} : { publicKey }) }, 2)
      }),
    )
    expect(new Set((await rewrap(renewed)).map(({ how }) => how))).toEqual(new Set(['current']))
    test.rootKeys.use(inUse(second))
    for (const [at, key] of renewed.filter((_, index) => index % 5 === 0).entries()) expect(await sign(key)).toEqual(signatures[at])
    const pair = renewed[1] as StoredKey
    const signature = await sign(pair)
    const [valid] = await withTestPermit([{ action: 'verify', keyId: pair.id }], (permit) =>
      test.hsm.verify(permit, pair, [{ message: Buffer.from('meter'), signature }]),
    )
    expect(valid).toBe(true)
    test.rootKeys.use(inUse(second, identityOf(FIRST)))
  })

  it('takes over no key whose row was edited, or whose blob was', async () => {
    const [one, other] = [old[0] as StoredKey, old[5] as StoredKey]
    const exchanged = { ...one, sealed: { row: { ...one.sealed.row, columns: { ...one.sealed.row.columns, wrapped: blob(other) } }, mac: one.sealed.mac } }
    const broken = await sealed('broken', 'aes-128', { wrapped: Buffer.alloc(24, 7) })
    const renamed = { ...one, id: keyId('another') }
    expect((await rewrap([exchanged, broken, renamed, one])).map(({ how }) => how)).toEqual(['refused', 'refused', 'refused', 'rewrapped'])
  })

  it('is not wrapped under when it is not the current one', async () => {
    await expect(rewrap([fresh], FIRST)).rejects.toMatchObject({ code: 'hsm-failed' })
    await expect(withTestPermit([], (permit) => test.hsm.rewrap(permit, { from: FIRST, to: SECOND, keys: [fresh] }))).rejects.toMatchObject({
      code: 'internal',
    })
  })

  it('outlives the first: what is under that opens never more, and new lanes start without it', async () => {
    await expect(destroy(SECOND, FIRST)).rejects.toMatchObject({ code: 'hsm-failed' })
    await expect(destroy(FIRST, keyId('root:storage-kek-3'))).rejects.toMatchObject({ code: 'hsm-failed' })
    test.rootKeys.use(inUse(second))
    expect(await destroy(FIRST, SECOND)).toEqual({ was: true })
    expect(await destroy(FIRST, SECOND)).toEqual({ was: false })
    await expect(sign(await sealed('under-the-first', 'hmac-sha256', { wrapped: blob(old[0] as StoredKey) }))).rejects.toMatchObject({
      code: 'integrity-failed',
    })
    expect(await rewrap([old[10] as StoredKey])).toEqual([{ how: 'refused' }])
    const again = await openHsm({ dataFolder: test.folder, lanes: 1 })
    expect(again.identity.keys.map(({ keyId: id }) => id)).not.toContain(FIRST)
    expect(again.hsm.currentGeneration('storage-kek')).toBe(SECOND)
    await again.close()
  })
})

describe('a second row-MAC key', () => {
  const row: Row = { table: 'rows', schema: 1, id: 'one', version: 1, columns: { text: 'x' } }

  it('seals what is new; both check; and without the first its MACs are nobody’s', async () => {
    const second = { ...identityOf(FIRST), ...(await make(keyId('root:storage-kek-3'))).identity }
    const next = (await make(NEXT_MAC)).identity
    const current = (await openIdentity()).find((key) => key.keyId === SECOND) as SecretIdentity
    const [before = new Uint8Array()] = await test.integrity.macRows([row])
    test.rootKeys.use(inUse(current, next, identityOf(MAC)))
    const [after = new Uint8Array()] = await test.integrity.macRows([row])
    expect(Buffer.from(after).equals(before)).toBe(false)
    const all = [before, after, Buffer.alloc(16)].map((mac) => ({ row, mac }))
    expect(await test.integrity.reviewRows(all)).toEqual(['older', 'current', 'nobody'])
    test.rootKeys.use(inUse(current, next))
    expect(await test.integrity.reviewRows(all)).toEqual(['nobody', 'current', 'nobody'])
    // What tells which keys are in use is checked by every key of the token.
    await test.integrity.assertRowsByToken(all.slice(0, 2))
    await expect(test.integrity.assertRowsByToken(all)).rejects.toMatchObject({ code: 'integrity-failed' })
    expect(second.keyId).toBe('root:storage-kek-3')
    test.rootKeys.use(inUse(current, next, identityOf(MAC)))
  })

  it('makes who was not told what is current make nothing', async () => {
    const untold = await openHsm({ dataFolder: test.folder, lanes: 1 })
    try {
      await expect(untold.integrity.macRows([row])).rejects.toMatchObject({ code: 'hsm-failed' })
      await expect(
        withTestPermit([{ action: 'generate', keyId: keyId('x') }], (permit) => untold.hsm.generate(permit, keyId('x'), 'aes-128')),
      ).rejects.toMatchObject({
        code: 'hsm-failed',
      })
      expect(() => untold.hsm.currentGeneration('row-mac')).toThrow('it was not said which is current')
    } finally {
      await untold.close()
    }
  })

  it('that is another key than was recorded ends the lanes: nothing is sealed with it', async () => {
    const next = (await openIdentity()).find((key) => key.keyId === NEXT_MAC) as SecretIdentity
    const current = (await openIdentity()).find((key) => key.keyId === SECOND) as SecretIdentity
    test.rootKeys.use(inUse(current, { ...next, kcv: { method: 'aes-cmac', value: Buffer.alloc(5) } }, identityOf(MAC)))
    await expect(test.integrity.macRows([row])).rejects.toMatchObject({ code: 'hsm-unavailable' })
    test.rootKeys.use(inUse(current, next, identityOf(MAC)))
    for (const end = Date.now() + 10_000; ; ) {
      const mac = await test.integrity.macRows([row]).catch(() => undefined)
      if (mac !== undefined) break
      if (Date.now() > end) throw new Error('the lanes do not come back')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  })
})

/** What is in the token now. */
async function openIdentity(): Promise<readonly SecretIdentity[]> {
  const open = await openHsm({ dataFolder: test.folder, lanes: 1 })
  await open.close()
  return open.identity.keys as readonly SecretIdentity[]
}

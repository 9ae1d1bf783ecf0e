import { describe, expect, it } from 'vitest'
import { type KeyId, keyId } from '../core/ids.ts'
import { assertSameToken, type RecordedRootKey, type RootKeyStore } from './root-key-store.ts'
import type { TokenIdentity } from './root-keys.ts'

class MemoryRootKeyStore implements RootKeyStore {
  rows: RecordedRootKey[] = []
  changes: { leaving: KeyId[]; coming: KeyId[]; retired: KeyId[] } = { leaving: [], coming: [], retired: [] }
  load(): Promise<RecordedRootKey[]> {
    return Promise.resolve(this.rows)
  }
  changing(): Promise<{ leaving: KeyId[]; coming: KeyId[]; retired: KeyId[] }> {
    return Promise.resolve(this.changes)
  }
  record({ serial, keys }: TokenIdentity): Promise<void> {
    for (const key of keys) if (!this.rows.some((row) => row.keyId === key.keyId)) this.rows.push({ ...key, tokenSerial: serial })
    return Promise.resolve()
  }
}

const identity: TokenIdentity = {
  serial: 'aa',
  label: 'gridseal',
  keys: [
    { keyId: keyId('root:ca-root'), algorithm: 'ec-p256', publicKey: Buffer.from('01', 'hex') },
    { keyId: keyId('root:row-mac'), algorithm: 'aes-256', kcv: { method: 'aes-cmac', value: Buffer.from('02', 'hex') } },
  ],
}
const [root, mac] = identity.keys as [TokenIdentity['keys'][0], TokenIdentity['keys'][0]]

describe('the token of a database', () => {
  it('is recorded once and then the only one', async () => {
    const store = new MemoryRootKeyStore()
    await assertSameToken(store, identity)
    await assertSameToken(store, identity)
    expect(store.rows).toHaveLength(2)
  })

  it.each<[string, TokenIdentity, string]>([
    ['another token, or a clone in another', { ...identity, serial: 'bb' }, 'This is token bb, and not token aa.'],
    ['a replaced key pair', { ...identity, keys: [{ ...root, publicKey: Buffer.from('ff', 'hex') } as typeof root, mac] }, 'root:ca-root is another one'],
    [
      'a replaced secret key',
      { ...identity, keys: [root, { ...mac, kcv: { method: 'aes-cmac', value: Buffer.from('ff', 'hex') } } as typeof mac] },
      'root:row-mac is another one',
    ],
    ['an old token, without a key', { ...identity, keys: [root] }, 'root:row-mac is not in the token any more'],
    ['a key that nobody recorded', { ...identity, keys: [...identity.keys, { ...root, keyId: keyId('root:new') }] }, 'root:new was never recorded'],
  ])('refuses %s', async (_, other, detail) => {
    const store = new MemoryRootKeyStore()
    await assertSameToken(store, identity)
    await expect(assertSameToken(store, other)).rejects.toMatchObject({ code: 'hsm-unavailable', detail: expect.stringContaining(detail) as string })
    expect(store.rows).toHaveLength(2)
  })
})

import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { hex } from '../../core/bytes.ts'
import { keyId, newUuid } from '../../core/ids.ts'
import { encodeRow, type RowSealer } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { KeyRecord } from './key.ts'
import type { KeyStore } from './key-store.ts'

export interface KeyStoreWorld {
  readonly store: KeyStore
  readonly sealer: RowSealer
  transact<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result>
}

/** What every {@link KeyStore} does. `world` is called once for each test; owners are new each time. */
export function keyStoreContract(name: string, world: () => KeyStoreWorld): void {
  const reserved = (over: Partial<KeyRecord> = {}): KeyRecord => ({
    ...{ id: keyId(newUuid()), version: 1, keyVersion: 1, owner: `urn:gridseal:module:${newUuid()}`, label: 'meters' },
    ...{ algorithm: 'ec-p256', state: 'reserved', createdAt: new Date('2026-11-23T10:00:00.123Z') },
    ...over,
  })
  const active = (key: KeyRecord): KeyRecord => ({ ...key, version: 2, state: 'active', wrapped: randomBytes(150), publicKey: randomBytes(91) })
  const plain = (key: KeyRecord | undefined) => key && { ...key, wrapped: key.wrapped && [...key.wrapped], publicKey: key.publicKey && [...key.publicKey] }

  describe(`${name} keeps keys`, () => {
    test('a key is read back as it was written, with a MAC that holds', async () => {
      const { store, sealer, transact } = world()
      const key = { ...active(reserved({ algorithm: 'hmac-sha256' })), kcv: { method: 'hmac-sha256', value: Buffer.from('0102030405', 'hex') } as const }
      await transact((tx) => store.reserveKey(tx, { ...reserved(key), version: 1, state: 'reserved' }))
      const row = await transact((tx) => store.replaceKey(tx, key))
      const found = await store.findKey(key.id)
      expect(plain(found?.record)).toEqual(plain(key))
      expect(found && hex(encodeRow(found.sealed.row))).toBe(hex(encodeRow(row)))
      await sealer.assertRows(found === undefined ? [] : [found.sealed])
    })

    test('an unknown key is undefined', async () => {
      expect(await world().store.findKey(keyId(newUuid()))).toBeUndefined()
    })

    test('a label is taken from the reservation on, and free again once destroyed', async () => {
      const { store, transact } = world()
      const first = reserved()
      const second = reserved({ owner: first.owner })
      await transact((tx) => store.reserveKey(tx, first))
      await expect(transact((tx) => store.reserveKey(tx, second))).rejects.toMatchObject({ code: 'conflict' })
      await transact((tx) => store.replaceKey(tx, { ...first, version: 2, state: 'destroyed' }))
      await transact((tx) => store.reserveKey(tx, second))
      await transact((tx) => store.reserveKey(tx, reserved({ label: first.label })))
    })

    test('a label that a crash left reserved is free after ten minutes, and the crashed one cannot come back', async () => {
      const { store, transact } = world()
      const crashed = reserved()
      const after = (minutes: number) => reserved({ owner: crashed.owner, createdAt: new Date(crashed.createdAt.getTime() + minutes * 60_000) })
      await transact((tx) => store.reserveKey(tx, crashed))
      await expect(transact((tx) => store.reserveKey(tx, after(9)))).rejects.toMatchObject({ code: 'conflict' })
      const next = after(10)
      await transact((tx) => store.reserveKey(tx, next))
      await expect(transact((tx) => store.replaceKey(tx, active(crashed)))).rejects.toMatchObject({ code: 'conflict' })
      await transact((tx) => store.replaceKey(tx, active(next)))
      await expect(transact((tx) => store.reserveKey(tx, after(60)))).rejects.toMatchObject({ code: 'conflict' })
    })

    test('a version is written once', async () => {
      const { store, transact } = world()
      const key = reserved()
      await transact((tx) => store.reserveKey(tx, key))
      await transact((tx) => store.replaceKey(tx, active(key)))
      await expect(transact((tx) => store.replaceKey(tx, active(key)))).rejects.toMatchObject({ code: 'conflict' })
      await expect(transact((tx) => store.replaceKey(tx, { ...active(key), version: 4 }))).rejects.toMatchObject({ code: 'conflict' })
    })

    test('lists an owner’s made keys in order, by page', async () => {
      const { store, transact } = world()
      const { owner } = reserved()
      const keys = ['a', 'b', 'c'].map((label, at) => reserved({ id: keyId(newUuid(Date.now() + at)), owner, label }))
      for (const key of keys) {
        await transact((tx) => store.reserveKey(tx, key))
        if (key.label !== 'b') await transact((tx) => store.replaceKey(tx, active(key)))
      }
      const ids = async (page: Parameters<KeyStore['listKeys']>[1]) => (await store.listKeys(owner, page)).map(({ record }) => record.label)
      expect(await ids({ limit: 10 })).toEqual(['a', 'c'])
      expect(await ids({ limit: 1 })).toEqual(['a'])
      expect(await ids({ limit: 10, after: keys[0]?.id as KeyRecord['id'] })).toEqual(['c'])
    })
  })
}

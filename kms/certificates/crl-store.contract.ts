import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { hex } from '../../core/bytes.ts'
import { encodeRow, type RowSealer } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { CrlRecord } from './crl.ts'
import type { CrlStore } from './crl-store.ts'

export interface CrlStoreWorld {
  readonly store: CrlStore
  readonly sealer: RowSealer
  transact<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result>
}

/** What every {@link CrlStore} does. `world` is called once for each test, and holds no CRL. */
export function crlStoreContract(name: string, world: () => Promise<CrlStoreWorld>): void {
  const bytes = (count: number): Uint8Array => randomBytes(count)
  const first: CrlRecord = { authority: 'cards', version: 1, plannedNumber: 1, plannedTbsSha256: bytes(32) }
  const issued: CrlRecord = {
    ...{ ...first, version: 2 },
    issued: {
      ...{ number: 1, thisUpdate: new Date('2026-11-23T10:00:00Z'), nextUpdate: new Date('2026-11-30T10:00:00Z') },
      ...{ count: 3, recent: 2, digest: bytes(32) },
    },
  }
  const planned: CrlRecord = { ...issued, version: 3, plannedNumber: 2, plannedTbsSha256: bytes(32) }
  const expectSame = async ({ store, sealer }: CrlStoreWorld, record: CrlRecord): Promise<void> => {
    const found = await store.find('cards')
    expect(found?.record).toEqual(record)
    await sealer.assertRows(found === undefined ? [] : [found.sealed])
  }

  describe(`${name} keeps CRLs`, () => {
    test('a number is taken, its list is issued, the next number leaves it in service', async () => {
      const at = await world()
      expect(await at.store.find('cards')).toBeUndefined()
      await at.transact((tx) => at.store.reserveCrl(tx, first))
      await expectSame(at, first)
      expect(await at.store.readDer('cards', 1)).toBeUndefined()
      const der = bytes(70_000)
      const row = await at.transact((tx) => at.store.replaceCrl(tx, issued, der))
      await expectSame(at, issued)
      expect(hex(encodeRow(row))).toBe(hex(encodeRow((await at.store.find('cards'))?.sealed.row ?? row)))
      await at.transact((tx) => at.store.reserveCrl(tx, planned))
      await expectSame(at, planned)
      expect(hex((await at.store.readDer('cards', 3)) ?? bytes(1))).toBe(hex(der))
      expect(await at.store.readDer('cards', 2)).toBeUndefined()
      expect(await at.store.find('root')).toBeUndefined()
    })

    test('of two that take the same number one is told', async () => {
      const at = await world()
      await at.transact((tx) => at.store.reserveCrl(tx, first))
      await expect(at.transact((tx) => at.store.reserveCrl(tx, first))).rejects.toMatchObject({ code: 'conflict' })
      await at.transact((tx) => at.store.replaceCrl(tx, issued, bytes(10)))
      await at.transact((tx) => at.store.reserveCrl(tx, planned))
      await expect(at.transact((tx) => at.store.reserveCrl(tx, planned))).rejects.toMatchObject({ code: 'conflict' })
      await expect(at.transact((tx) => at.store.replaceCrl(tx, issued, bytes(10)))).rejects.toMatchObject({ code: 'conflict' })
    })
  })
}

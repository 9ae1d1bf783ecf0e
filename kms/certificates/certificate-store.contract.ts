import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { hex } from '../../core/bytes.ts'
import { encodeRow, type RowSealer } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { CertificateRecord } from './certificate.ts'
import type { CertificateStore } from './certificate-store.ts'

export interface CertificateStoreWorld {
  readonly store: CertificateStore
  readonly sealer: RowSealer
  transact<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result>
}

/** What every {@link CertificateStore} does. `world` is called once for each test, and holds no certificate of an authority. */
export function certificateStoreContract(name: string, world: () => CertificateStoreWorld): void {
  const reserved = (over: Partial<CertificateRecord> = {}): CertificateRecord => ({
    ...{ serial: `40${hex(randomBytes(15))}`, version: 1, authority: 'callers', profile: 'client', subjectKind: 'caller', subjectId: hex(randomBytes(8)) },
    ...{
      tbsSha256: Uint8Array.from(randomBytes(32)),
      notBefore: new Date('2026-11-23T10:00:00Z'),
      notAfter: new Date('2027-11-23T10:00:00Z'),
      state: 'reserved',
    },
    ...over,
  })
  const issued = (certificate: CertificateRecord): CertificateRecord => ({
    ...certificate,
    ...{ version: 2, state: 'issued', der: Uint8Array.from(randomBytes(300)), fingerprint: hex(randomBytes(32)) },
  })
  const plain = (record: CertificateRecord | undefined) => record && { ...record, der: record.der && [...record.der], tbsSha256: [...record.tbsSha256] }
  const add = async ({ store, transact }: CertificateStoreWorld, certificate: CertificateRecord): Promise<CertificateRecord> => {
    await transact((tx) => store.reserveCertificates(tx, [certificate]))
    const after = issued(certificate)
    await transact((tx) => store.replaceCertificates(tx, [after]))
    return after
  }

  describe(`${name} keeps certificates`, () => {
    test('one is read back in each of its states, by serial and by fingerprint, with a MAC that holds', async () => {
      const { store, sealer, transact } = world()
      const first = reserved()
      const second = issued(first)
      const third: CertificateRecord = { ...second, version: 3, state: 'revoked', revoked: { at: new Date('2026-12-01T00:00:00.5Z'), reason: 'keyCompromise' } }
      await transact((tx) => store.reserveCertificates(tx, [first]))
      expect(plain((await store.findBySerial(first.serial))?.record)).toEqual(plain(first))
      for (const next of [second, third]) {
        const [row] = await transact((tx) => store.replaceCertificates(tx, [next]))
        const found = await Promise.all([store.findBySerial(next.serial), store.findByFingerprint(next.fingerprint ?? '')])
        for (const one of found) {
          expect(plain(one?.record)).toEqual(plain(next))
          expect(one && hex(encodeRow(one.sealed.row))).toBe(row && hex(encodeRow(row)))
          await sealer.assertRows(one === undefined ? [] : [one.sealed])
        }
      }
    })

    test('many are taken and issued in one go, in their order', async () => {
      const { store, transact } = world()
      const many = Array.from({ length: 5 }, () => reserved())
      await transact((tx) => store.reserveCertificates(tx, many))
      const rows = await transact((tx) => store.replaceCertificates(tx, many.map(issued)))
      expect(rows.map(({ id, version }) => [id, version])).toEqual(many.map(({ serial }) => [serial, 2]))
    })

    test('an unknown serial or fingerprint is undefined', async () => {
      const { store } = world()
      expect(await store.findBySerial('40'.repeat(16))).toBeUndefined()
      expect(await store.findByFingerprint('40'.repeat(32))).toBeUndefined()
      expect(await store.findCurrent('service', 'nothing')).toBeUndefined()
    })

    test('a serial is taken once', async () => {
      const { store, transact } = world()
      const one = reserved()
      await transact((tx) => store.reserveCertificates(tx, [one]))
      await expect(transact((tx) => store.reserveCertificates(tx, [reserved(), one]))).rejects.toMatchObject({ code: 'conflict' })
    })

    test('a version is written once', async () => {
      const at = world()
      const one = await add(at, reserved())
      await expect(at.transact((tx) => at.store.replaceCertificates(tx, [one]))).rejects.toMatchObject({ code: 'conflict' })
    })

    test('the current one of a subject is the one that ends last and is neither reserved nor revoked', async () => {
      const at = world()
      const subject = { subjectKind: 'service', subjectId: hex(randomBytes(8)) } as const
      const long = await add(at, reserved({ ...subject, notAfter: new Date('2028-01-01') }))
      const short = await add(at, reserved({ ...subject }))
      await at.transact((tx) => at.store.reserveCertificates(tx, [reserved({ ...subject, notAfter: new Date('2029-01-01') })]))
      const current = async () => (await at.store.findCurrent('service', subject.subjectId))?.record.serial
      expect(await current()).toBe(long.serial)
      await at.transact((tx) =>
        at.store.replaceCertificates(tx, [{ ...long, version: 3, state: 'revoked', revoked: { at: new Date(), reason: 'superseded' } }]),
      )
      expect(await current()).toBe(short.serial)
    })

    test('the last one of each subject is the one that began last, revoked or not; of one second the one that is not revoked', async () => {
      const at = world()
      const card = (subjectId: string, notBefore = '2026-11-23T10:00:00Z') =>
        reserved({ ...{ authority: 'cards', profile: 'card', subjectKind: 'card' }, subjectId, notBefore: new Date(notBefore) })
      const revoke = (one: CertificateRecord) =>
        at.transact((tx) => at.store.replaceCertificates(tx, [{ ...one, version: 3, state: 'revoked', revoked: { at: new Date(), reason: 'superseded' } }]))
      const [a, b, c, none] = Array.from({ length: 4 }, () => hex(randomBytes(8))) as [string, string, string, string]
      await add(at, card(a))
      const latest = await add(at, card(a, '2026-11-24T10:00:00Z'))
      await revoke(latest)
      const only = await add(at, card(b))
      await at.transact((tx) => at.store.reserveCertificates(tx, [card(b, '2026-12-01T00:00:00Z'), card(none)]))
      await revoke(await add(at, card(c)))
      const twin = await add(at, card(c))
      const found = await at.store.findLast('card', [a, b, c, none])
      expect(new Map([...found].map(([id, { record }]) => [id, record.serial]))).toEqual(
        new Map([
          [a, latest.serial],
          [b, only.serial],
          [c, twin.serial],
        ]),
      )
      expect(found.get(a)?.record.state).toBe('revoked')
      await at.sealer.assertRows([...found.values()].map(({ sealed }) => sealed))
    })

    test('what an authority signed and was revoked is listed from a moment on, in the order of the dates, and counted', async () => {
      const at = world()
      const revoked = async (authority: 'callers' | 'cards', day: string): Promise<string> => {
        const one = await add(at, reserved({ authority }))
        await at.transact((tx) =>
          at.store.replaceCertificates(tx, [{ ...one, version: 3, state: 'revoked', revoked: { at: new Date(day), reason: 'superseded' } }]),
        )
        return one.serial
      }
      const third = await revoked('cards', '2031-01-03')
      const first = await revoked('cards', '2031-01-01')
      const second = await revoked('cards', '2031-01-02')
      await revoked('callers', '2031-01-02')
      await add(at, reserved({ authority: 'cards' }))
      expect((await at.store.listRevoked('cards', new Date('2031-01-01'))).map(({ serial }) => serial)).toEqual([first, second, third])
      expect(await at.store.listRevoked('cards', new Date('2031-01-03'))).toEqual([{ serial: third, revokedAt: new Date('2031-01-03') }])
      expect(await at.store.countRevoked('cards', new Date('2031-01-02'))).toBe(2)
      expect((await at.store.listRevoked('cards')).length).toBeGreaterThanOrEqual(3)
    })

    test('an authority has one certificate', async () => {
      const at = world()
      const root = () => reserved({ authority: 'root', profile: 'root-ca', subjectKind: 'authority', subjectId: 'root' })
      await add(at, root())
      await expect(add(at, root())).rejects.toMatchObject({ code: 'conflict' })
    })
  })
}

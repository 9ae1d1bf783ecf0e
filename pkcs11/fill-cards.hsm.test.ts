import { createCipheriv } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { keyId } from '../core/ids.ts'
import type { KeyUse } from '../policies/permit.ts'
import { withTestPermit } from '../policies/testing/memory-gate.ts'
import type { FilledKey, Hsm } from './index.ts'
import { kdf3Block } from './lane-keys.ts'
import { type FillFixture, fillFixture, PLAN, sealed } from './testing/fill-fixture.ts'
import { type TestToken, testToken } from './testing/test-token.ts'
import { tokenInProcess } from './testing/token-in-process.ts'
import { CKA, CKO } from './templates.ts'
import { CKK } from './mechanisms.ts'

type Request = Parameters<Hsm['fillCards']>[1]

let test: TestToken
let fixture: FillFixture
let request: Request
beforeAll(async () => {
  test = await testToken()
  fixture = await fillFixture(test)
  request = { ...fixture, plan: PLAN, kdds: [1, 2, 3].map((card) => Buffer.alloc(10, card)) }
})
afterAll(() => test.close())

const usesOf = ({ master, operatorKey, transportKeyId }: Request): KeyUse[] => [
  { action: 'derive', keyId: master.id },
  { action: 'wrap', keyId: transportKeyId },
  { action: 'unwrap', keyId: operatorKey.id },
]
const fill = (change: Partial<Request> = {}, uses = usesOf({ ...request, ...change })): Promise<FilledKey[][]> =>
  withTestPermit(uses, (permit) => test.hsm.fillCards(permit, { ...request, ...change }))

const ecb = (key: Uint8Array, block: Uint8Array): Buffer => createCipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(block)
const cmacZeros = (key: Uint8Array): Buffer => {
  // CMAC of one whole block of zeros is E(key, K1).
  const l = ecb(key, Buffer.alloc(16))
  const k1 = Buffer.from(((BigInt(`0x${l.toString('hex')}`) << 1n) & ((1n << 128n) - 1n)).toString(16).padStart(32, '0'), 'hex')
  if ((l[0] ?? 0) >= 0x80) k1[15] = (k1[15] ?? 0) ^ 0x87
  return ecb(key, k1)
}

describe('filling cards', () => {
  it('every key opens under the transport key and has the KCV that is told', async () => {
    const cards = await fill()
    expect(cards).toHaveLength(3)
    const values = cards.flatMap((card) => {
      expect(card.map(({ purpose }) => purpose)).toEqual(PLAN.map(({ purpose }) => purpose))
      return card.map(({ purpose, kcv, wrapped, stored }) => {
        const value = fixture.unwrap(wrapped)
        expect(value).toHaveLength(16)
        const check = kcv.method === 'aes-gp' ? ecb(value, Buffer.alloc(16, 1)).subarray(0, 3) : cmacZeros(value).subarray(0, 5)
        expect(Buffer.from(kcv.value).equals(check), purpose).toBe(true)
        expect(stored !== undefined).toBe(purpose === 'ki')
        return value.toString('hex')
      })
    })
    expect(new Set(values).size).toBe(18)
  })

  it('derived keys are KDF3 of the master and the same again; random ones are not', async () => {
    const [first, second] = [await fill(), await fill()]
    first.forEach((card, at) => {
      card.forEach(({ purpose, kcv, wrapped }, key) => {
        const again = second[at]?.[key] as FilledKey
        expect(fixture.unwrap(wrapped).equals(fixture.unwrap(again.wrapped)), purpose).toBe(!['ki', 'opc'].includes(purpose))
        expect(Buffer.from(kcv.value).equals(again.kcv.value)).toBe(!['ki', 'opc'].includes(purpose))
      })
    })
    // The master itself cannot be read; that the token's derivation is KDF3 is shown with published masters in token-vectors.hsm.test.ts.
    expect(kdf3Block(2, Buffer.alloc(10, 0x98)).toString('hex')).toBe('0100000002009898989898989898989898'.slice(0, 32))
  })

  it('OPc is E(Ki, OP) xor OP, and the stored Ki is the delivered one', async () => {
    const keys = tokenInProcess(test.folder)
    const readable = keys.token.form({ class: CKO.SECRET, keyType: CKK.AES, uses: [], mechanisms: [], extractable: true, insecureReadable: true })
    const open = (wrapped: Uint8Array): Buffer => keys.token.read(keys.token.unwrap(keys.current('storage-kek'), wrapped, readable), CKA.VALUE)
    const op = open(fixture.operatorKey.sealed.row.columns['wrapped'] as Uint8Array)
    for (const card of await fill()) {
      const [ki, opc] = card as [FilledKey, FilledKey]
      const value = fixture.unwrap(ki.wrapped)
      expect(open(ki.stored as Uint8Array).equals(value)).toBe(true)
      const expected = ecb(value, op).map((byte, at) => byte ^ (op[at] ?? 0))
      expect(fixture.unwrap(opc.wrapped).equals(expected)).toBe(true)
    }
  })

  it('500 cards in one call, while signatures are answered in between', async () => {
    const kdds = Array.from({ length: 500 }, (_, card) => Buffer.from(card.toString().padStart(20, '0'), 'hex'))
    const progress = { filled: false }
    const filling = fill({ kdds }).finally(() => {
      progress.filled = true
    })
    let between = 0
    while (!progress.filled) {
      await test.integrity.macGroup(Buffer.from('group'))
      between++
    }
    expect(await filling).toHaveLength(500)
    expect(between).toBeGreaterThan(10)
  })
})

describe('refusals, each before a key is made', () => {
  it('a permit that lacks one of the three uses', async () => {
    for (const lacking of [0, 1, 2]) {
      const uses = usesOf(request).filter((_, at) => at !== lacking)
      await expect(fill({}, uses)).rejects.toMatchObject({ cause: { name: 'PermitError' } })
    }
  })

  it('an edited master row, an edited operator row, a K1 that is not the master’s', async () => {
    const { master, operatorKey } = request
    const k1 = Buffer.alloc(16, 9)
    const edited = { ...master, sealed: { ...master.sealed, row: { ...master.sealed.row, columns: { ...master.sealed.row.columns, k1 } } } }
    await expect(fill({ master: edited })).rejects.toMatchObject({ code: 'integrity-failed' })
    const resealed = { ...master, sealed: await sealed(test, master.id, { ...master.sealed.row.columns, k1 }) }
    await expect(fill({ master: resealed })).rejects.toMatchObject({
      code: 'integrity-failed',
      detail: expect.stringContaining('not the key that its row describes') as string,
    })
    const mac = Buffer.from(operatorKey.sealed.mac).fill(0, 0, 1)
    await expect(
      fill({ operatorKey: { ...operatorKey, sealed: { ...operatorKey.sealed, mac: mac.equals(operatorKey.sealed.mac) ? Buffer.alloc(16) : mac } } }),
    ).rejects.toMatchObject({ code: 'integrity-failed' })
    await expect(fill()).resolves.toHaveLength(3)
  })

  it('a transport key that is no transport key, a master’s row under another id', async () => {
    await expect(fill({ transportKeyId: keyId('root:storage-kek') })).rejects.toMatchObject({ code: 'hsm-failed' })
    await expect(fill({ transportKeyId: keyId('transport:unknown') })).rejects.toMatchObject({ code: 'hsm-failed' })
    await expect(fill({ master: { ...request.master, id: keyId('master:other') } })).rejects.toMatchObject({ code: 'integrity-failed' })
  })

  it('plans that contradict themselves', async () => {
    const [ki, opc, enc] = PLAN as [(typeof PLAN)[0], (typeof PLAN)[0], (typeof PLAN)[0]]
    for (const plan of [
      [opc, ki],
      [ki, ki],
      [enc, { ...opc, source: { kind: 'opc' as const, of: 'gp-enc' } }],
    ]) {
      await expect(fill({ plan })).rejects.toMatchObject({ code: 'internal' })
    }
    await expect(fill({ kdds: [Buffer.alloc(9)] })).rejects.toMatchObject({ code: 'internal' })
  })
})

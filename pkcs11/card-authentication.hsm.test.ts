import { createHash, createPrivateKey, createPublicKey, randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { aesCmacKey } from '../clients/cmac.ts'
import { Milenage } from '../clients/simulated-card.ts'
import { keyId, newUuid } from '../core/ids.ts'
import type { KeyUse, Permit } from '../policies/permit.ts'
import { withTestPermit } from '../policies/testing/memory-gate.ts'
import type { CardKeyPlan, FilledKey, StoredKey } from './index.ts'
import { type FillFixture, fillFixture, PLAN, sealed } from './testing/fill-fixture.ts'
import { type TestToken, testToken } from './testing/test-token.ts'

const AUTH = 0x10
const plan: readonly CardKeyPlan[] = [...PLAN, { purpose: 'sign', source: { kind: 'ec-p256' }, kcv: 'spki-sha256' }]
const kdd = Buffer.from('98680019909900002143', 'hex')

let test: TestToken
let fixture: FillFixture
let card: ReadonlyMap<string, FilledKey>
let ki: StoredKey
/** In clear, as the vendor opens them. */
let values: ReadonlyMap<string, Buffer>
beforeAll(async () => {
  test = await testToken()
  fixture = await fillFixture(test)
  const { master, operatorKey, transportKeyId } = fixture
  const uses: KeyUse[] = [
    { action: 'derive', keyId: master.id },
    { action: 'wrap', keyId: transportKeyId },
    { action: 'unwrap', keyId: operatorKey.id },
  ]
  const [filled = []] = await withTestPermit(uses, (permit) => test.hsm.fillCards(permit, { master, operatorKey, transportKeyId, plan, kdds: [kdd] }))
  card = new Map(filled.map((key) => [key.purpose, key]))
  values = new Map(filled.map(({ purpose, wrapped }) => [purpose, fixture.unwrap(wrapped)]))
  const id = keyId(newUuid())
  ki = { id, sealed: await sealed(test, id, { algorithm: 'aes-128', wrapped: card.get('ki')?.stored }) }
})
afterAll(() => test.close())

const key = (purpose: string): Buffer => values.get(purpose) ?? Buffer.alloc(0)

it('a card’s key pair: PKCS#8 under the transport key, its public part and KCV told, and nothing stored', () => {
  const { publicKey = Buffer.alloc(0), kcv, stored } = card.get('sign') as FilledKey
  const opened = createPublicKey(createPrivateKey({ key: key('sign'), format: 'der', type: 'pkcs8' })).export({ format: 'der', type: 'spki' })
  expect(opened.equals(publicKey)).toBe(true)
  expect(Buffer.from(kcv.value).equals(createHash('sha256').update(publicKey).digest().subarray(0, 5))).toBe(true)
  expect(stored).toBeUndefined()
})

describe('CMAC by the card’s derived key', () => {
  const message = Buffer.from('what the card was asked')
  const check = (items: readonly { kdd: Uint8Array; message: Uint8Array; mac: Uint8Array }[], type = AUTH, uses?: readonly KeyUse[]): Promise<boolean[]> =>
    withTestPermit(uses ?? [{ action: 'derive', keyId: fixture.master.id }], (permit) =>
      test.hsm.checkCardMacs(permit, { master: fixture.master, type, items }),
    )

  it('is right for that card, type and message, and for no other', async () => {
    const mac = await (await aesCmacKey(key('auth'))).sign(message)
    const other = Buffer.from(kdd).fill(0x11, 5)
    const wrong = Buffer.from(mac)
    wrong[15] = (wrong[15] ?? 0) ^ 1
    const items = [mac, wrong, mac.subarray(0, 15), new Uint8Array(), Buffer.concat([mac, mac])].map((one) => ({ kdd, message, mac: one }))
    expect(await check([...items, { kdd: other, message, mac }, { kdd, message: Buffer.from('another'), mac }])).toEqual([
      true,
      ...Array<boolean>(6).fill(false),
    ])
    expect(await check(items.slice(0, 1), AUTH + 1)).toEqual([false])
  })

  it('asks the permit', async () => {
    await expect(check([], AUTH, [{ action: 'mac', keyId: fixture.master.id }])).rejects.toMatchObject({ cause: { name: 'PermitError' } })
  })
})

describe('Milenage by the stored Ki', () => {
  const uses = (): KeyUse[] => [
    { action: 'authenticate', keyId: ki.id },
    { action: 'unwrap', keyId: fixture.operatorKey.id },
  ]
  const rand = randomBytes(16)
  const sqn = Buffer.from('00000000003d', 'hex')
  const call = () => ({ ki, operatorKey: fixture.operatorKey, rand })
  const withUses = <Result extends object>(work: (permit: Permit) => Promise<Result>, given = uses()): Promise<Result> => withTestPermit(given, work)
  const usim = (): Milenage => new Milenage(key('ki'), key('opc'), rand)

  it('AUTN is one that the card accepts; its RES is right and no other', async () => {
    const autn = await withUses((permit) => test.hsm.milenageChallenge(permit, { ...call(), sqn, amf: new Uint8Array(2) }))
    const usimCard = usim()
    expect(Buffer.from(autn.subarray(0, 6).map((byte, at) => byte ^ (usimCard.f5[at] ?? 0))).equals(sqn)).toBe(true)
    expect(Buffer.from(autn.subarray(8)).equals(usimCard.f1(sqn, new Uint8Array(2)))).toBe(true)
    for (const [res, right] of [
      [usimCard.f2, true],
      [usimCard.f1(sqn, new Uint8Array(2)), false],
      [new Uint8Array(), false],
    ] as const) {
      expect(await withUses((permit) => test.hsm.milenageAnswer(permit, { ...call(), answer: { res } }))).toEqual({ kind: 'res', right })
    }
  })

  it('asks the permit for the Ki and for OP, and refuses an edited row', async () => {
    for (const lacking of [0, 1]) {
      const given = uses().filter((_, at) => at !== lacking)
      const asked = withUses((permit) => test.hsm.milenageAnswer(permit, { ...call(), answer: { res: usim().f2 } }), given)
      await expect(asked).rejects.toMatchObject({ cause: { name: 'PermitError' } })
    }
    const { sealed: row } = ki
    const edited = { ...ki, sealed: { ...row, row: { ...row.row, version: 2 } } }
    await expect(withUses((permit) => test.hsm.milenageAnswer(permit, { ...call(), ki: edited, answer: { res: usim().f2 } }))).rejects.toMatchObject({
      code: 'integrity-failed',
    })
  })
})

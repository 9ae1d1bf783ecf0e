import { readFileSync } from 'node:fs'
import { createDecipheriv } from 'node:crypto'
import type { Handle } from 'pkcs11js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { frame } from '../core/bytes.ts'
import { keyId } from '../core/ids.ts'
import { encodeRow } from '../core/row.ts'
import { kcvOf } from './algorithms.ts'
import { cardKeySpec, doubleBlock, kdf3Block, type LaneKeys, type SealedBytes } from './lane-keys.ts'
import { masterK1 } from './master-k1.ts'
import { CKK, CKM } from './mechanisms.ts'
import { autnOf, type Blocks, isResponse, milenage } from './milenage.ts'
import { CKA, CKO, type KeySpec } from './templates.ts'
import { type TestToken, testToken } from './testing/test-token.ts'
import { tokenInProcess, wrapKnownKey } from './testing/token-in-process.ts'
import type { Token } from './token.ts'
import { VERBS } from './verbs.ts'

interface Card {
  readonly aes_cmac: { readonly key: string; readonly K1: string; readonly cases: readonly { readonly msg: string; readonly mac: string }[] }
  readonly gp_card_key_diversification: {
    readonly cases: readonly {
      readonly kdf: string
      readonly master: string
      readonly kdd: string
      readonly keys: readonly string[]
      readonly kcv_aes_gp: readonly string[]
    }[]
  }
  readonly kcv: { readonly cases: readonly { readonly key: string; readonly aes_gp: string; readonly aes_cmac?: string }[] }
  readonly derive_check: { readonly master_aes128: string; readonly data: string; readonly derived: string; readonly kek_aes256: string; readonly kwp: string }
  readonly milenage: { readonly cases: readonly Milenage[] }
  readonly aka_autn: Autn
  readonly aka_osmocore: Autn
}
interface Milenage {
  readonly K: string
  readonly OP: string
  readonly OPc: string
  readonly RAND: string
  readonly SQN: string
  readonly AMF: string
  readonly f1: string
  readonly f1star: string
  readonly f2: string
  readonly f5: string
  readonly f5star: string
}
type Autn = Pick<Milenage, 'K' | 'OPc' | 'RAND' | 'SQN' | 'AMF'> & { readonly AUTN: string; readonly RES: string }
const card = JSON.parse(readFileSync(new URL('./testing/vectors/card.json', import.meta.url), 'utf8')) as Card
const hex = (text: string): Buffer => Buffer.from(text, 'hex')

let test: TestToken
let keys: LaneKeys
let token: Token
beforeAll(async () => {
  test = await testToken()
  keys = tokenInProcess(test.folder)
  token = keys.token
})
afterAll(() => test.close())

const known = (value: string, spec: Omit<KeySpec, 'class'>): Handle =>
  token.importKey(token.form({ class: CKO.SECRET, ...spec }), { type: CKA.VALUE, value: hex(value) })

describe('card.json through the token', () => {
  it('KDF3: the keys and KCVs of GlobalPlatformPro, and the first block of an AES-256 master', () => {
    const cases = card.gp_card_key_diversification.cases.filter(({ kdf }) => kdf === 'kdf3')
    expect(cases).toHaveLength(2)
    for (const { master, kdd, keys: expected, kcv_aes_gp } of cases) {
      const base = known(master, { keyType: CKK.AES, uses: ['derive'], mechanisms: [CKM.AES_CBC_ENCRYPT_DATA] })
      const k1 = masterK1(token, base)
      expected.forEach((value, at) => {
        const key = token.deriveCbc(base, k1, kdf3Block(at + 1, hex(kdd)), token.form(cardKeySpec('aes-gp')))
        // The key itself, opened by a second implementation under a wrapping key that is known here.
        const kek = '11'.repeat(32)
        const open = token.form({ class: CKO.SECRET, keyType: CKK.AES, uses: [], mechanisms: [], extractable: true })
        const readable = token.deriveCbc(base, k1, kdf3Block(at + 1, hex(kdd)), open)
        const wrapping = known(kek, { keyType: CKK.AES, uses: ['wrap'], mechanisms: [token.kwp] })
        const decipher = createDecipheriv('id-aes256-wrap-pad', hex(kek), hex('a65959a6'))
        expect(Buffer.concat([decipher.update(token.wrap(wrapping, readable)), decipher.final()]).toString('hex')).toBe(value.slice(0, 32))
        if (master.length === 32) expect(kcvOf(token, 'aes-gp', key).toString('hex')).toBe(kcv_aes_gp[at])
        token.destroy(key, readable, wrapping)
      })
      token.destroy(base)
    }
  })

  it('KCVs by Amendment D and by CMAC', () => {
    for (const { key, aes_gp, aes_cmac } of card.kcv.cases) {
      const handle = known(key, { keyType: CKK.AES, uses: ['encrypt', 'sign'], mechanisms: [CKM.AES_ECB, CKM.AES_CMAC] })
      expect(kcvOf(token, 'aes-gp', handle).toString('hex')).toBe(aes_gp)
      if (aes_cmac !== undefined) expect(kcvOf(token, 'aes-cmac', handle).toString('hex')).toBe(aes_cmac)
      token.destroy(handle)
    }
  })

  it('CMAC of RFC 4493 and its subkey K1', () => {
    const { key, K1, cases } = card.aes_cmac
    const handle = known(key, { keyType: CKK.AES, uses: ['sign', 'encrypt', 'derive'], mechanisms: [CKM.AES_CMAC, CKM.AES_ECB, CKM.AES_CBC_ENCRYPT_DATA] })
    expect(cases.map(({ msg }) => token.cmac(handle, hex(msg)).toString('hex'))).toEqual(cases.map(({ mac }) => mac))
    expect(doubleBlock(token.encryptBlock(handle, Buffer.alloc(16))).toString('hex')).toBe(K1)
    expect(masterK1(token, handle).toString('hex')).toBe(K1)
    token.destroy(handle)
  })

  it('derives one block and wraps it by KWP', () => {
    const { master_aes128, data, kek_aes256, kwp } = card.derive_check
    const base = known(master_aes128, { keyType: CKK.AES, uses: ['derive'], mechanisms: [CKM.AES_CBC_ENCRYPT_DATA] })
    const wrapping = known(kek_aes256, { keyType: CKK.AES, uses: ['wrap'], mechanisms: [token.kwp] })
    const key = token.deriveCbc(
      base,
      Buffer.alloc(16),
      hex(data),
      token.form({ class: CKO.SECRET, keyType: CKK.AES, uses: [], mechanisms: [], extractable: true }),
    )
    expect(token.wrap(wrapping, key).toString('hex')).toBe(kwp)
    token.destroy(base, wrapping, key)
  })

  /** A known key as the database would hold it: wrapped under the storage KEK, in a sealed row. */
  const stored = (value: string): SealedBytes => {
    const wrapped = wrapKnownKey(keys, 'aes-128', hex(value))
    const id = keyId(`vector:${value}`)
    const row = encodeRow({ table: 'vectors', schema: 1, id, version: 1, columns: { algorithm: 'aes-128', wrapped } })
    return { id, row, mac: VERBS.macRows(keys, { rows: frame([row]) }) }
  }
  const xor = (a: string, b: string): string => Buffer.from(hex(a).map((byte, at) => byte ^ (hex(b)[at] ?? 0))).toString('hex')
  /** f1* of a vector is over its own AMF, that of an AUTS over 0000 (TS 33.102 6.3.3): only such a one resynchronises. */
  const resynchronised = ({ AMF, SQN }: Milenage): string | undefined => (AMF === '0000' ? SQN : undefined)

  it('Milenage by the verbs of a lane: AUTN, RES and AUTS of every set of TS 35.207 and TS 35.208 of card.json, and no other', () => {
    expect(card.milenage.cases).toHaveLength(10)
    for (const vector of card.milenage.cases) {
      const { K, OP, RAND, SQN, AMF, f1, f1star, f2, f5, f5star } = vector
      const call = { ki: stored(K), operatorKey: stored(OP), rand: hex(RAND) }
      expect(VERBS.milenageChallenge(keys, { ...call, sqn: hex(SQN), amf: hex(AMF) }).toString('hex')).toBe(`${xor(SQN, f5)}${AMF}${f1}`)
      expect(VERBS.checkMilenageResponse(keys, { ...call, res: hex(f2) })).toBe(true)
      for (const wrong of [xor(f2, '01'.padEnd(16, '0')), f2.slice(2), `${f2}00`, '', f1])
        expect(VERBS.checkMilenageResponse(keys, { ...call, res: hex(wrong) })).toBe(false)
      expect(VERBS.resynchronise(keys, { ...call, auts: hex(`${xor(SQN, f5star)}${f1star}`) })?.toString('hex')).toBe(resynchronised(vector))
    }
  })

  it('Milenage by the token from OPc: AUTN and RES of osmo-auc-gen and libosmocore', () => {
    const run = <Result>({ K, OPc, RAND }: Pick<Milenage, 'K' | 'OPc' | 'RAND'>, work: (blocks: Blocks) => Result): Result => {
      const ki = known(K, { keyType: CKK.AES, uses: ['encrypt'], mechanisms: [CKM.AES_ECB] })
      try {
        return milenage({ token, ki, opc: hex(OPc), rand: hex(RAND) }, work)
      } finally {
        token.destroy(ki)
      }
    }
    for (const vector of [card.aka_autn, card.aka_osmocore]) {
      expect(run(vector, (blocks) => autnOf(blocks, hex(vector.SQN), hex(vector.AMF)).toString('hex'))).toBe(vector.AUTN)
      expect(run(vector, (blocks) => isResponse(blocks, hex(vector.RES)))).toBe(true)
    }
  })
})

import { describe, expect, it } from 'vitest'
import { fromHex, hex } from '../core/bytes.ts'
import { aesCmacKey, checkValue, hasCheckValue } from './cmac.ts'

describe('AES-CMAC', () => {
  /** RFC 4493 section 4, examples 1, 2 and 4. */
  it.each([
    ['', 'bb1d6929e95937287fa37d129b756746'],
    ['6bc1bee22e409f96e93d7e117393172a', '070a16b46b4d4144f79bdd9dd04a287c'],
    [
      '6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710',
      '51f0bebf7e3b9d92fc49741779363cfe',
    ],
  ])('of %j', async (message, mac) => {
    const key = await aesCmacKey(fromHex('2b7e151628aed2a6abf7158809cf4f3c'))
    expect(hex(await key.sign(fromHex(message)))).toBe(mac)
    expect(await key.verify(fromHex(message), fromHex(mac))).toBe(true)
    expect(await key.verify(fromHex(message), fromHex(mac.replace(/^./, 'e')))).toBe(false)
    expect(await key.verify(fromHex(message), fromHex(mac.slice(0, 30)))).toBe(false)
  })
})

describe('a check value', () => {
  /** GPC Amendment D 7.2.2 and X9.24-1, recomputed; the first key is GlobalPlatform's default, the second is of pySim's tests. */
  it.each([
    ['404142434445464748494a4b4c4d4e4f', 'aes-gp', '504a77'],
    ['404142434445464748494a4b4c4d4e4f', 'aes-cmac', '6f2f9be174'],
    ['101112131415161718191a1b1c1d1e1f', 'aes-gp', '013808'],
  ])('of %s by %s is %s', async (key, method, value) => {
    expect(hex((await checkValue(method, fromHex(key))) ?? fromHex(''))).toBe(value)
    expect(await hasCheckValue(fromHex(key), { method, value })).toBe(true)
  })
  it('by a method that is not known matches nothing, not even nothing', async () => {
    expect(await hasCheckValue(new Uint8Array(16), { method: 'unheard-of', value: '' })).toBe(false)
    expect(await hasCheckValue(new Uint8Array(5), { method: 'aes-gp', value: '' })).toBe(false)
  })
})

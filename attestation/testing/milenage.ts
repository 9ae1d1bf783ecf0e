import { createCipheriv } from 'node:crypto'

/** Milenage (TS 35.206 4.1) and AES-CMAC (RFC 4493) in software, for the card's side and the soft HSM of tests. */

const xor = (a: Uint8Array, b: Uint8Array): Uint8Array => Uint8Array.from(a, (byte, at) => byte ^ (b[at] ?? 0))
const aes = (key: Uint8Array, block: Uint8Array): Uint8Array => createCipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(block)
const rotate = (block: Uint8Array, bytes: number): Uint8Array => Uint8Array.from(block, (_, at) => block[(at + bytes) % 16] ?? 0)
const constant = (last: number): Uint8Array => Uint8Array.from({ length: 16 }, (_, at) => (at === 15 ? last : 0))

export interface MilenageKeys {
  readonly ki: Uint8Array
  readonly opc: Uint8Array
}

export const opcOf = (ki: Uint8Array, op: Uint8Array): Uint8Array => xor(aes(ki, op), op)

export function milenage({ ki, opc }: MilenageKeys, rand: Uint8Array) {
  const temp = aes(ki, xor(rand, opc))
  const out = (rotation: number, c: number): Uint8Array => xor(aes(ki, xor(rotate(xor(temp, opc), rotation), constant(c))), opc)
  const f1 = (sqn: Uint8Array, amf: Uint8Array): Uint8Array => {
    const in1 = Buffer.concat([sqn, amf, sqn, amf])
    return xor(aes(ki, xor(temp, rotate(xor(in1, opc), 8))), opc)
  }
  const [out2, out5] = [out(0, 1), out(12, 8)]
  return {
    macA: (sqn: Uint8Array, amf: Uint8Array) => f1(sqn, amf).subarray(0, 8),
    macS: (sqn: Uint8Array) => f1(sqn, new Uint8Array(2)).subarray(8),
    res: out2.subarray(8),
    ak: out2.subarray(0, 6),
    akStar: out5.subarray(0, 6),
  }
}

/** TS 33.102 6.3.2. */
export function autnOf(keys: MilenageKeys, { rand, sqn, amf }: { rand: Uint8Array; sqn: Uint8Array; amf: Uint8Array }): Uint8Array {
  const { ak, macA } = milenage(keys, rand)
  return Buffer.concat([xor(sqn, ak), amf, macA(sqn, amf)])
}

/** SQN of an AUTN whose MAC is right. */
export function readAutn(keys: MilenageKeys, rand: Uint8Array, autn: Uint8Array): Uint8Array | undefined {
  const { ak, macA } = milenage(keys, rand)
  const sqn = xor(autn.subarray(0, 6), ak)
  return Buffer.compare(macA(sqn, autn.subarray(6, 8)), autn.subarray(8)) === 0 ? sqn : undefined
}

/** TS 33.102 6.3.3: for an SQN that the card has seen. */
export function autsOf(keys: MilenageKeys, rand: Uint8Array, sqn: Uint8Array): Uint8Array {
  const { akStar, macS } = milenage(keys, rand)
  return Buffer.concat([xor(sqn, akStar), macS(sqn)])
}

export function readAuts(keys: MilenageKeys, rand: Uint8Array, auts: Uint8Array): Uint8Array | undefined {
  const { akStar, macS } = milenage(keys, rand)
  const sqn = xor(auts.subarray(0, 6), akStar)
  return Buffer.compare(macS(sqn), auts.subarray(6)) === 0 ? sqn : undefined
}

const double = (block: Uint8Array): Uint8Array => {
  const out = Uint8Array.from(block, (byte, at) => ((byte << 1) | ((block[at + 1] ?? 0) >> 7)) & 0xff)
  if (((block[0] ?? 0) & 0x80) !== 0) out[15] = (out[15] ?? 0) ^ 0x87
  return out
}

export function cmac(key: Uint8Array, message: Uint8Array): Uint8Array {
  const k1 = double(aes(key, new Uint8Array(16)))
  const blocks = Math.max(1, Math.ceil(message.length / 16))
  const isWhole = message.length > 0 && message.length % 16 === 0
  const last = new Uint8Array(16)
  last.set(message.subarray((blocks - 1) * 16))
  if (!isWhole) last[message.length - (blocks - 1) * 16] = 0x80
  let state: Uint8Array = new Uint8Array(16)
  for (let at = 0; at < blocks - 1; at++) state = aes(key, xor(state, message.subarray(at * 16, at * 16 + 16)))
  return aes(key, xor(state, xor(last, isWhole ? k1 : double(k1))))
}

/** KDF3 with one block: see docs/delivery-file.md. */
export const kdf3 = (master: Uint8Array, type: number, kdd: Uint8Array): Uint8Array => cmac(master, Buffer.concat([Uint8Array.of(1, 0, 0, 0, type, 0), kdd]))

import { createCipheriv, createPrivateKey, type KeyObject, sign, timingSafeEqual, X509Certificate } from 'node:crypto'
import { authenticationMessage } from '../attestation/authentication.ts'
import { evidenceToSign, ueidOf } from '../attestation/evidence.ts'
import { encodeEfIccid } from '../core/iccid.ts'
import { aesCmacKey } from './cmac.ts'
import type { OpenedCard } from './vendor-open.ts'

/** What a USIM answers an AUTHENTICATE command (TS 31.102 7.1.2): RES, or AUTS when it has seen a later SQN, or that MAC-A is wrong. */
export type UsimAnswer =
  | { readonly kind: 'res'; readonly res: Uint8Array }
  | { readonly kind: 'auts'; readonly auts: Uint8Array }
  | { readonly kind: 'mac-failure' }

/** SQN = SEQ || IND (TS 33.102 C.1.1.1), IND of 5 bits. */
const IND_BITS = 5n

/** A card in software, from the keys that its vendor opened: it answers challenges and signs evidence as the card in a meter does. */
export class SimulatedCard {
  readonly iccid: string
  readonly #keys: ReadonlyMap<string, Uint8Array>
  readonly #spki: Uint8Array
  readonly #signer: KeyObject
  /** The highest SEQ of each IND that was accepted (TS 33.102 C.2.2). */
  readonly #seen = new Map<bigint, bigint>()

  constructor({ iccid, keys, certificate }: OpenedCard) {
    this.iccid = iccid
    this.#keys = new Map(keys.map(({ purpose, value }) => [purpose, value]))
    this.#signer = createPrivateKey({ key: Buffer.from(this.#key('sign')), format: 'der', type: 'pkcs8' })
    this.#spki = new X509Certificate(certificate ?? new Uint8Array()).publicKey.export({ format: 'der', type: 'spki' })
  }

  #key(purpose: string): Uint8Array {
    const key = this.#keys.get(purpose)
    if (key === undefined) throw new Error(`the card has no key ${purpose}`)
    return key
  }

  /** CMAC by the authentication key over the authentication structure, 16 bytes. */
  async mac(challenge: { readonly nonce: Uint8Array; readonly verifier: string }): Promise<Uint8Array> {
    return (await aesCmacKey(this.#key('auth'))).sign(authenticationMessage({ iccid: this.iccid, ...challenge }))
  }

  /** ECDSA over the authentication structure, raw r||s, 64 bytes. */
  sign(challenge: { readonly nonce: Uint8Array; readonly verifier: string }): Uint8Array {
    return this.#signRaw(authenticationMessage({ iccid: this.iccid, ...challenge }))
  }

  /** Evidence (docs/attestation.md) of the device that the card sits in. `issuedAt`: Unix seconds. */
  evidence({
    nonce,
    imei,
    udid,
    issuedAt,
  }: {
    readonly nonce: Uint8Array
    readonly imei: string
    readonly udid?: string
    readonly issuedAt: number
  }): Uint8Array {
    const ueid = ueidOf({ spki: this.#spki, efIccid: encodeEfIccid(this.iccid) })
    const { toBeSigned, assemble } = evidenceToSign({ nonce, issuedAt, ueid, imei, ...(udid === undefined ? {} : { udid }) })
    return assemble(this.#signRaw(toBeSigned))
  }

  /** AUTHENTICATE with RAND and AUTN, each 16 bytes (TS 33.102 6.3.3). */
  authenticate(rand: Uint8Array, autn: Uint8Array): UsimAnswer {
    const milenage = new Milenage(this.#key('ki'), this.#key('opc'), rand)
    const sqn = xor(autn.subarray(0, 6), milenage.f5)
    if (!timingSafeEqual(milenage.f1(sqn, autn.subarray(6, 8)), autn.subarray(8))) return { kind: 'mac-failure' }
    const value = BigInt(`0x${Buffer.from(sqn).toString('hex')}`)
    const [seq, ind] = [value >> IND_BITS, value & ((1n << IND_BITS) - 1n)]
    if (seq <= (this.#seen.get(ind) ?? 0n)) return { kind: 'auts', auts: this.#auts(milenage) }
    this.#seen.set(ind, seq)
    return { kind: 'res', res: milenage.f2 }
  }

  /** Of those that it accepted, of any IND; 0 before the first. */
  get highestSeq(): number {
    return Math.max(0, ...[...this.#seen.values()].map(Number))
  }

  /** As if another authentication centre with the same IND had gone ahead: the card answers AUTS until it is resynchronised. */
  moveAhead(seq: bigint, ind: bigint): void {
    this.#seen.set(ind, seq)
  }

  /** SQN_MS is the highest that was accepted (TS 33.102 C.2.2). */
  #auts(milenage: Milenage): Uint8Array {
    const [ind, seq] = [...this.#seen].reduce((a, b) => (b[1] > a[1] ? b : a))
    const sqn = Buffer.from(((seq << IND_BITS) | ind).toString(16).padStart(12, '0'), 'hex')
    return Buffer.concat([xor(sqn, milenage.f5star), milenage.f1star(sqn)])
  }

  #signRaw(message: Uint8Array): Uint8Array {
    return sign('sha256', message, { key: this.#signer, dsaEncoding: 'ieee-p1363' })
  }
}

/** Milenage (TS 35.206 4.1) in software, for the card's side. */
export class Milenage {
  readonly #ki: Uint8Array
  readonly #opc: Uint8Array
  readonly #temp: Uint8Array

  constructor(ki: Uint8Array, opc: Uint8Array, rand: Uint8Array) {
    this.#ki = ki
    this.#opc = opc
    this.#temp = Milenage.encrypt(ki, xor(rand, opc))
  }

  /** AES-128 of one block. */
  static encrypt(key: Uint8Array, block: Uint8Array): Uint8Array {
    return createCipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(block)
  }

  f1(sqn: Uint8Array, amf: Uint8Array): Uint8Array {
    return this.#out1(sqn, amf).subarray(0, 8)
  }
  /** With AMF 0000, as an AUTS has it (TS 33.102 6.3.3). */
  f1star(sqn: Uint8Array): Uint8Array {
    return this.#out1(sqn, new Uint8Array(2)).subarray(8)
  }
  get f2(): Uint8Array {
    return this.#out(0, 1).subarray(8)
  }
  get f5(): Uint8Array {
    return this.#out(0, 1).subarray(0, 6)
  }
  get f5star(): Uint8Array {
    return this.#out(12, 8).subarray(0, 6)
  }

  #out1(sqn: Uint8Array, amf: Uint8Array): Uint8Array {
    const input = rotate(xor(Buffer.concat([sqn, amf, sqn, amf]), this.#opc), 8)
    return xor(Milenage.encrypt(this.#ki, xor(this.#temp, input)), this.#opc)
  }

  #out(rotation: number, constant: number): Uint8Array {
    const block = rotate(xor(this.#temp, this.#opc), rotation)
    block[15] = (block[15] ?? 0) ^ constant
    return xor(Milenage.encrypt(this.#ki, block), this.#opc)
  }
}

const xor = (a: Uint8Array, b: Uint8Array): Uint8Array => Uint8Array.from(a, (byte, at) => byte ^ (b[at] ?? 0))
/** To the left by bytes. */
const rotate = (block: Uint8Array, by: number): Uint8Array => Uint8Array.from(block, (_, at) => block[(at + by) % 16] ?? 0)

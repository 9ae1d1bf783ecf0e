import { timingSafeEqual } from 'node:crypto'
import type { Handle } from 'pkcs11js'
import type { LaneKeys, SealedBytes } from './lane-keys.ts'
import { readOperatorValue } from './operator-value.ts'
import type { Token } from './token.ts'

/**
 * Milenage (TS 35.206) by the Ki of a card, which stays in the token: f1, f2 and f5 for a challenge, f1* and f5* for a resynchronisation. f3 and f4 (CK, IK)
 * are not here: nobody can ask a lane for them. OP, OPc and the blocks are in clear in this process while a call runs, and wiped after it.
 */
export interface MilenageCall {
  readonly ki: SealedBytes
  readonly operatorKey: SealedBytes
  /** 16 bytes. */
  readonly rand: Uint8Array
}

/** AUTN = SQN xor AK || AMF || MAC-A (TS 33.102 6.3.2), 16 bytes. */
export function milenageChallenge(keys: LaneKeys, { sqn, amf, ...call }: MilenageCall & { readonly sqn: Uint8Array; readonly amf: Uint8Array }): Buffer {
  assertLength(sqn, 6)
  assertLength(amf, 2)
  return withBlocks(keys, call, (blocks) => autnOf(blocks, sqn, amf))
}

/** Whether RES (8 bytes) is f2 of the challenge. */
export function checkMilenageResponse(keys: LaneKeys, { res, ...call }: MilenageCall & { readonly res: Uint8Array }): boolean {
  return withBlocks(keys, call, (blocks) => isResponse(blocks, res))
}

/** AUTS = SQN_MS xor AK* || MAC-S (TS 33.102 6.3.3), made with AMF 0000: the SQN of the card, 6 bytes, where MAC-S is right; else nothing. */
export function resynchronise(keys: LaneKeys, { auts, ...call }: MilenageCall & { readonly auts: Uint8Array }): Buffer | undefined {
  assertLength(auts, 14)
  return withBlocks(keys, call, (blocks) => {
    const sqn = xorInto(Buffer.alloc(6), auts.subarray(0, 6), blocks.out(OUT5).subarray(0, 6))
    return same(blocks.out(OUT1, inputOf(sqn, Buffer.alloc(2))).subarray(8), auts.subarray(6)) ? sqn : undefined
  })
}

export function autnOf(blocks: Blocks, sqn: Uint8Array, amf: Uint8Array): Buffer {
  const [f1, f2f5] = [blocks.out(OUT1, inputOf(sqn, amf)), blocks.out(OUT2)]
  const autn = Buffer.alloc(16)
  xorInto(autn, sqn, f2f5.subarray(0, 6))
  autn.set(amf, 6)
  f1.copy(autn, 8, 0, 8)
  return autn
}

export const isResponse = (blocks: Blocks, res: Uint8Array): boolean => same(blocks.out(OUT2).subarray(8), res)

/** Rotation in bytes and last byte of the constant, r and c of TS 35.206 4.1. */
interface OutBlock {
  readonly rotate: number
  readonly constant: number
}
const OUT1: OutBlock = { rotate: 8, constant: 0 }
const OUT2: OutBlock = { rotate: 0, constant: 1 }
const OUT5: OutBlock = { rotate: 12, constant: 8 }

export interface Blocks {
  /** OUT1 with its input IN1, or OUT2 or OUT5: wiped when the call ends. */
  out(block: OutBlock, input?: Buffer): Buffer
}

function withBlocks<Result>(keys: LaneKeys, { ki, operatorKey, rand }: MilenageCall, work: (blocks: Blocks) => Result): Result {
  const { algorithm, handle } = keys.load(ki)
  if (algorithm !== 'aes-128') throw new Error('a Ki is an aes-128 key')
  const op = readOperatorValue(keys, operatorKey)
  const opc = Buffer.alloc(16)
  try {
    keys.token.encryptBlock(handle, op, opc)
    return milenage({ token: keys.token, ki: handle, opc: xorInto(opc, opc, op), rand }, work)
  } finally {
    op.fill(0)
    opc.fill(0)
  }
}

/** `ki`: a key for AES-ECB in the token. Its blocks are wiped when `work` returns. */
export function milenage<Result>(
  { token, ki, opc, rand }: { readonly token: Token; readonly ki: Handle; readonly opc: Uint8Array; readonly rand: Uint8Array },
  work: (blocks: Blocks) => Result,
): Result {
  assertLength(rand, 16)
  const secrets: Buffer[] = []
  const secret = (): Buffer => {
    const block = Buffer.alloc(16)
    secrets.push(block)
    return block
  }
  try {
    const temp = token.encryptBlock(ki, xorInto(secret(), rand, opc), secret())
    return work({
      out: ({ rotate, constant }, input) => {
        const [source, block] = [input ?? temp, secret()]
        for (let at = 0; at < 16; at++) block[at] = (source[(at + rotate) % 16] ?? 0) ^ (opc[(at + rotate) % 16] ?? 0)
        if (input !== undefined) xorInto(block, block, temp)
        block[15] = (block[15] ?? 0) ^ constant
        const out = token.encryptBlock(ki, block, secret())
        return xorInto(out, out, opc)
      },
    })
  } finally {
    for (const block of secrets) block.fill(0)
  }
}

/** IN1 = SQN || AMF || SQN || AMF. */
const inputOf = (sqn: Uint8Array, amf: Uint8Array): Buffer => Buffer.concat([sqn, amf, sqn, amf])

function xorInto(out: Buffer, a: Uint8Array, b: Uint8Array): Buffer {
  for (let at = 0; at < b.length; at++) out[at] = (a[at] ?? 0) ^ (b[at] ?? 0)
  return out
}

const same = (right: Uint8Array, given: Uint8Array): boolean => given.length === right.length && timingSafeEqual(right, given)

function assertLength(bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) throw new RangeError(`a value of Milenage has ${length} bytes here, and not ${bytes.length}`)
}

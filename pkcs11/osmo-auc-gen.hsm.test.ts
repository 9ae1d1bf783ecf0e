import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { opcOf } from '../attestation/testing/milenage.ts'
import { Milenage } from '../clients/simulated-card.ts'
import { frame, hex } from '../core/bytes.ts'
import { keyId } from '../core/ids.ts'
import { encodeRow } from '../core/row.ts'
import { canRun } from '../core/testing/tools.ts'
import type { LaneKeys, SealedBytes } from './lane-keys.ts'
import { type TestToken, testToken } from './testing/test-token.ts'
import { tokenInProcess, wrapKnownKey } from './testing/token-in-process.ts'
import { VERBS } from './verbs.ts'

const VECTORS = 1000
const PARALLEL = 4
const run = promisify(execFile)
/** 48 bits, with room above for what a resynchronisation adds. */
const randomSqn = (): Buffer => Buffer.concat([Buffer.from([(randomBytes(1)[0] ?? 0) & 0x7f]), randomBytes(5)])
const number = (sqn: Uint8Array): string => BigInt(`0x${hex(sqn)}`).toString()

let test: TestToken
let keys: LaneKeys
beforeAll(async () => {
  test = await testToken()
  keys = tokenInProcess(test.folder)
})
afterAll(() => test.close())

function stored(value: Buffer): SealedBytes {
  const id = keyId(`known:${hex(value)}`)
  const row = encodeRow({ table: 'known', schema: 1, id, version: 1, columns: { algorithm: 'aes-128', wrapped: wrapKnownKey(keys, 'aes-128', value) } })
  return { id, row, mac: VERBS.macRows(keys, { rows: frame([row]) }) }
}

/** What osmo-auc-gen (libosmocore) says, by name. */
async function osmocom(args: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const { stdout } = await run('osmo-auc-gen', ['-3', '-a', 'MILENAGE', ...args])
  return new Map([...stdout.matchAll(/^([\w. ]+):\t(\S+)$/gm)].map(([, name = '', value = '']) => [name, value]))
}

async function compare(): Promise<void> {
  const [k, op, rand, sqn, seen] = [randomBytes(16), randomBytes(16), randomBytes(16), randomSqn(), randomSqn()]
  const call = { ki: stored(k), operatorKey: stored(op), rand }
  const theirs = await osmocom(['-k', hex(k), '-O', hex(op), '-f', '0000', '-r', hex(rand), '-s', number(sqn)])
  expect(hex(VERBS.milenageChallenge(keys, { ...call, sqn, amf: Buffer.alloc(2) }))).toBe(theirs.get('AUTN'))
  const res = Buffer.from(theirs.get('RES') ?? '', 'hex')
  expect(VERBS.checkMilenageResponse(keys, { ...call, res })).toBe(true)

  const card = new Milenage(k, Buffer.from(opcOf(k, op)), rand)
  const auts = Buffer.concat([Buffer.from(seen.map((byte, at) => byte ^ (card.f5star[at] ?? 0))), card.f1star(seen)])
  const after = await osmocom(['-k', hex(k), '-O', hex(op), '-f', '0000', '-r', hex(rand), '-A', hex(auts)])
  expect(after.get('SQN.MS')).toBe(number(seen))
  expect(hex(VERBS.resynchronise(keys, { ...call, auts }) ?? new Uint8Array())).toBe(hex(seen))
  auts[13] = (auts[13] ?? 0) ^ 1
  expect(VERBS.resynchronise(keys, { ...call, auts })).toBeUndefined()
}

describe.runIf(canRun('osmo-auc-gen'))('osmo-auc-gen', () => {
  it(`agrees with the token on ${VECTORS} random vectors: AUTN, RES, and the SQN of an AUTS`, { timeout: 120_000 }, async () => {
    let left = VECTORS
    const work = async (): Promise<void> => {
      while (left-- > 0) await compare()
    }
    await Promise.all(Array.from({ length: PARALLEL }, work))
    expect(left).toBeLessThan(0)
  })
})

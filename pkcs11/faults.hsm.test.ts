import { createCipheriv, createHmac } from 'node:crypto'
import { renameSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { autnOf, cmac, opcOf } from '../attestation/testing/milenage.ts'
import { frame, hex } from '../core/bytes.ts'
import { encodeRow } from '../core/row.ts'
import type { Lane } from './lane.ts'
import type { SealedBytes } from './lane-keys.ts'
import { FAULT_KINDS } from './testing/fault-kinds.ts'
import { type FaultToken, faultToken, type KnownKey } from './testing/fault-token.ts'
import { inflict, type Recovery, recovery, until } from './testing/ordeal.ts'
import { openQuestions, type Questions } from './testing/questions.ts'
import { soak } from './testing/token-soak.ts'
import { ask, type Outcome, startTraffic } from './testing/traffic.ts'

const DEADLINE_MS = 1_500
/** Until the deadline is noticed, on a machine that has other work too. */
const SLACK_MS = 600
const RECOVERY_MS = 5_000

let token: FaultToken
let questions: Questions
beforeAll(async () => {
  token = await faultToken({ lanes: 2, deadlineMs: DEADLINE_MS })
  questions = await openQuestions(token)
})
afterEach(() => token.module.clear())
afterAll(async () => {
  await questions.close()
  await token.close()
})

const whys = (outcomes: readonly Outcome[], verdict: Outcome['verdict']): string[] => [
  ...new Set(outcomes.filter((outcome) => outcome.verdict === verdict).map(({ why = '' }) => why)),
]
const late = (outcomes: readonly Outcome[]): string[] =>
  outcomes.flatMap(({ question: { name, calls = 1 }, tookMs }) => (tookMs > calls * DEADLINE_MS + SLACK_MS ? [`${name}: ${tookMs.toFixed(0)} ms`] : []))
const pids = (): (number | undefined)[] => token.lanes.all.map(({ pid }) => pid)
const objects = (): number => token.module.uses().reduce((sum, use) => sum + use.objects, 0)

/** All is as it was, and was soon: every lane there, with one session, and every answer right. */
function expectWell({ tookMs, amiss, trail }: Recovery): void {
  expect(amiss).toBe('')
  expect(tookMs, trail.join('; ')).toBeLessThan(RECOVERY_MS)
}
const expectRecovery = async (): Promise<void> => expectWell(await recovery(token, questions))

describe('in traffic, each answer is right or 503 within the deadline; after it all is well within seconds, and no session is left behind', () => {
  it.each(Object.entries(FAULT_KINDS))('%s', async (_name, kind) => {
    const outcomes: Outcome[] = []
    const traffic = startTraffic(questions.all, { callers: 24, pauseMs: 10, onOutcome: (outcome) => outcomes.push(outcome) })
    let recovered: Recovery
    try {
      recovered = await inflict(token, questions, kind)
    } finally {
      await traffic.stop()
    }
    expect(whys(outcomes, 'wrong')).toEqual([])
    expect(late(outcomes)).toEqual([])
    expectWell(recovered)
    for (const use of token.module.uses()) expect(use.objects).toBeLessThanOrEqual(questions.mostObjects)
  })
})

describe('one lane of two', () => {
  it('hangs: nobody is refused but who was with it, and nobody else waits', async () => {
    const { lanes, module } = token
    const [hung, other] = lanes.all as [Lane, Lane]
    const homes = (lane: Lane | undefined) => questions.all.filter(({ key }) => (key === undefined ? undefined : lanes.of(key)) === lane)
    const groups = [
      { of: homes(other), callers: 32, outcomes: [] as Outcome[] },
      { of: homes(hung), callers: 8, outcomes: [] as Outcome[] },
      { of: homes(undefined), callers: 8, outcomes: [] as Outcome[] },
    ] as const
    const traffic = groups.map(({ of, callers, outcomes }) => startTraffic(of, { callers, pauseMs: 5, onOutcome: (outcome) => void outcomes.push(outcome) }))
    await wait(300)
    const { deadlines } = lanes.counts
    const fault = module.inject({ function: 'C_SignInit', action: { kind: 'hang' }, times: 1, pid: hung.pid ?? 0 })
    try {
      expect(await until(() => fault.hits > 0, 2_000)).toBe(true)
      const begunMs = performance.now()
      expect(await until(() => lanes.counts.ready < 2, DEADLINE_MS)).toBe(true)
      const noticedMs = performance.now() - begunMs
      expect(await until(() => lanes.counts.deadlines > deadlines, DEADLINE_MS + SLACK_MS)).toBe(true)
      await expectRecovery()
      await Promise.all(traffic.map(({ stop }) => stop()))
      const [others, its, anybodys] = groups.map(({ outcomes }) => outcomes) as [Outcome[], Outcome[], Outcome[]]
      const all = [...others, ...its, ...anybodys]
      for (const outcomes of [others, its, anybodys]) expect(outcomes.some(({ verdict }) => verdict === 'right')).toBe(true)
      expect(whys(all, 'wrong')).toEqual([])
      expect(late(all)).toEqual([])
      expect(whys(others, 'refused')).toEqual([])
      expect(percentile(others, 0.99)).toBeLessThan(DEADLINE_MS / 5)
      // Who came when it was known that the lane hangs, to whatever key.
      const later = all.filter(({ startedMs }) => startedMs > begunMs + noticedMs + 50)
      expect(later.length).toBeGreaterThan(100)
      expect(whys(later, 'refused')).toEqual([])
      expect(percentile(later, 0.99)).toBeLessThan(DEADLINE_MS / 5)
      // Each caller was with it once at most.
      expect(its.filter(({ verdict }) => verdict === 'refused').length).toBeLessThanOrEqual(8)
      expect(anybodys.filter(({ verdict }) => verdict === 'refused').length).toBeLessThanOrEqual(8)
    } finally {
      module.clear()
      await Promise.all(traffic.map(({ stop }) => stop()))
    }
  })
})

const percentile = (outcomes: readonly Outcome[], share: number): number =>
  outcomes.map(({ tookMs }) => tookMs).sort((a, b) => a - b)[Math.floor(outcomes.length * share)] ?? 0

describe('keys of known value, all of them in both lanes', () => {
  const text = Buffer.from('known')
  const [rand, sqn, amf] = [Buffer.alloc(16, 7), Buffer.alloc(6, 8), Buffer.from('8000', 'hex')]
  const sealedBytes = ({ id, sealed: { row, mac } }: KnownKey): SealedBytes => ({ id, row: encodeRow(row), mac })

  /** What each key must answer, by software. */
  const right = (): [string, string][] => [
    ...token.hmacKeys.map(({ id, value }): [string, string] => [id, createHmac('sha256', value).update(text).digest('hex')]),
    ...token.macKeys.map(({ id, value }): [string, string] => [id, hex(cmac(value, text))]),
    ...token.cardKeys.map(({ id, value }): [string, string] => [
      id,
      hex(autnOf({ ki: value, opc: opcOf(value, token.operatorKey.value) }, { rand, sqn, amf })),
    ]),
    ...token.gcmKeys.map(({ id }): [string, string] => [id, hex(frame([Buffer.from([1]), text]))]),
  ]
  const sealGcm = (value: Uint8Array): Buffer => {
    const cipher = createCipheriv('aes-256-gcm', value, rand.subarray(0, 12))
    return Buffer.concat([rand.subarray(0, 12), cipher.update(text), cipher.final(), cipher.getAuthTag()])
  }
  /** What each key answers in one lane, whichever it is at home in. */
  const answersOf = async (lane: Lane): Promise<[string, string][]> => {
    const operatorKey = sealedBytes(token.operatorKey)
    const asked = [
      ...token.hmacKeys.map((key) => [key, lane.call('sign', { key: sealedBytes(key), items: frame([text]) })] as const),
      ...token.macKeys.map((key) => [key, lane.call('mac', { key: sealedBytes(key), messages: frame([text]) })] as const),
      ...token.cardKeys.map((key) => [key, lane.call('milenageChallenge', { ki: sealedBytes(key), operatorKey, rand, sqn, amf })] as const),
      ...token.gcmKeys.map((key) => [key, lane.call('decrypt', { key: sealedBytes(key), items: frame([sealGcm(key.value), Buffer.alloc(0)]) })] as const),
    ]
    return Promise.all(asked.map(async ([{ id }, answer]): Promise<[string, string]> => [id, hex(await answer)]))
  }
  const answers = (): Promise<[string, string][][]> => Promise.all(token.lanes.all.map(answersOf))

  const folders = (): [here: string, away: string] => [join(token.folder, 'token'), join(token.folder, 'away')]
  const replacements: readonly (readonly [name: string, replace: () => Promise<void>])[] = [
    [
      'a new session in each lane, whose old one is gone',
      async () => {
        for (const pid of pids()) token.module.inject({ function: 'C_SignInit', action: { kind: 'close' }, times: 1, pid: pid ?? 0 })
        await Promise.allSettled(token.lanes.all.map(answersOf))
      },
    ],
    [
      'a new session in each lane, whose old one was thought to be gone',
      async () => {
        for (const pid of pids()) token.module.inject({ function: 'C_SignInit', action: { kind: 'answer', value: 0xb3 }, times: 1, pid: pid ?? 0 })
        await answers()
      },
    ],
    [
      'new lanes',
      async () => {
        for (const pid of pids()) process.kill(pid ?? 0, 'SIGKILL')
        await until(() => token.lanes.counts.ready === 0, 1_000)
      },
    ],
    [
      'the token out of its slot and back',
      async () => {
        token.module.inject({ function: '*', action: { kind: 'removed' } })
        await until(() => token.lanes.counts.ready === 0, 2_000)
        token.module.clear()
      },
    ],
    [
      'the token’s folder away and back',
      async () => {
        const [here, away] = folders()
        renameSync(here, away)
        await until(() => token.lanes.counts.ready === 0, 2_000)
        renameSync(away, here)
      },
    ],
  ]

  it.each(replacements)('after %s each id has its own answer', async (_name, replace) => {
    expect(await answers()).toEqual([right(), right()])
    try {
      await replace()
      await expectRecovery()
    } finally {
      token.module.clear()
    }
    expect(await answers()).toEqual([right(), right()])
  })
})

describe('small faults have small effects', () => {
  it('a session that fails costs a session, not its lane', async () => {
    await expectRecovery()
    const before = pids()
    for (const value of [0x50, 0x90, 0x91, 0xb0, 0xb3]) {
      const fault = token.module.inject({ function: 'C_Sign', action: { kind: 'answer', value }, times: 1 })
      expect((await Promise.all(questions.all.map(ask))).filter(({ verdict }) => verdict !== 'right')).toEqual([])
      expect(fault.hits).toBe(1)
      fault.remove()
    }
    expect(pids()).toEqual(before)
    expect(token.module.uses().map(({ sessions }) => sessions)).toEqual([1, 1])
  })

  it('a decryption that fails once, by the error that stands for a wrong tag on some tokens, is not told as one', async () => {
    const question = questions.all.find(({ name }) => name === 'decrypt by AES-GCM')
    if (question === undefined) throw new Error('no such question')
    for (const done of [false, true]) {
      const fault = token.module.inject({ function: 'C_Decrypt', action: { kind: 'answer', value: 0x5, done }, times: 1 })
      const { verdict, why } = await ask(question)
      expect(fault.hits).toBe(1)
      expect(verdict, why).not.toBe('wrong')
      fault.remove()
      await expectRecovery()
    }
  })

  it('the login lost while a call has made keys is 503, and not that the keys are gone', async () => {
    const question = questions.all.find(({ name }) => name === 'fillCards')
    if (question === undefined) throw new Error('no such question')
    const fault = token.module.inject({ function: 'C_DeriveKey', action: { kind: 'logout' }, times: 1 })
    const { verdict, why } = await ask(question)
    expect(fault.hits).toBe(1)
    expect(verdict, why).toBe('refused')
    fault.remove()
    await expectRecovery()
  })

  it('a call that the token refuses half-way leaves no key behind', async () => {
    const { module } = token
    const refused = { kind: 'answer', value: 0x63 } as const // CKR_KEY_TYPE_INCONSISTENT: the lane goes on
    const making = ['C_GenerateKey', 'C_GenerateKeyPair', 'C_DeriveKey', 'C_CreateObject', 'C_UnwrapKey'] as const
    const using = ['C_GetAttributeValue', 'C_WrapKey', 'C_EncryptInit', 'C_Encrypt', 'C_SignInit', 'C_Sign'] as const
    const makers = questions.all.filter(
      ({ name }, at, all) => all.findIndex((one) => one.name === name) === at && /generate|fillCards|milenage|checkCardMacs/.test(name),
    )
    const left: string[] = []
    let refusals = 0
    await expectRecovery()
    for (const question of makers) {
      for (const name of [...making, ...using]) {
        for (let after = 0; after < 50; after++) {
          await ask(question)
          const before = objects()
          const fault = module.inject({ function: name, action: refused, after, times: 1 })
          await ask(question)
          fault.remove()
          if (objects() > before) left.push(`${question.name}, ${name} refused after ${String(after)}`)
          if (fault.hits === 0) break
          refusals++
        }
      }
    }
    expect(left).toEqual([])
    expect(refusals).toBeGreaterThan(100)
    await expectRecovery()
  })
})

it('a soak: a fault every 500 of 6,000 operations, and nothing grows', async () => {
  const report = await soak(token, questions, { operations: 6_000, faultEvery: 500 })
  expect(report).toMatchObject({ wrong: [], amiss: [], faults: 10 })
  expect(report.right).toBeGreaterThanOrEqual(6_000)
  expect(report.slowestMs).toBeLessThan(DEADLINE_MS + SLACK_MS)
  expect(report.longestRecoveryMs).toBeLessThan(RECOVERY_MS)
  expect(report.sessions.last).toBe(2)
  expect(report.objects.last).toBeLessThanOrEqual(2 * questions.mostObjects)
  expect(report.heapBytes.last - report.heapBytes.first).toBeLessThan(8 << 20)
}, 60_000)

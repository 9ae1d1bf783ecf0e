import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { base64, hex } from '../../core/bytes.ts'
import { withSignatures } from '../../policies/audit/cosignature.ts'
import { openCosignatures } from '../../policies/audit/cosignature.ts'
import { EMPTY_ROOT } from '../../policies/audit/merkle.ts'
import { encodeAddCheckpoint, parseAddCheckpoint, SIZE_TYPE, WitnessRequestError } from '../../policies/audit/witness-request.ts'
import { TestTree } from '../../policies/audit/testing/test-tree.ts'
import { testLog, testWitness } from '../../policies/audit/testing/test-witness.ts'
import { addCheckpoint, type WitnessAnswer, type WitnessedHead, type WitnessState } from './witness.ts'

/** The example of C2SP tlog-witness. */
const EXAMPLE = `old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u2014 example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
`

/** A witness without a disk. */
class TestWitness implements WitnessState {
  readonly witness = testWitness('witness.example/w1')
  readonly signed: string[] = []
  readonly logs: readonly { readonly key: ReturnType<typeof testLog>['key'] }[]
  head: WitnessedHead = { size: 0, root: EMPTY_ROOT }
  isFull = false

  constructor(...logs: readonly { readonly key: ReturnType<typeof testLog>['key'] }[]) {
    this.logs = logs
  }

  keysOf(origin: string): readonly ReturnType<typeof testLog>['key'][] {
    return this.logs.filter(({ key }) => key.name === origin).map(({ key }) => key)
  }
  headOf(): WitnessedHead {
    return this.head
  }
  record(_origin: string, head: WitnessedHead): void {
    if (this.isFull) throw new Error('the disk is full')
    this.head = head
  }
  ask(body: string): WitnessAnswer {
    return addCheckpoint(body, {
      state: this,
      cosign: (text) => {
        this.signed.push(text)
        return this.witness.cosign(text, 1_700_000_000)
      },
    })
  }
}

describe('the request', () => {
  it('is that of the published example', () => {
    const parsed = parseAddCheckpoint(EXAMPLE)
    expect([parsed.oldSize, parsed.proof.length, parsed.note.startsWith('example.com/behind-the-sofa\n20852163\n')]).toEqual([20_852_014, 4, true])
    expect(encodeAddCheckpoint(parsed)).toBe(EXAMPLE)
  })

  it.each([
    ['no old size', EXAMPLE.replace('old ', '')],
    ['a leading zero', EXAMPLE.replace('old 2', 'old 02')],
    ['a size beyond 2^53', EXAMPLE.replace('old 20852014', 'old 9007199254740993')],
    ['a carriage return', EXAMPLE.replace('20852014\n', '20852014\r\n')],
    ['a hash of 31 bytes', EXAMPLE.replace(/PlRN.*=/, base64(new Uint8Array(31)))],
    ['stray bits in base64', EXAMPLE.replace('pkaw=', 'pkax=')],
    ['64 lines of proof', encodeAddCheckpoint({ oldSize: 1, proof: Array.from({ length: 64 }, () => new Uint8Array(32)), note: 'x\n' })],
    ['no checkpoint', 'old 0\n'],
    ['nothing', ''],
  ])('with %s is refused', (_what, body) => {
    expect(() => parseAddCheckpoint(body)).toThrow(WitnessRequestError)
  })

  it('takes no other text for one', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          expect(encodeAddCheckpoint(parseAddCheckpoint(text))).toBe(text)
        } catch (error) {
          expect(error).toBeInstanceOf(WitnessRequestError)
        }
      }),
    )
  })
})

describe('a witness', () => {
  it('cosigns a log as it grows, and tells its size to who has it wrong', () => {
    const tree = new TestTree()
    const witness = new TestWitness(tree)
    for (const [from, to] of [
      [0, 3],
      [3, 3],
      [3, 700],
    ] as const) {
      const answer = witness.ask(tree.request(from, to))
      expect(answer.status).toBe(200)
      const whole = withSignatures(tree.note(to), answer.body.trimEnd().split('\n'))
      expect(openCosignatures(whole, [witness.witness.key])).toHaveLength(1)
    }
    for (const from of [0, 3, 699]) expect(witness.ask(tree.request(from, 800))).toEqual({ status: 409, type: SIZE_TYPE, body: '700\n' })
    expect(witness.ask(tree.request(0, 3))).toEqual({ status: 409, type: SIZE_TYPE, body: '700\n' })
    expect(witness.head.size).toBe(700)
  })

  it('refuses what the specification says, by its code, and records and signs nothing then', () => {
    const tree = new TestTree()
    const fork = new TestTree(testLog('grid.example/audit'), 'b')
    const witness = new TestWitness(tree)
    witness.ask(tree.request(0, 5))
    const { head } = witness
    const shifted = { oldSize: 5, proof: tree.proof(5, 9).toReversed(), note: tree.note(9) }
    for (const [status, body] of [
      [400, 'hello'],
      [400, tree.request(5, 9).replace('\n9\n', '\n09\n')],
      [400, encodeAddCheckpoint({ oldSize: 9, proof: [], note: tree.note(8) })],
      [404, new TestTree(testLog('other.example/audit')).request(0, 3)],
      [403, fork.request(5, 9)],
      [403, tree.request(5, 9).replace('\n9\n', '\n8\n')],
      [422, encodeAddCheckpoint({ oldSize: 5, proof: [], note: tree.note(9) })],
      [422, encodeAddCheckpoint(shifted)],
    ] as const) {
      expect(witness.ask(body).status).toBe(status)
    }
    expect([witness.head, witness.signed.length]).toEqual([head, 1])
    const fresh = new TestWitness(tree)
    expect(fresh.ask(encodeAddCheckpoint({ oldSize: 0, proof: tree.proof(3, 5), note: tree.note(5) })).status).toBe(422)
    expect(fresh.ask(tree.request(0, 0)).status).toBe(200)
  })

  it('takes a log\u2019s second key, once it is told of it', () => {
    const [first, second] = [testLog('grid.example/audit'), testLog('grid.example/audit')]
    const witness = new TestWitness(first, second)
    expect(witness.ask(new TestTree(first).request(0, 4)).status).toBe(200)
    expect(witness.ask(new TestTree(second).request(4, 9)).status).toBe(200)
  })

  it('does not sign what it could not record', () => {
    const tree = new TestTree()
    const witness = new TestWitness(tree)
    witness.isFull = true
    expect(() => witness.ask(tree.request(0, 5))).toThrow('full')
    expect([witness.signed, witness.head.size]).toEqual([[], 0])
    witness.isFull = false
    expect(witness.ask(tree.request(0, 5)).status).toBe(200)
  })

  it('never signs two roots of one size, or a tree that does not extend the last, whatever two histories ask of it', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(40), fc.nat(40)), { maxLength: 40 }), (asked) => {
        const log = testLog('grid.example/audit')
        const histories = [new TestTree(log, 'a'), new TestTree(log, 'b')] as const
        const witness = new TestWitness(histories[0])
        for (const [isFork, from, to] of asked) witness.ask(histories[isFork ? 1 : 0].request(from, to))
        for (const [isFork] of asked) witness.ask(histories[isFork ? 1 : 0].request(witness.head.size, witness.head.size + 3))
        const bySize = new Map<string, string>()
        let largest = 0
        for (const text of witness.signed) {
          const size = Number(text.split('\n')[1])
          expect(size).toBeGreaterThanOrEqual(largest)
          largest = size
          expect(bySize.get(String(size)) ?? text).toBe(text)
          bySize.set(String(size), text)
        }
        // All that it signed is of one history.
        const one = histories.find((tree) => witness.signed.every((text) => text === tree.text(Number(text.split('\n')[1]))))
        expect(one, hex(witness.head.root)).toBeDefined()
      }),
      { numRuns: 60 },
    )
  })
})

import { beforeEach, describe, expect, it } from 'vitest'
import { Problem } from '../../core/problem.ts'
import type { Asked, Decision } from '../firewall/index.ts'
import type { Grant } from '../grants/grant.ts'
import { type Activation, revisionOf } from './activation.ts'
import type { RuleHits, Standing } from './activation-store.ts'
import { PolicyKeeper } from './keeper.ts'

const EPOCH = Date.parse('2026-11-26T00:00:00Z')
const asked: Asked = { operation: 'kms.key.sign', caller: { kind: 'module', name: 'billing', id: 'id' }, uses: [], facts: {}, at: EPOCH }

/** A database and a clock that both nodes of a test see. */
class World {
  ms = 0
  activations: Activation[] = []
  isAway = false
  /** Signatures that the token did not make. */
  readonly forged = new Set<number>()
  readonly hits: RuleHits[] = []
  readonly rolledBack: number[] = []
  compiled: string[] = []
  /** What every policy decides. */
  verdict: Pick<Decision, 'effect' | 'origin'> & { readonly rule?: string } = { effect: 'allow' }
  grants: Grant[] = []
  areGrantsAway = false
  /** The database takes a renewal, and does not answer until {@link endSilence}. */
  silent = false
  endSilence = (): void => undefined
  giveUp = (): void => undefined

  put(text: string, more: Partial<Activation> = {}): Activation {
    const number = this.activations.length + 1
    const activation: Activation = {
      ...{ number, revision: revisionOf(text), text, reason: 'a test', activatedBy: 'urn', activatedAt: new Date(EPOCH), state: 'confirmed', version: 1 },
      ...{ signature: new Uint8Array(64), ...more },
    }
    this.activations.push(activation)
    return activation
  }

  /** On trial for `ms`, falling back to the one before. */
  try(text: string, ms: number): Activation {
    return this.put(text, { state: 'trial', returnsTo: this.activations.length, confirmBy: new Date(EPOCH + this.ms + ms) })
  }

  standing(): Standing {
    const latest = this.activations.at(-1)
    return { now: new Date(EPOCH + this.ms), latest: latest && { number: latest.number, version: latest.version } }
  }

  node(failures: Problem[] = []): PolicyKeeper {
    return new PolicyKeeper({
      node: 'node',
      nowMs: () => this.ms,
      store: {
        renew: (): Promise<Standing> => {
          if (this.isAway) return Promise.reject(new Error('away'))
          if (this.silent)
            return new Promise((resolve, reject) => {
              this.endSilence = () => resolve(this.standing())
              this.giveUp = () => reject(new Problem('database-unavailable', 'No answer.'))
            })
          return Promise.resolve(this.standing())
        },
        find: (number) => Promise.resolve(this.activations.find((one) => one.number === number)),
        leave: () => Promise.resolve(),
        addHits: (hits) => {
          if (this.isAway) return Promise.reject(new Error('away'))
          this.hits.push(...hits)
          return Promise.resolve()
        },
      },
      liveGrants: () => (this.areGrantsAway ? Promise.reject(new Error('away')) : Promise.resolve(this.grants.filter(({ revoked }) => revoked === undefined))),
      assertSigned: ({ number }) => (this.forged.has(number) ? Promise.reject(new Error('not signed')) : Promise.resolve()),
      compile: (text) => {
        this.compiled.push(text)
        return { decide: () => ({ rule: text, revision: revisionOf(text), reason: '', ...this.verdict }) }
      },
      rollBack: (number) => {
        this.rolledBack.push(number)
        return Promise.resolve()
      },
      onFailure: (problem) => void failures.push(problem),
    })
  }
}

let world: World
let keeper: PolicyKeeper
const ruleOf = (): string => keeper.decide(asked).rule
beforeEach(() => {
  world = new World()
  keeper = world.node()
})

describe('the policy of a node', () => {
  it('decides nothing before it has a lease, nor without a policy', async () => {
    expect(() => keeper.decide(asked)).toThrow('no policy')
    await expect(keeper.refresh()).rejects.toThrow('no policy')
    world.put('one')
    await keeper.refresh()
    expect(ruleOf()).toBe('one')
  })

  it('is taken with the next renewal, and compiled once', async () => {
    world.put('one')
    await keeper.refresh()
    world.put('two')
    expect(ruleOf()).toBe('one')
    await keeper.refresh()
    await keeper.refresh()
    expect(ruleOf()).toBe('two')
    expect(world.compiled).toEqual(['one', 'two'])
  })

  it('refuses 5 s after the last renewal was asked for, and decides again with the next', async () => {
    world.put('one')
    await keeper.refresh()
    world.isAway = true
    world.ms = 4999
    await expect(keeper.refresh()).rejects.toThrow('away')
    expect(ruleOf()).toBe('one')
    world.ms = 5000
    expect(keeper.decide(asked)).toMatchObject({ effect: 'deny', rule: 'lease', revision: revisionOf('one') } satisfies Partial<Decision>)
    world.isAway = false
    await keeper.refresh()
    expect(ruleOf()).toBe('one')
  })

  it('is cut off once its lease is over and the database has left a renewal without an answer', async () => {
    world.put('one')
    await keeper.refresh()
    world.isAway = true
    world.ms = 6000
    await expect(keeper.refresh()).rejects.toThrow('away')
    // It was answered, if by an error: refusals can be tried to be recorded.
    expect(keeper.isCutOff).toBe(false)
    world.isAway = false
    world.silent = true
    const renewing = keeper.refresh()
    expect(keeper.isCutOff).toBe(false)
    world.ms = 7000
    expect(keeper.isCutOff).toBe(true)
    world.giveUp()
    await expect(renewing).rejects.toMatchObject({ code: 'database-unavailable' })
    expect(keeper.isCutOff).toBe(true)
    const again = keeper.refresh()
    world.endSilence()
    await again
    expect([keeper.isCutOff, ruleOf()]).toEqual([false, 'one'])
  })

  it('on trial is what counts until its time is over, then the one before does, by itself', async () => {
    world.put('one')
    const trial = world.try('two', 3000)
    await keeper.refresh()
    world.ms = 2999
    expect(ruleOf()).toBe('two')
    world.ms = 3000
    expect(ruleOf()).toBe('one')
    expect(keeper.inForce?.number).toBe(1)
    await keeper.refresh()
    expect(world.rolledBack).toEqual([trial.number])
    expect(ruleOf()).toBe('one')
  })

  it('that was confirmed stays', async () => {
    world.put('one')
    const trial = world.try('two', 3000)
    await keeper.refresh()
    world.activations[1] = { ...trial, state: 'confirmed', version: 2 }
    world.ms = 1000
    await keeper.refresh()
    world.ms = 3500
    expect(ruleOf()).toBe('two')
    expect(world.compiled).toEqual(['two', 'one'])
  })

  it('of a node that starts when a trial has run out is the one before', async () => {
    world.put('one')
    world.try('two', 3000)
    world.ms = 4000
    await keeper.refresh()
    expect(ruleOf()).toBe('one')
  })

  it('that the token did not sign is not taken, and the lease ends', async () => {
    world.put('one')
    await keeper.refresh()
    world.forged.add(world.put('evil').number)
    await expect(keeper.refresh()).rejects.toThrow('not signed')
    expect(ruleOf()).toBe('one')
    world.ms = 5000
    expect(ruleOf()).toBe('lease')
  })

  it('is not set back: a database that forgot the latest one is refused', async () => {
    world.put('one')
    world.put('two')
    await keeper.refresh()
    world.activations.pop()
    await expect(keeper.refresh()).rejects.toMatchObject({ code: 'integrity-failed' })
  })
})

describe('hits', () => {
  it('are counted by rule and revision, written now and then, and kept while they cannot be', async () => {
    world.put('one')
    await keeper.refresh()
    for (let time = 0; time < 3; time++) keeper.decide(asked)
    world.ms = 2000
    keeper.decide(asked)
    world.ms = 4900
    await keeper.refresh()
    expect(world.hits).toEqual([])
    world.ms = 5000
    await keeper.refresh()
    const first = new Date(EPOCH)
    expect(world.hits).toEqual([{ revision: revisionOf('one'), rule: 'one', hits: 4, firstAt: first, lastAt: new Date(EPOCH + 2000) }])
    keeper.decide(asked)
    world.isAway = true
    await expect(keeper.stop()).rejects.toThrow('away')
    world.isAway = false
    await keeper.stop()
    expect(world.hits.map(({ hits }) => hits)).toEqual([4, 1])
  })
})

describe('grants', () => {
  const grant: Grant = {
    ...{ id: '01890000-0000-7000-8000-000000000001', reason: 'r', callers: ['urn:gridseal:module:billing'], operations: ['kms.key.sign'], zones: [] },
    ...{ networks: [], from: new Date(EPOCH), until: new Date(EPOCH + 60_000), issuedBy: 'urn', issuedAt: new Date(EPOCH), version: 1 },
  }
  beforeEach(() => {
    world.verdict = { effect: 'deny', rule: 'default', origin: { zones: ['plant'], isOutside: false } }
    world.put('one')
  })

  it('are taken with the next renewal, and given up with it', async () => {
    await keeper.refresh()
    world.grants = [grant]
    expect(ruleOf()).toBe('default')
    await keeper.refresh()
    expect(ruleOf()).toBe(`grant:${grant.id}`)
    world.grants = [{ ...grant, revoked: { by: 'urn', at: new Date(EPOCH), reason: 'r' } }]
    expect(ruleOf()).toBe(`grant:${grant.id}`)
    await keeper.refresh()
    expect(ruleOf()).toBe('default')
  })

  it('allow nothing on a node that cannot renew its lease', async () => {
    world.grants = [grant]
    await keeper.refresh()
    world.isAway = true
    world.ms = 5000
    expect(ruleOf()).toBe('lease')
  })

  it('that cannot be read keep the lease from being renewed: a revocation may be among them', async () => {
    world.grants = [grant]
    await keeper.refresh()
    world.areGrantsAway = true
    world.ms = 4999
    await expect(keeper.refresh()).rejects.toThrow('away')
    expect(ruleOf()).toBe(`grant:${grant.id}`)
    world.ms = 5000
    expect(ruleOf()).toBe('lease')
  })

  it('are counted as what decided', async () => {
    world.grants = [grant]
    await keeper.refresh()
    keeper.decide(asked)
    await keeper.stop()
    expect(world.hits).toMatchObject([{ rule: `grant:${grant.id}`, hits: 1 }])
  })
})

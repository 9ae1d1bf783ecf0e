import { describe, expect, it } from 'vitest'
import { noFaults } from '../core/fault-point.ts'
import { Problem } from '../core/problem.ts'
import { FillJob, type FillJobSettings, type FillSteps } from './fill-job.ts'
import type { Order } from './order.ts'
import { canMove, ORDER_MOVES, ORDER_STATES } from './order-state.ts'
import { DERIVATION_TYPES, findProfile, PROFILES } from './profile.ts'

/** One order of a few chunks, in memory. */
class World implements FillSteps {
  state: string = 'approved'
  readonly done: string[] = []
  readonly open: number[]
  halted: Problem | undefined
  atOnce = 0
  mostAtOnce = 0
  fail: (chunk: number) => Problem | undefined = () => undefined

  constructor(chunks: number) {
    this.open = Array.from({ length: chunks }, (_, at) => at)
  }

  readonly orders: FillJobSettings['orders'] = {
    nextToFill: () => Promise.resolve((this.state === 'approved' || this.state === 'generating') && !this.halted ? 'o' : undefined),
    find: () => Promise.resolve({ state: this.state } as Order),
    openChunks: (_id, limit) => Promise.resolve(this.open.slice(0, limit)),
    countFilled: () => Promise.resolve(new Map([['o', this.done.length]])),
  }

  begin = async (): Promise<void> => {
    this.state = 'generating'
  }
  fill = async (_orderId: string, chunk: number): Promise<void> => {
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.atOnce)
    await new Promise((resolve) => setTimeout(resolve, 1))
    this.atOnce--
    const problem = this.fail(chunk)
    if (problem) throw problem
    this.open.splice(this.open.indexOf(chunk), 1)
    this.done.push(`chunk ${chunk}`)
  }
  seal = async (): Promise<void> => {
    this.state = 'ready'
    this.done.push('sealed')
  }
  halt = async (_orderId: string, problem: Problem): Promise<void> => {
    this.halted = problem
  }
}

async function run(world: World, until: () => boolean, settings: Partial<FillJobSettings> = {}): Promise<FillJob> {
  const job = new FillJob({ orders: world.orders, steps: world, parallel: 3, faults: noFaults, pollMs: 60_000, retryMs: 1, maxRetryMs: 5, ...settings })
  job.start()
  for (const end = Date.now() + 5_000; !until() && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 2))
  return job
}

describe('the fill job', () => {
  it('fills every chunk, as many at a time as it may, then seals', async () => {
    const world = new World(100)
    await (await run(world, () => world.state === 'ready')).stop()
    expect(world.done).toHaveLength(101)
    expect(world.done.at(-1)).toBe('sealed')
    expect(world.mostAtOnce).toBe(3)
  })

  it('waits while the token is away, however long, and goes on by itself', async () => {
    const world = new World(4)
    let away = 20
    world.fail = () => (away-- > 0 ? new Problem('hsm-unavailable', 'away') : undefined)
    await (await run(world, () => world.state === 'ready')).stop()
    expect(world.halted).toBeUndefined()
    expect(world.done).toHaveLength(5)
  })

  it('halts an order that fails three times without progress, and not one that goes on', async () => {
    const stuck = new World(2)
    let attempts = 0
    stuck.fail = () => {
      attempts++
      return new Problem('hsm-failed', 'no')
    }
    await (await run(stuck, () => stuck.halted !== undefined, { parallel: 1 })).stop()
    expect([stuck.halted?.code, attempts]).toEqual(['hsm-failed', 3])

    const slow = new World(8)
    const failed = new Set<number>()
    slow.fail = (chunk) => (failed.has(chunk) ? undefined : (failed.add(chunk), new Problem('conflict', 'taken')))
    await (await run(slow, () => slow.state === 'ready', { parallel: 1 })).stop()
    expect(slow.halted).toBeUndefined()
  })

  it('halts at once over an edited row', async () => {
    const world = new World(2)
    world.fail = () => new Problem('integrity-failed', 'edited')
    await (await run(world, () => world.halted !== undefined)).stop()
    expect(world.done).toEqual([])
  })

  it('is woken for a new order, and stops at once while it waits', async () => {
    const world = new World(1)
    world.state = 'validated'
    const job = await run(world, () => true)
    world.state = 'approved'
    job.wake()
    for (const end = Date.now() + 2_000; world.state !== 'ready' && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 2))
    expect(world.state).toBe('ready')
    const began = Date.now()
    await job.stop()
    expect(Date.now() - began).toBeLessThan(1_000)
  })
})

describe('the tables', () => {
  it('of order states name only states, and no way leads back', () => {
    for (const [from, to] of Object.entries(ORDER_MOVES))
      for (const state of to) expect(ORDER_STATES.indexOf(state)).toBeGreaterThan(ORDER_STATES.indexOf(from as 'ready'))
    expect(canMove('approved', 'cancelled')).toBe(false)
    expect(canMove('validated', 'generating')).toBe(false)
  })

  it('of derivation types give no type twice: two purposes with one type would have one key', () => {
    const types = Object.values(DERIVATION_TYPES)
    expect(new Set(types).size).toBe(types.length)
    expect(DERIVATION_TYPES).toMatchObject({ 'gp-enc': 1, 'gp-mac': 2, 'gp-dek': 3 })
  })

  it('of profiles have one random key each, purposes once, and OPc of a key that is there', () => {
    for (const { keys } of Object.values(PROFILES)) {
      expect(keys.filter(({ source }) => source.kind === 'random')).toHaveLength(1)
      expect(new Set(keys.map(({ purpose }) => purpose)).size).toBe(keys.length)
      for (const { source } of keys) if (source.kind === 'opc') expect(keys.find(({ purpose }) => purpose === source.of)?.source.kind).toBe('random')
    }
    expect(findProfile('constructor')).toBeUndefined()
  })
})

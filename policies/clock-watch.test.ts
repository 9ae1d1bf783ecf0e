import { describe, expect, it } from 'vitest'
import { ClockWatch, type DatabaseTime } from './clock-watch.ts'

/** Three clocks that a test moves, and a database that may be slow or away. */
class Clocks {
  steady = 1000
  wall = Date.parse('2026-11-26T08:00:00Z')
  database = this.wall
  lastCheckpoint: number | undefined
  tookMs = 1
  isAway = false
  readonly watch = new ClockWatch({ read: () => this.#read(), wallNow: () => this.wall, steadyNow: () => this.steady })

  pass(ms: number): void {
    this.steady += ms
    this.wall += ms
    this.database += ms
  }

  async look(): Promise<string | undefined> {
    await this.watch.look()
    return this.watch.problem?.code
  }

  #read(): Promise<DatabaseTime> {
    this.pass(this.tookMs / 2)
    const time = { now: new Date(this.database), lastCheckpoint: this.lastCheckpoint === undefined ? undefined : new Date(this.lastCheckpoint) }
    this.pass(this.tookMs / 2)
    return this.isAway ? Promise.reject(new Error('away')) : Promise.resolve(time)
  }
}

describe('the clocks', () => {
  it('that agree are no problem, however slow the network is', async () => {
    const clocks = new Clocks()
    for (const tookMs of [1, 100, 900, 5000, 1]) {
      clocks.tookMs = tookMs
      expect(await clocks.look()).toBeUndefined()
      clocks.pass(1000)
    }
    expect(clocks.watch.detail).toBeUndefined()
  })

  it.each([
    [1900, undefined],
    [-1900, undefined],
    [2100, 'clock-unreliable'],
    [-2100, 'clock-unreliable'],
    [3_600_000, 'clock-unreliable'],
  ])('%i ms apart: %s; together again they are relied on', async (apart, code) => {
    const clocks = new Clocks()
    clocks.database += apart
    expect(await clocks.look()).toBe(code)
    expect(clocks.watch.problem?.status).toBe(code && 503)
    clocks.pass(1000)
    clocks.wall += apart
    expect(await clocks.look()).toBeUndefined()
  })

  it('of which both went back are before the last checkpoint', async () => {
    const clocks = new Clocks()
    clocks.lastCheckpoint = clocks.database
    expect(await clocks.look()).toBeUndefined()
    clocks.pass(1000)
    clocks.wall -= 10_000
    clocks.database -= 10_000
    expect(await clocks.look()).toBe('clock-unreliable')
    expect(clocks.watch.detail).toMatch(/before the last checkpoint/)
    clocks.pass(9000)
    expect(await clocks.look()).toBeUndefined()
  })

  it('of which one jumped to the other’s time refuse nothing, and tell of it for a while', async () => {
    const clocks = new Clocks()
    clocks.wall -= 5000
    expect(await clocks.look()).toBe('clock-unreliable')
    clocks.pass(1000)
    clocks.wall += 5000
    expect(await clocks.look()).toBeUndefined()
    expect(clocks.watch.detail).toMatch(/this machine’s clock jumped by 5\.0 s/)
    clocks.pass(20_000)
    expect(await clocks.look()).toBeUndefined()
    expect(clocks.watch.detail).toBeUndefined()
  })

  it('that cannot be compared stay as they were', async () => {
    const clocks = new Clocks()
    clocks.database += 5000
    expect(await clocks.look()).toBe('clock-unreliable')
    clocks.isAway = true
    clocks.database -= 5000
    expect(await clocks.look()).toBe('clock-unreliable')
    clocks.isAway = false
    clocks.tookMs = 1500
    expect(await clocks.look()).toBe('clock-unreliable')
    clocks.tookMs = 10
    expect(await clocks.look()).toBeUndefined()
  })
})

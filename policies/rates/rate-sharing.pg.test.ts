import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestDatabase, testDatabase } from '../../server/postgres/test-database.ts'
import { RateTable } from '../firewall/rates.ts'
import { PgDemandStore } from './demand-store.pg.ts'
import { RateSharing } from './rate-sharing.ts'

let db: TestDatabase
beforeAll(async () => {
  db = await testDatabase()
})
afterAll(() => db.close())

/** Nodes on one database, whose clock is the test's. */
function nodes(count: number) {
  const clock = { now: 0 }
  const all = Array.from({ length: count }, (_, at) => {
    const rates = new RateTable({ nowMs: () => clock.now })
    return { rates, sharing: new RateSharing({ node: `00000000-0000-4000-8000-00000000000${String(at)}`, rates, store: new PgDemandStore(db.sql) }) }
  })
  return { clock, all }
}

/** A minute in which each node is asked so many times a second; answers what was granted, by node. */
async function minute(
  key: string,
  { demand, count, burst }: { readonly demand: (node: number, second: number) => number; readonly count: number; readonly burst: number },
  size = 2,
) {
  const { clock, all } = nodes(size)
  const granted = all.map(() => 0)
  const credit = all.map(() => 0)
  for (clock.now = 0; clock.now < 60_000; clock.now += 10) {
    all.forEach(({ rates }, node) => {
      credit[node] = (credit[node] ?? 0) + demand(node, clock.now / 1000) / 100
      for (; (credit[node] ?? 0) >= 1; credit[node] = (credit[node] ?? 0) - 1) {
        if (rates.take({ key, count, everyMs: 1000, burst }) === undefined) granted[node] = (granted[node] ?? 0) + 1
      }
    })
    if (clock.now % 500 === 0) for (const { sharing } of all) await sharing.exchange()
  }
  for (const { sharing } of all) await sharing.stop()
  return { granted, sum: granted.reduce((a, b) => a + b, 0) }
}

describe('a rate over nodes, in a minute', () => {
  it.each([
    ['both are asked the same', 'same', () => 150],
    ['one is asked three times as often', 'uneven', (node: number) => (node === 0 ? 300 : 100)],
    ['only one is asked', 'one', (node: number) => (node === 0 ? 200 : 0)],
    ['one comes when half of it is over', 'late', (node: number, second: number) => (node === 0 || second > 30 ? 150 : 0)],
    ['they take turns', 'turns', (node: number, second: number) => (Math.floor(second / 10) % 2 === node ? 200 : 20)],
  ] as const)('is granted within 5 percent: %s', async (_what, key, demand) => {
    const { sum } = await minute(key, { demand, count: 100, burst: 100 })
    const whole = 60 * 100 + 100
    expect(sum).toBeGreaterThan(whole * 0.95)
    expect(sum).toBeLessThan(whole * 1.05)
  })

  it('is shared by what is asked of each', async () => {
    const { granted } = await minute('fair', { demand: (node) => (node === 0 ? 300 : 100), count: 100, burst: 100 })
    expect((granted[0] ?? 0) / (granted[1] ?? 1)).toBeGreaterThan(2.5)
    expect((granted[0] ?? 0) / (granted[1] ?? 1)).toBeLessThan(3.5)
  })

  it('that is not reached holds up nobody', async () => {
    const { sum } = await minute('below', { demand: () => 25, count: 100, burst: 100 })
    expect(sum).toBe(2 * 60 * 25)
  })

  it('is all of the only node’s again when the other has gone', async () => {
    const { clock, all } = nodes(2)
    const [one, other] = all
    if (one === undefined || other === undefined) throw new Error('two nodes')
    const ask = (rates: RateTable, times: number): number =>
      Array.from({ length: times }, () => rates.take({ key: 'gone', count: 10, everyMs: 1000, burst: 10 })).filter((wait) => wait === undefined).length
    for (const { rates } of all) ask(rates, 50)
    for (let turn = 0; turn < 2; turn++) for (const { sharing } of all) await sharing.exchange()
    clock.now = 10_000
    expect(ask(one.rates, 50)).toBeLessThan(10)
    await other.sharing.stop()
    await one.sharing.exchange()
    clock.now = 20_000
    expect(ask(one.rates, 50)).toBe(10)
    await one.sharing.stop()
  })
})

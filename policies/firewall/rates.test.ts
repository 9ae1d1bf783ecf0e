import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { RateClaim } from './decide.ts'
import { RateTable } from './rates.ts'

const claim = (key: string, parts: Partial<RateClaim> = {}): RateClaim => ({ key, count: 10, everyMs: 1000, burst: 20, ...parts })

function table(most = 100) {
  const clock = { now: 0 }
  return { clock, rates: new RateTable({ nowMs: () => clock.now, most }) }
}

describe('rates', () => {
  it('allow a burst, then so many in a time', () => {
    const { clock, rates } = table()
    expect(Array.from({ length: 20 }, () => rates.take(claim('a')))).toEqual(Array.from({ length: 20 }, () => undefined))
    expect(rates.take(claim('a'))).toBe(100)
    expect(rates.take(claim('b'))).toBeUndefined()
    clock.now = 99
    expect(rates.take(claim('a'))).toBe(1)
    clock.now = 100
    expect(rates.take(claim('a'))).toBeUndefined()
    expect(rates.take(claim('a'))).toBe(100)
    clock.now = 3_600_000
    expect(Array.from({ length: 25 }, () => rates.take(claim('a'))).filter((wait) => wait === undefined)).toHaveLength(20)
  })

  it('never allow more than burst and refill, whenever who comes; and who waits as told is let in', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 5000 }),
        fc.integer({ min: 1, max: 60 }),
        fc.array(fc.nat({ max: 400 }), { maxLength: 200 }),
        (count, everyMs, burst, gaps) => {
          const { clock, rates } = table()
          let taken = 0
          let wait: number | undefined
          for (const gap of gaps) {
            clock.now += gap
            wait = rates.take(claim('a', { count, everyMs, burst }))
            if (wait === undefined) taken += 1
          }
          expect(taken).toBeLessThanOrEqual(burst + (clock.now * count) / everyMs + 1e-6)
          if (wait !== undefined) {
            clock.now += wait
            expect(rates.take(claim('a', { count, everyMs, burst })) ?? 0).toBeLessThanOrEqual(1)
          }
        },
      ),
    )
  })

  it('keep a bounded number of buckets: full ones are forgotten, and without room who is new is refused', () => {
    const { clock, rates } = table(50)
    for (let at = 0; at < 50; at += 1) expect(rates.take(claim(String(at)))).toBeUndefined()
    expect(rates.take(claim('new'))).toBe(1000)
    expect(rates.take(claim('7'))).toBeUndefined()
    clock.now = 10_000
    expect(rates.take(claim('new'))).toBeUndefined()
    expect(rates.size).toBe(1)
  })
})

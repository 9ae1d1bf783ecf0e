import { describe, expect, it } from 'vitest'
import { type Admitted, LoginThrottle, networkOf, THROTTLE } from './login-throttle.ts'

function clocked() {
  const clock = { nowMs: 1e9 }
  const throttle = new LoginThrottle({ nowMs: () => clock.nowMs })
  /** How long it waits; 0: it was tried, and failed. */
  const fail = (name: string, address: string, device?: string): number => {
    const admitted = throttle.begin({ name, address, ...(device === undefined ? {} : { device }) })
    return typeof admitted === 'number' ? admitted : 0
  }
  const begin = (name: string, address: string, device?: string): Admitted => {
    const admitted = throttle.begin({ name, address, ...(device === undefined ? {} : { device }) })
    if (typeof admitted === 'number') throw new Error(`waits ${String(admitted)} ms`)
    return admitted
  }
  return { clock, throttle, fail, begin }
}

describe('failed logins', () => {
  it('cost nothing three times, then 1 s, 2 s, 4 s ... up to 15 minutes', () => {
    const { clock, fail } = clocked()
    const waits: number[] = []
    for (let at = 0; at < 16; at++) {
      // The budgets of names and addresses are another matter: a known device.
      const wait = fail('chen', '10.1.0.1', 'd')
      waits.push(wait)
      clock.nowMs += wait
      if (wait > 0) fail('chen', '10.1.0.1', 'd')
    }
    expect(waits.map((ms) => ms / 1000)).toEqual([0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900])
  })

  it('are forgotten after the longest wait without one, and by a success', () => {
    const { clock, fail, begin } = clocked()
    for (let at = 0; at < 4; at++) fail('chen', '10.1.0.1')
    expect(fail('chen', '10.1.0.1')).toBe(1000)
    clock.nowMs += 1000 + THROTTLE.longestWaitMs
    for (let at = 0; at < 3; at++) expect(fail('chen', '10.1.0.1')).toBe(0)
    begin('chen', '10.1.0.1').succeeded()
    for (let at = 0; at < 3; at++) expect(fail('chen', '10.1.0.1')).toBe(0)
  })

  it('at once are no way around: an attempt counts when it begins', () => {
    const { fail } = clocked()
    const waits = Array.from({ length: 64 }, () => fail('chen', '10.1.0.1'))
    expect(waits.filter((wait) => wait === 0)).toHaveLength(4)
  })

  it('that were not tried after all cost nothing', () => {
    const { begin, fail } = clocked()
    for (let at = 0; at < 100; at++) begin('chen', '10.1.0.1').abandoned()
    for (let at = 0; at < 4; at++) expect(fail('chen', '10.1.0.1')).toBe(0)
  })

  it('of one person, address or device make no other wait', () => {
    const { fail } = clocked()
    for (let at = 0; at < 10; at++) fail('chen', '10.9.9.9')
    expect(fail('chen', '10.9.9.9')).toBeGreaterThan(0)
    expect(fail('chen', '10.1.0.1')).toBe(0)
    expect(fail('dora', '10.9.9.9')).toBe(0)
    expect(fail('chen', '10.9.9.9', 'chen’s own device behind the same address')).toBe(0)
  })
})

describe('a guesser with many addresses', () => {
  it('gets 20 attempts, then 20 an hour; a known device goes past, however long it lasts', () => {
    const { clock, fail } = clocked()
    let tried = 0
    const end = clock.nowMs + 10 * 3_600_000
    for (let at = 0; clock.nowMs < end; at++, clock.nowMs += 20_000) {
      if (fail('chen', `10.${String(at >> 8)}.${String(at & 255)}.1`) === 0) tried += 1
      if (at % 180 === 0) expect(fail('chen', '10.1.0.1', 'known'), 'once an hour').toBe(0)
    }
    expect(tried).toBeGreaterThan(200)
    expect(tried).toBeLessThanOrEqual(20 + 200)
  })

  it('and one address with many names gets 60, then one a minute', () => {
    const { clock, fail } = clocked()
    expect(Array.from({ length: 100 }, (_, at) => fail(`name-${String(at)}`, '10.9.9.9')).filter((wait) => wait === 0)).toHaveLength(60)
    clock.nowMs += 60_000
    expect(fail('another', '10.9.9.9')).toBe(0)
    expect(fail('another-2', '10.9.9.9')).toBeGreaterThan(0)
    expect(fail('another-3', '10.9.9.8')).toBe(0)
  })

  it('gives back what a success took, so that people behind one address go on', () => {
    const { begin, fail } = clocked()
    for (let at = 0; at < 500; at++) begin(`name-${String(at)}`, '10.1.0.1').succeeded()
    expect(fail('another', '10.1.0.1')).toBe(0)
  })

  it('fills no memory: of what nobody asks for again, at most 50,000 are remembered', () => {
    const { fail } = clocked()
    for (let at = 0; at < 4; at++) fail('chen', '10.1.0.1')
    const flood = (from: number, to: number): void => {
      for (let at = from; at < to; at++) fail(`name-${String(at)}`, `10.${String(at >> 16)}.${String((at >> 8) & 255)}.${String(at & 255)}`)
    }
    flood(0, 24_000)
    expect(fail('chen', '10.1.0.1')).toBe(1000)
    flood(24_000, 48_000)
    expect(fail('chen', '10.1.0.1')).toBe(1000)
    flood(48_000, 102_000)
    expect(fail('chen', '10.1.0.1')).toBe(0)
  })
})

describe('a network', () => {
  it.each([
    ['10.1.2.3', '10.1.2.3'],
    ['::ffff:10.1.2.3', '10.1.2.3'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:0db8:0000:0000:ffff::1', '2001:db8:0:0::/64'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ])('of %s is %s', (address, network) => {
    expect(networkOf(address)).toBe(network)
  })
})

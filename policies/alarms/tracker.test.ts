import { describe, expect, it } from 'vitest'
import { type Sight, Tracker } from './tracker.ts'

const WRONG: Sight = { is: 'wrong', detail: 'it is wrong' }
const WELL: Sight = { is: 'well' }
const UNKNOWN: Sight = { is: 'unknown' }
const MINUTE = 60_000

describe('a condition', () => {
  it('is an alarm once it has lasted, and no more once it has been gone for a while', () => {
    const tracker = new Tracker({ lastsMs: 3000, quietMs: MINUTE })
    for (const at of [0, 1500, 2999]) tracker.step(WRONG, at)
    expect(tracker.detail).toBeUndefined()
    tracker.step(WRONG, 3000)
    expect(tracker.detail).toBe('it is wrong')
    tracker.step(WELL, 4000)
    tracker.step(WELL, 4000 + MINUTE - 1)
    expect(tracker.detail).toBe('it is wrong')
    tracker.step(WELL, 4000 + MINUTE)
    expect(tracker.detail).toBeUndefined()
  })

  it('that was gone in between has to last anew', () => {
    const tracker = new Tracker({ lastsMs: 3000, quietMs: MINUTE })
    tracker.step(WRONG, 0)
    tracker.step(WELL, 1000)
    tracker.step(WRONG, 3500)
    expect(tracker.detail).toBeUndefined()
  })

  it('that nobody can look at neither raises nor ends an alarm', () => {
    const tracker = new Tracker({ lastsMs: 0, quietMs: MINUTE })
    for (let at = 0; at < 10; at += 1) tracker.step(UNKNOWN, at * MINUTE)
    expect(tracker.detail).toBeUndefined()
    tracker.step(WRONG, 11 * MINUTE)
    for (let at = 12; at < 90; at += 1) tracker.step(UNKNOWN, at * MINUTE)
    expect(tracker.detail).toBe('it is wrong')
  })

  it('tells what is wrong now', () => {
    const tracker = new Tracker({ lastsMs: 0, quietMs: MINUTE })
    tracker.step(WRONG, 0)
    tracker.step({ is: 'wrong', detail: 'it is worse' }, 1)
    expect(tracker.detail).toBe('it is worse')
  })

  it.each([1, 5, 30, 59, 61, 90, 300])('that comes and goes every %i s raises few alarms in a day', (everyS) => {
    const tracker = new Tracker({ lastsMs: 0, quietMs: MINUTE })
    let changes = 0
    for (let s = 0, was = false; s < 86_400; s += 1) {
      tracker.step(Math.floor(s / everyS) % 2 === 0 ? WRONG : WELL, s * 1000)
      const is = tracker.detail !== undefined
      if (is !== was) changes += 1
      was = is
    }
    expect(changes).toBeLessThanOrEqual(24 * 12)
    expect(changes).toBeGreaterThan(0)
  })

  it('long after its troubles ends as soon as the first time', () => {
    const tracker = new Tracker({ lastsMs: 0, quietMs: MINUTE })
    let now = 0
    for (let at = 0; at < 4; at += 1) {
      tracker.step(WRONG, now)
      tracker.step(WELL, now)
      while (tracker.detail !== undefined) tracker.step(WELL, (now += 1000))
    }
    const [later] = [now + 2 * 3_600_000]
    tracker.step(WRONG, later)
    tracker.step(WELL, later)
    tracker.step(WELL, later + MINUTE)
    expect(tracker.detail).toBeUndefined()
  })

  it('whose alarm was open before is adopted, and ends as any other', () => {
    const tracker = new Tracker({ lastsMs: 0, quietMs: MINUTE })
    tracker.adopt('from before', 0)
    expect(tracker.detail).toBe('from before')
    tracker.step(WELL, 0)
    tracker.step(WELL, MINUTE)
    expect(tracker.detail).toBeUndefined()
  })
})

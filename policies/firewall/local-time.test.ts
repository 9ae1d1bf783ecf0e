import { describe, expect, it } from 'vitest'
import { isInWindow, isTimeZone, localClock, periodOf } from './local-time.ts'

const at = (text: string): number => Date.parse(text)

describe('the clock of a time zone', () => {
  it.each([
    ['Europe/Berlin', '2026-03-29T00:59:59Z', { weekday: 6, minute: 119 }],
    ['Europe/Berlin', '2026-03-29T01:00:00Z', { weekday: 6, minute: 180 }],
    ['Europe/Berlin', '2026-10-25T00:30:00Z', { weekday: 6, minute: 150 }],
    ['Europe/Berlin', '2026-10-25T01:30:00Z', { weekday: 6, minute: 150 }],
    ['Asia/Shanghai', '2026-11-26T16:00:00Z', { weekday: 4, minute: 0 }],
    ['America/St_Johns', '2026-01-01T03:29:59Z', { weekday: 2, minute: 1439 }],
    ['Australia/Lord_Howe', '2026-04-04T15:00:00Z', { weekday: 6, minute: 90 }],
    ['Pacific/Chatham', '2026-01-01T00:00:00Z', { weekday: 3, minute: 825 }],
    ['UTC', '1970-01-01T00:00:00Z', { weekday: 3, minute: 0 }],
    ['UTC', '2028-02-29T23:59:59.999Z', { weekday: 1, minute: 1439 }],
  ] as const)('%s at %s', (timeZone, when, wanted) => {
    expect(localClock(timeZone).read(at(when))).toMatchObject(wanted)
  })

  it('shows what the platform prints, in every quarter of a year with two changes', () => {
    for (const timeZone of ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe']) {
      const clock = localClock(timeZone)
      const print = new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
      for (let when = at('2026-01-01T00:07:00Z'); when < at('2027-01-01T00:00:00Z'); when += 45 * 60_000) {
        const { minute } = clock.read(when)
        expect(`${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`).toBe(print.format(when))
      }
    }
  })

  it('throws on what is no time', () => {
    for (const when of [Number.NaN, Number.POSITIVE_INFINITY, -1, 9e15]) expect(() => localClock('UTC').read(when)).toThrow('not a time')
  })

  it('knows time zones by their names alone', () => {
    expect(['Asia/Shanghai', 'UTC', 'Etc/GMT+8'].every(isTimeZone)).toBe(true)
    expect(['', 'Mars/Olympus', '+08:00', 'Asia/Shanghai\u0000'].some(isTimeZone)).toBe(false)
  })
})

describe('windows', () => {
  const monday = 1
  it.each([
    [{ days: monday, from: 480, to: 1080 }, { weekday: 0, minute: 480 }, true],
    [{ days: monday, from: 480, to: 1080 }, { weekday: 0, minute: 1080 }, false],
    [{ days: monday, from: 0, to: 1440 }, { weekday: 0, minute: 1439 }, true],
    [{ days: monday, from: 1320, to: 120 }, { weekday: 0, minute: 1320 }, true],
    [{ days: monday, from: 1320, to: 120 }, { weekday: 1, minute: 119 }, true],
    [{ days: monday, from: 1320, to: 120 }, { weekday: 1, minute: 120 }, false],
    [{ days: monday, from: 1320, to: 120 }, { weekday: 0, minute: 60 }, false],
    [{ days: 1 << 6, from: 1320, to: 120 }, { weekday: 0, minute: 60 }, true],
  ])('%o at %o: %s', (window, time, wanted) => {
    expect(isInWindow(window, time)).toBe(wanted)
  })
})

it('periods are named by their first day', () => {
  const time = localClock('Asia/Shanghai').read(at('2026-12-31T16:00:00Z'))
  expect((['day', 'week', 'month'] as const).map((period) => periodOf(period, time))).toEqual(['2027-01-01', '2026-12-28', '2027-01'])
})

/** A moment as the clocks of a time zone show it. */
export interface LocalTime {
  /** Days since 1970-01-01 of the local calendar. */
  readonly date: number
  /** 0 is Monday. */
  readonly weekday: number
  /** Since local midnight. */
  readonly minute: number
}

export interface LocalClock {
  readonly timeZone: string
  /** Throws a RangeError on what is no time between the years 1970 and 9999. */
  read(at: number): LocalTime
}

const QUARTER_MS = 900_000
const DAY_MINUTES = 1440
/** Quarters of an hour whose offset is remembered. Bounded: beyond it the memory starts anew. */
const MOST_REMEMBERED = 4096
const LATEST = Date.UTC(9999, 11, 30)

export const isTimeZone = (name: string): boolean => {
  if (!/^[A-Za-z]/.test(name)) return false
  try {
    void new Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}

/** The clock of an IANA time zone, daylight saving included. Offsets change at quarters of an hour only, so one is asked for once a quarter. */
export function localClock(timeZone: string): LocalClock {
  const format = new Intl.DateTimeFormat('en-u-ca-gregory-nu-latn', {
    ...{ timeZone, hourCycle: 'h23', year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', second: 'numeric' },
  })
  const offsets = new Map<number, number>()
  const offsetMinutes = (quarter: number): number => {
    const known = offsets.get(quarter)
    if (known !== undefined) return known
    const parts = new Map(format.formatToParts(quarter * QUARTER_MS).map(({ type, value }) => [type, Number(value)]))
    const part = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type) ?? Number.NaN
    const local = new Date(0)
    local.setUTCFullYear(part('year'), part('month') - 1, part('day'))
    local.setUTCHours(part('hour'), part('minute'), part('second'))
    const offset = Math.round((local.getTime() - quarter * QUARTER_MS) / 60_000)
    if (offsets.size >= MOST_REMEMBERED) offsets.clear()
    offsets.set(quarter, offset)
    return offset
  }
  return {
    timeZone,
    read: (at) => {
      if (!(at >= 0 && at <= LATEST)) throw new RangeError('not a time')
      const minutes = Math.floor(at / 60_000) + offsetMinutes(Math.floor(at / QUARTER_MS))
      const date = Math.floor(minutes / DAY_MINUTES)
      // 1970-01-01 was a Thursday.
      return { date, weekday: (((date + 3) % 7) + 7) % 7, minute: minutes - date * DAY_MINUTES }
    },
  }
}

/** Times of the week. `from` after `to` goes on past midnight, and belongs to the day that it begins on. */
export interface Window {
  readonly clock: LocalClock
  /** Bit 0 is Monday. */
  readonly days: number
  /** Minutes since midnight; `to` is not part of it, and may be 1440. */
  readonly from: number
  readonly to: number
}

const hasDay = (days: number, weekday: number): boolean => (days & (1 << weekday)) !== 0

export const isInWindow = ({ days, from, to }: Omit<Window, 'clock'>, { weekday, minute }: Pick<LocalTime, 'weekday' | 'minute'>): boolean =>
  from < to
    ? hasDay(days, weekday) && minute >= from && minute < to
    : (hasDay(days, weekday) && minute >= from) || (hasDay(days, (weekday + 6) % 7) && minute < to)

export type Period = 'day' | 'week' | 'month'

/** The name of the period that a moment falls into: its date, its week's Monday, its month. */
export function periodOf(period: Period, { date, weekday }: LocalTime): string {
  const first = new Date((period === 'week' ? date - weekday : date) * 86_400_000).toISOString().slice(0, 10)
  return period === 'month' ? first.slice(0, 7) : first
}

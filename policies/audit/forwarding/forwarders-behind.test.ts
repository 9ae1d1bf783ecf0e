import { describe, expect, it } from 'vitest'
import type { ForwarderStatus } from './forwarder.ts'
import { forwardersBehind } from './forwarders-behind.ts'

const at = (ms: number): Date => new Date(Date.parse('2026-11-26T08:00:00Z') + ms)
const status = (change: Partial<ForwarderStatus>): ForwarderStatus => ({
  ...{ receiver: 'siem', state: 'failing', since: at(0), position: 5, lag: 3, upTo: at(0), lastError: 'refused' },
  ...change,
})
const behind = (...receivers: readonly Partial<ForwarderStatus>[]): string | undefined =>
  forwardersBehind(receivers.map(status), { seconds: 60, nowMs: at(61_000).getTime() })

describe('receivers', () => {
  it('that have not read for too long are named, with the last error', () => {
    expect(behind({}, { receiver: 'slow', state: 'working', lastError: undefined }, { receiver: 'well', lag: 0 })).toBe(
      'siem: 3 entries since 2026-11-26T08:00:00.000Z (refused); slow: 3 entries since 2026-11-26T08:00:00.000Z',
    )
  })

  it.each([
    ['have read all', { lag: 0 }],
    ['are behind for a moment', { upTo: at(1500) }],
    ['are another node\u2019s', { state: 'standby' as const }],
  ])('that %s are not', (_what, change) => {
    expect(behind(change)).toBeUndefined()
  })

  it('none: nothing', () => {
    expect(behind()).toBeUndefined()
  })
})

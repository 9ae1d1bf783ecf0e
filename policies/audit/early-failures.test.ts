import { describe, expect, it } from 'vitest'
import { MemoryLog } from '../testing/memory-gate.ts'
import { EarlyFailures } from './early-failures.ts'
import { encodeEntry } from './entry.ts'

describe('requests that fail before the gate', () => {
  it('become one entry for all of a minute, by source and code', async () => {
    const log = new MemoryLog()
    const failures = new EarlyFailures({ log, now: () => new Date('2026-11-22T10:00:00Z') })
    for (let at = 0; at < 3; at += 1) failures.count('192.0.2.7', 'unauthenticated')
    failures.count('192.0.2.7', 'not-found')
    failures.count('2001:db8::1', 'body-too-large')
    await failures.flush()
    await failures.flush()
    expect(log.entries).toHaveLength(1)
    expect(log.entries[0]).toMatchObject({
      kind: 'event',
      operation: 'system.requests-failed-early',
      facts: {
        public: {
          total: 5,
          since: '2026-11-22T10:00:00.000Z',
          counts: ['192.0.2.7 not-found 1', '192.0.2.7 unauthenticated 3', '2001:db8::1 body-too-large 1'],
        },
      },
    })
  })

  it('from a hundred thousand addresses still fit in one entry, and none is lost from the total', async () => {
    const log = new MemoryLog()
    const failures = new EarlyFailures({ log })
    for (let at = 0; at < 100_000; at += 1)
      failures.count(`2001:db8:aaaa:bbbb:cccc:dddd:${(at >> 16).toString(16)}:${(at & 0xffff).toString(16)}`, 'media-type-unsupported')
    await failures.flush()
    const [draft] = log.entries
    expect(draft?.facts?.public?.['total']).toBe(100_000)
    expect(draft?.facts?.public?.['counts']).toContain('other media-type-unsupported 99500')
    const at = { time: new Date(), writer: { slot: 0, epoch: 1, seq: 0 }, effect: 'transient', salt: () => new Uint8Array(16) } as const
    if (draft !== undefined) expect(encodeEntry(draft, at).bytes.length).toBeLessThan(65_535)
  })

  it('are kept while the log takes nothing', async () => {
    const log = new MemoryLog()
    const failures = new EarlyFailures({ log })
    failures.count('192.0.2.7', 'not-found')
    log.fail = 'before'
    await expect(failures.flush()).rejects.toThrow(/log is gone/)
    failures.count('192.0.2.7', 'not-found')
    log.fail = 'no'
    await failures.stop()
    expect(log.entries[0]?.facts?.public?.['counts']).toEqual(['192.0.2.7 not-found 2'])
  })
})

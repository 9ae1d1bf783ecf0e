import { describe, expect, it } from 'vitest'
import { SEGMENT_ENTRIES } from './bits.ts'
import { OpenSegments } from './open-segments.ts'
import { Searcher, type SearcherSettings } from './searcher.ts'
import type { TermStore } from './term-store.ts'

const unasked = (): never => expect.unreachable('nothing else is asked')

/** Segments of one second each, from 1970 on; every entry is `ok`. More than one page looks at. */
const SEGMENTS = 50_000
const SIZE = SEGMENTS * SEGMENT_ENTRIES
const spanOf = (segment: number) => ({ segment, firstMs: segment * 1000, lastMs: segment * 1000 + 999 })
const longLog: TermStore = {
  position: () => Promise.resolve({ sealed: SEGMENTS, generation: 1, size: SIZE, from: 0 }),
  spans: (segments) => Promise.resolve(segments.map(spanOf)),
  wholeSpan: () => Promise.resolve({ firstMs: 0, lastMs: SEGMENTS * 1000 - 1 }),
  values: () => Promise.resolve(['ok']),
  rows: (_field, values, segments) => Promise.resolve(segments.flatMap((segment) => values.map((value) => ({ segment, value, bits: new Uint8Array() })))),
  ...{ seal: unasked, sums: unasked, times: unasked, clear: unasked, stored: unasked, rowCounts: unasked, valuesIn: unasked },
}

const searcherOf = (parts: Pick<SearcherSettings, 'store'> & Partial<SearcherSettings>): Searcher =>
  new Searcher({
    open: new OpenSegments(unasked),
    log: { at: (indexes) => Promise.resolve(indexes.map(unasked)), indexesOf: unasked, personalPlaces: unasked },
    blindIndex: unasked,
    ...parts,
  })

describe('a log that is longer than what one page looks at', () => {
  const searcher = searcherOf({ store: longLog })
  const first = { until: '1970-01-01T00:00:01Z' }

  it('is exported by time from wherever the time lies', async () => {
    const last = { since: new Date(spanOf(SEGMENTS - 1).firstMs) }
    expect(await searcher.placesOfTime(last, SIZE)).toEqual({ from: SIZE - SEGMENT_ENTRIES, to: SIZE })
    expect(await searcher.placesOfTime({ until: new Date(1000) }, SIZE)).toEqual({ from: 0, to: SEGMENT_ENTRIES })
  })

  it('is counted whole', async () => {
    const prepared = await searcher.prepare(first)
    const groups = [{ value: 'ok', count: SEGMENT_ENTRIES }]
    expect(await searcher.count(prepared, 'code', 10)).toMatchObject({ total: SEGMENT_ENTRIES, groups, searchedTo: SIZE })
    expect(await searcher.histogram(prepared, {})).toMatchObject({ total: SEGMENT_ENTRIES, groups: [{ count: SEGMENT_ENTRIES }] })
  })

  it('is searched in pages that end early and say where to go on', async () => {
    const { entries, next } = await searcher.search(await searcher.prepare({ since: '2000-01-01' }), { order: 'oldest', limit: 10 })
    expect([entries, next]).toEqual([[], 48_828 * SEGMENT_ENTRIES])
  })
})

describe('a personal value', () => {
  it('that a hundred thousand entries have is found at once', async () => {
    const count = 25 * SEGMENT_ENTRIES
    const salt = new Uint8Array(16)
    const searcher = searcherOf({
      store: { ...longLog, position: () => Promise.resolve({ sealed: 25, generation: 1, size: count, from: 0 }) },
      blindIndex: () => Promise.resolve([salt]),
      log: {
        at: unasked,
        indexesOf: unasked,
        personalPlaces: (_name, _blind, from, to) =>
          Promise.resolve(Array.from({ length: Math.min(to, count) - from }, (_, at) => ({ index: from + at, salt }))),
      },
    })
    const prepared = await searcher.prepare({ personal: 'iccid', value: '89860123456789012345' })
    const began = performance.now()
    expect((await searcher.count(prepared, 'code', 1)).total).toBe(count)
    expect(performance.now() - began).toBeLessThan(5000)
  })
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseTilePath, tilePath, tilesOf, widthIn } from './tile-path.ts'

describe('paths of tiles', () => {
  // C2SP tlog-tiles: index 1234067 is x001/x234/067.
  it.each([
    ['tile/0/x001/x234/067', { level: 0, index: 1_234_067, width: 256 }],
    ['tile/0/000', { level: 0, index: 0, width: 256 }],
    ['tile/1/999.p/255', { level: 1, index: 999, width: 255 }],
    ['tile/63/x001/000.p/1', { level: 63, index: 1000, width: 1 }],
    ['tile/entries/x123/x456/789.p/17', { level: 'entries', index: 123_456_789, width: 17 }],
  ] as const)('%s', (text, path) => {
    expect(tilePath(path)).toBe(text)
    expect(parseTilePath(text)).toEqual(path)
  })

  it('go through their text', () => {
    const levels = fc.oneof(fc.nat(63), fc.constant('entries' as const))
    fc.assert(
      fc.property(levels, fc.maxSafeNat(), fc.integer({ min: 1, max: 256 }), (level, index, width) => {
        expect(parseTilePath(tilePath({ level, index, width }))).toEqual({ level, index, width })
      }),
    )
  })

  it.each([
    ['', 'tile', 'tile/0', 'tile/0/', 'tile/0/0', 'tile/0/00', 'tile/0/0000', 'tile/0/1000'],
    ['tile/00/000', 'tile/01/000', 'tile/64/000', 'tile/-1/000', 'tile/100/000', 'tile/x/000', 'tile/Entries/000', 'tile/data/000'],
    ['tile/0/x000/000', 'tile/0/x000/x001/000', 'tile/0/001/000', 'tile/0/x001/x000', 'tile/0/x001', 'tile/0/X001/000'],
    ['tile/0/000.p/', 'tile/0/000.p/0', 'tile/0/000.p/01', 'tile/0/000.p/256', 'tile/0/000.p/300', 'tile/0/000.p/1000', 'tile/0/000.p/-1', 'tile/0/000.p'],
    ['/tile/0/000', 'tile/0/000/', 'tile/0/000\n', 'tile//0/000', 'tile/0/../0/000', 'tile/0/%30%30%30', 'tile/0/٠٠٠', 'tile/0/000.p/1.p/1'],
    [`tile/0/${'x999/'.repeat(6)}999`, `tile/0/${'x001/'.repeat(100)}000`],
  ])('%j and the like are none', (...paths) => {
    for (const path of paths) expect(parseTilePath(path), path).toBeUndefined()
  })

  it('are those of C2SP tlog-tiles for a tree of 70,000', () => {
    const tiles = [...tilesOf(70_000)]
    const by = (level: number) => tiles.filter((tile) => tile.level === level).map(({ width }) => width)
    expect(by(0)).toEqual([...Array<number>(273).fill(256), 112])
    expect(by(1)).toEqual([256, 17])
    expect(by(2)).toEqual([1])
    expect(tiles).toHaveLength(277)
    expect([...tilesOf(256)]).toEqual([
      { level: 0, index: 0, width: 256 },
      { level: 1, index: 0, width: 1 },
    ])
    expect([...tilesOf(0)]).toEqual([])
  })

  it('from a size on are all but those that were full before', () => {
    for (const [from, to] of [
      [0, 300],
      [255, 300],
      [256, 257],
      [70_000, 70_400],
      [65_536, 65_537],
    ] as const) {
      const before = new Set([...tilesOf(from)].filter(({ width }) => width === 256).map(tilePath))
      expect([...tilesOf(to, from)]).toEqual([...tilesOf(to)].filter((tile) => !before.has(tilePath(tile))))
    }
    expect(widthIn(300, { level: 'entries', index: 1 })).toBe(44)
    expect(widthIn(300, { level: 0, index: 2 })).toBe(0)
  })
})

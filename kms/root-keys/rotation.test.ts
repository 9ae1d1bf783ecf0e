import { describe, expect, it } from 'vitest'
import { afterPage, isAtStart, NO_ROWS, type PageResult, type Rotation, unaccepted } from './rotation.ts'

const now = new Date('2026-11-26T00:00:00Z')
const working: Rotation = {
  ...{ id: 'r', key: 'row-mac', from: 1, to: 2, reason: 'a test', salt: new Uint8Array(16), state: 'working' },
  ...{ requestedBy: 'urn:gridseal:officer:alice', requestedAt: now, pass: 1, rows: { ...NO_ROWS, total: 3 }, accepted: 0, version: 4 },
}
const page = (given: Partial<PageResult>): PageResult => ({ seen: 1, found: 0, refused: 0, renewed: 0, ...given })
const after = (rotation: Rotation, given: Partial<PageResult>): Rotation => afterPage(rotation, page(given), { now, total: 3 })

describe('a pass', () => {
  it('goes on at its cursor', () => {
    const cursor = { table: 'callers', key: '["x"]' }
    const next = after(working, { found: 1, renewed: 1, next: cursor })
    expect(next).toMatchObject({ cursor, pass: 1, version: 5, rows: { seen: 1, found: 1, renewed: 1 } })
    expect(isAtStart(next)).toBe(false)
  })

  it('is never the last as the first one, even if it found nothing: others may still make things with the old key', () => {
    const next = after(working, {})
    expect(next).toMatchObject({ state: 'working', pass: 2, rows: { seen: 0 } })
    expect(isAtStart(next)).toBe(true)
  })

  it('is the last when it is a later one and has found nothing', () => {
    expect(after({ ...working, pass: 2 }, {})).toMatchObject({ state: 'closing', pass: 2 })
    expect(after({ ...working, pass: 2 }, { found: 1, renewed: 1 })).toMatchObject({ state: 'working', pass: 3, rows: { found: 0, renewed: 1 } })
    // Found and not written, since somebody else was writing: not the last either.
    expect(after({ ...working, pass: 7, rows: { ...NO_ROWS, found: 1 } }, {})).toMatchObject({ state: 'working', pass: 8 })
  })

  it('is not the last while a row is of no generation, unless just so many were given up', () => {
    const next = after({ ...working, pass: 2 }, { refused: 2 })
    expect(next).toMatchObject({ state: 'working', pass: 3, rows: { refused: 0, refusedBefore: 2 } })
    expect(unaccepted(next)).toBe(2)
    expect(after({ ...working, pass: 3, accepted: 2 }, { refused: 2 })).toMatchObject({ state: 'closing' })
    expect(after({ ...working, pass: 3, accepted: 2 }, { refused: 3 })).toMatchObject({ state: 'working' })
  })
})

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { TestTree } from './testing/test-tree.ts'
import { tokenHead } from './token-head.ts'

const tree = new TestTree()
let kept: string[]
let failure: Error | undefined
const told: string[] = []
const keeper = {
  keepHead: (_origin: string, note: string): Promise<void> => (failure === undefined ? Promise.resolve(void kept.push(note)) : Promise.reject(failure)),
  readHeads: (): Promise<string[]> => Promise.resolve(kept),
}
const anchor = (): ReturnType<typeof tokenHead> => tokenHead({ keeper, origin: tree.key.name, everyMs: 60_000, onError: (error) => told.push(String(error)) })

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  kept = []
  told.length = 0
  failure = undefined
})
afterEach(() => {
  vi.useRealTimers()
})

describe('the token as an anchor', () => {
  it('is written at once, then at most once a minute with the newest, and when the log stops', async () => {
    const head = anchor()
    for (let size = 1; size <= 5; size += 1) await head.write(tree.note(size))
    await vi.advanceTimersByTimeAsync(59_000)
    expect(kept).toEqual([tree.note(1)])
    await vi.advanceTimersByTimeAsync(2000)
    expect(kept).toEqual([tree.note(1), tree.note(5)])
    await head.write(tree.note(6))
    await head.flush?.()
    await head.flush?.()
    expect(kept).toEqual([tree.note(1), tree.note(5), tree.note(6)])
    await vi.advanceTimersByTimeAsync(120_000)
    expect(kept).toHaveLength(3)
  })

  it('that refuses is told of once, and tried again', async () => {
    const head = anchor()
    failure = new Error('CKR_TOKEN_WRITE_PROTECTED')
    for (let size = 1; size <= 3; size += 1) {
      await head.write(tree.note(size))
      await vi.advanceTimersByTimeAsync(61_000)
    }
    expect(told).toHaveLength(1)
    expect(told[0]).toContain('CKR_TOKEN_WRITE_PROTECTED')
    failure = undefined
    await head.flush?.()
    expect(kept).toEqual([tree.note(3)])
  })

  it('gives the largest of what a crash left, and what cannot be read before it', async () => {
    const head = anchor()
    expect(await head.read()).toBeUndefined()
    kept = [tree.note(3), tree.note(9), tree.note(4)]
    expect(await head.read()).toBe(tree.note(9))
    kept = [tree.note(3), 'noise', tree.note(9)]
    expect(await head.read()).toBe('noise')
  })
})

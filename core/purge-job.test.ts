import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { PurgeJob } from './purge-job.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

it('purges every ten minutes, goes on after a failure, and ends', async () => {
  let turns = 0
  const codes: string[] = []
  const purge = (): Promise<void> => (++turns === 2 ? Promise.reject(new Error('away')) : Promise.resolve())
  const job = new PurgeJob({ purge, onFailure: ({ code }) => void codes.push(code) })
  job.start()
  job.start()
  await vi.advanceTimersByTimeAsync(599_000)
  expect(turns).toBe(0)
  await vi.advanceTimersByTimeAsync(1_201_000)
  expect(turns).toBe(3)
  expect(codes).toEqual(['internal'])
  await job.stop()
  await vi.advanceTimersByTimeAsync(6_000_000)
  expect(turns).toBe(3)
})

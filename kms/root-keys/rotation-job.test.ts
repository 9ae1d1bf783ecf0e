import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { Problem } from '../../core/problem.ts'
import { noFaults } from '../../core/fault-point.ts'
import { NO_ROWS, type Rotation } from './rotation.ts'
import { RotationJob } from './rotation-job.ts'

const working: Rotation = {
  ...{ id: 'r', key: 'row-mac', from: 1, to: 2, reason: 'a test', salt: new Uint8Array(16), state: 'working' },
  ...{ requestedBy: 'urn:gridseal:officer:alice', requestedAt: new Date(), pass: 1, rows: NO_ROWS, accepted: 0, version: 4 },
}

/** A job over one rotation that a test changes, with what it asked. */
function jobOf({
  rotation: first,
  behind = 0,
  leads = true,
  graceMs = 0,
}: {
  rotation: Rotation | undefined
  behind?: number
  leads?: boolean
  graceMs?: number
}) {
  const state = { rotation: first, behind, leads, failing: 0 }
  const asked: string[] = []
  const failures: string[] = []
  const step = (name: string) => async (): Promise<number> => {
    asked.push(name)
    await Promise.resolve()
    if (state.failing-- > 0) throw new Problem('hsm-unavailable', 'away')
    return 7
  }
  const job = new RotationJob({
    rotations: { findOpen: () => Promise.resolve(state.rotation) },
    steps: {
      renew: async () => {
        const renewed = await step('renew')()
        if (state.rotation !== undefined) state.rotation = { ...state.rotation, state: 'closing', pass: 2, version: state.rotation.version + 1 }
        return renewed
      },
      retire: async () => {
        await step('retire')()
        state.rotation = undefined
      },
    },
    countBehind: () => Promise.resolve(state.behind),
    ...{ leads: () => state.leads, faults: noFaults, pollMs: 5, waitMs: 5, graceMs, retryMs: 1, maxRetryMs: 4 },
    onFailure: ({ code }) => void failures.push(code),
  })
  return { job, state, asked, failures }
}

const during = async (job: RotationJob, work: () => Promise<unknown>): Promise<void> => {
  job.start()
  await work()
  await job.stop()
}

describe('the rotation job', () => {
  it('renews, then retires, and counts what it has brought under the new key', async () => {
    const { job, asked } = jobOf({ rotation: working })
    await during(job, () => sleep(50))
    expect(asked).toEqual(['renew', 'retire'])
    expect(job.progress).toEqual({ state: 'none', renewed: 7 })
  })

  it('does nothing with what nobody has approved, nor where another process leads', async () => {
    for (const state of ['requested', 'making'] as const) {
      const { job, asked } = jobOf({ rotation: { ...working, state } })
      await during(job, () => sleep(20))
      expect(asked).toEqual([])
      expect(job.progress.state).toBe(state)
    }
    const { job, asked } = jobOf({ rotation: working, leads: false })
    await during(job, () => sleep(20))
    expect(asked).toEqual([])
  })

  it.each([
    ['a second pass', { ...working, pass: 2 }],
    ['the end', { ...working, state: 'closing', pass: 2 }],
  ] as const)('waits for processes that are behind before %s, and then for the grace', async (_claim, rotation) => {
    const { job, asked, state } = jobOf({ rotation, behind: 1, graceMs: 40 })
    await during(job, async () => {
      await sleep(30)
      expect(asked).toEqual([])
      state.behind = 0
      await sleep(20)
      expect(asked).toEqual([])
      // One that comes back behind begins the grace anew.
      state.behind = 1
      await sleep(15)
      state.behind = 0
      await sleep(25)
      expect(asked).toEqual([])
      await sleep(120)
    })
    expect(asked.length).toBeGreaterThan(0)
  })

  it('goes on in the middle of a pass without waiting', async () => {
    const { job, asked } = jobOf({ rotation: { ...working, pass: 2, cursor: { table: 'callers', key: undefined } }, behind: 1 })
    await during(job, () => sleep(20))
    expect(asked).toEqual(['renew'])
  })

  it('tries again after a failure, and tells of it', async () => {
    const { job, asked, failures, state } = jobOf({ rotation: working })
    state.failing = 3
    await during(job, () => sleep(80))
    expect(asked).toEqual(['renew', 'renew', 'renew', 'renew', 'retire'])
    expect(failures).toEqual(['hsm-unavailable', 'hsm-unavailable', 'hsm-unavailable'])
  })
})

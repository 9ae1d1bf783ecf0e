import { expect, it, vi } from 'vitest'
import { Health, type PartState } from './health.ts'

it('tells of each part, and since when; a part that is away keeps the service from being ready', async () => {
  let token: PartState = { state: 'ready', since: new Date(0) }
  let database: () => Promise<unknown> = () => Promise.resolve()
  const changes: string[] = []
  const health = new Health(
    [
      { name: 'database', check: () => database() },
      { name: 'token', state: () => token },
    ],
    (name, { state }) => void changes.push(`${name} ${state}`),
    { everyMs: 5, answerMs: 20 },
  )
  const isDatabase = (state: string): Promise<unknown> => vi.waitFor(() => expect(health.states['database']?.state).toBe(state))
  expect(health.isReady).toBe(false)
  await health.start()
  expect(health.states).toEqual({ database: { state: 'ready', since: expect.any(Date) as Date }, token: { state: 'ready', since: new Date(0) } })
  expect(health.isReady).toBe(true)

  token = { state: 'degraded', since: new Date(1) }
  expect(health.isReady).toBe(true)
  database = () => new Promise(() => undefined)
  await isDatabase('away')
  expect(health.isReady).toBe(false)
  const { since } = health.states['database'] as PartState
  database = () => Promise.reject(new Error('away'))
  await new Promise((resolve) => setTimeout(resolve, 30))
  expect(health.states['database']).toEqual({ state: 'away', since })
  database = () => Promise.resolve()
  await isDatabase('ready')
  expect(changes).toEqual(['database away', 'database ready'])
  token = { state: 'away', since: new Date(2) }
  expect(health.isReady).toBe(false)
  health.stop()
})

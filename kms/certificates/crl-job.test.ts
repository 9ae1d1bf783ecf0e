import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { Problem } from '../../core/problem.ts'
import { CrlJob, type CrlJobSettings } from './crl-job.ts'
import type { AuthorityName } from './profile.ts'

let job: CrlJob | undefined
afterEach(() => job?.stop())

function world(over: Partial<CrlJobSettings> = {}) {
  const due = new Set<AuthorityName>(['root', 'callers', 'cards'])
  const issued: AuthorityName[] = []
  const failures: string[] = []
  job = new CrlJob({
    authorities: ['root', 'callers', 'cards'],
    isDue: (authority) => Promise.resolve(due.has(authority)),
    issue: (authority) => {
      issued.push(authority)
      due.delete(authority)
      return Promise.resolve()
    },
    pollMs: 60_000,
    retryMs: 1,
    maxRetryMs: 5,
    onFailure: ({ code }, authority) => void failures.push(`${authority} ${code}`),
    ...over,
  })
  return { due, issued, failures, job }
}
const until = async (holds: () => boolean): Promise<void> => {
  for (let tries = 0; !holds(); tries += 1) {
    if (tries > 500) throw new Error('it does not come')
    await sleep(2)
  }
}

describe('the CRL job', () => {
  test('issues at start what is due, and after a wake what has become so', async () => {
    const at = world()
    at.job.start()
    await until(() => at.issued.length === 3)
    at.due.add('cards')
    at.job.wake()
    await until(() => at.issued.length === 4)
    expect(at.issued).toEqual(['root', 'callers', 'cards', 'cards'])
  })

  test('finds by itself what another node revoked', async () => {
    const at = world({ pollMs: 5 })
    at.job.start()
    await until(() => at.issued.length === 3)
    at.due.add('callers')
    await until(() => at.issued.length === 4)
    expect(at.issued.at(-1)).toBe('callers')
  })

  test('an authority that fails is tried again and holds up no other', async () => {
    const issued: AuthorityName[] = []
    let down = true
    const at = world({
      issue: (authority) => {
        if (authority === 'root' && down) return Promise.reject(new Problem('integrity-failed', 'edited'))
        issued.push(authority)
        return Promise.resolve()
      },
      isDue: (authority) => Promise.resolve(!issued.includes(authority)),
    })
    at.job.start()
    await until(() => issued.length === 2 && at.failures.length > 2)
    expect(at.failures.every((failure) => failure === 'root integrity-failed')).toBe(true)
    down = false
    await until(() => issued.includes('root'))
  })

  test('stops after the list that it is issuing', async () => {
    let ended = false
    const at = world({
      issue: async () => {
        await sleep(20)
        ended = true
      },
    })
    at.job.start()
    await sleep(5)
    await at.job.stop()
    expect(ended).toBe(true)
  })
})

import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { keyId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import type { GenerationsInUse, RootKeysInUse, TokenIdentity } from '../../pkcs11/index.ts'
import { GenerationFollower } from './generation-follower.ts'
import { InProgress } from './in-progress.ts'

const identity: TokenIdentity = { serial: 'aa', label: 'gridseal', keys: [] }
const inUse = (number: number): GenerationsInUse => ({
  number,
  keys: [{ identity: { keyId: keyId('root:row-mac'), algorithm: 'aes-256', kcv: { method: 'aes-cmac', value: Buffer.from([number]) } }, isCurrent: true }],
})

function followerOf() {
  const state = { recorded: 0, held: undefined as number | undefined, lostMs: undefined as number | undefined, fails: false }
  const said: string[] = []
  const inProgress = new InProgress()
  const follower = new GenerationFollower({
    store: {
      number: () => (state.fails ? Promise.reject(new Problem('database-unavailable', 'away')) : Promise.resolve(state.recorded)),
      load: () => Promise.resolve(inUse(state.recorded)),
    },
    identity,
    rootKeys: { use: ({ number }: GenerationsInUse) => void said.push(`use ${number}`), follow: () => void said.push('follow') } as unknown as RootKeysInUse,
    fence: {
      get held() {
        return state.held
      },
      get lostMs() {
        return state.lostMs
      },
      hold: (number) => {
        said.push(`hold ${number}`)
        state.held = number
        state.lostMs = undefined
        return Promise.resolve()
      },
      close: () => Promise.resolve(),
    },
    drained: () => inProgress.drained(),
    onChange: () => void said.push('forget'),
    onError: (error) => void said.push(String(error)),
    pollMs: 5,
  })
  return { follower, state, said, inProgress }
}

describe('a process follows what is recorded of generations', () => {
  it('uses it before it says that it does', async () => {
    const { follower, said } = followerOf()
    await follower.open()
    expect(said.slice(0, 3)).toEqual(['use 0', 'forget', 'hold 0'])
    expect(said.at(-1)).toBe('follow')
  })

  it('with a change: lanes first, then kept rows, and the fence only when all that had begun has ended', async () => {
    const { follower, state, said, inProgress } = followerOf()
    await follower.open()
    said.length = 0
    const [end, endOther] = [inProgress.begin(), inProgress.begin()]
    state.recorded = 3
    await follower.look()
    await sleep(5)
    expect(said).toEqual(['use 3', 'forget'])
    end()
    await sleep(5)
    expect(said).toEqual(['use 3', 'forget'])
    // What began after the change is not waited for.
    inProgress.begin()
    endOther()
    await sleep(5)
    expect(said).toEqual(['use 3', 'forget', 'hold 3'])
  })

  it('a look that is under way does for nobody who asks later; all of them share the next', async () => {
    const { follower, state, said } = followerOf()
    await follower.open()
    said.length = 0
    state.recorded = 2
    const looks = [follower.look()]
    state.recorded = 3
    looks.push(...Array.from({ length: 50 }, () => follower.look()))
    await Promise.all(looks)
    expect(said.filter((line) => line.startsWith('use'))).toEqual(['use 3'])
  })

  it('never goes back', async () => {
    const { follower, state, said } = followerOf()
    state.recorded = 4
    await follower.open()
    said.length = 0
    state.recorded = 2
    await expect(follower.look()).rejects.toMatchObject({ code: 'integrity-failed' })
    expect(said).toEqual([])
  })

  it('takes a lost lock again, and makes nothing new once it has been without for long', async () => {
    const { follower, state, said } = followerOf()
    await follower.open()
    expect(() => follower.assertFenced()).not.toThrow()
    state.held = undefined
    state.lostMs = 1_000
    expect(() => follower.assertFenced()).not.toThrow()
    state.lostMs = 6_000
    expect(() => follower.assertFenced()).toThrow('The database cannot be reached')
    follower.start()
    await sleep(30)
    await follower.close()
    expect(said.filter((line) => line.startsWith('hold')).length).toBeGreaterThan(1)
    expect(() => follower.assertFenced()).not.toThrow()
  })

  it('looks again after a failure', async () => {
    const { follower, state, said } = followerOf()
    await follower.open()
    state.fails = true
    follower.start()
    await sleep(20)
    state.fails = false
    state.recorded = 1
    await sleep(300)
    await follower.close()
    expect(said).toContain('use 1')
  })
})

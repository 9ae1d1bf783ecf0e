import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { freshRun } from './fresh-run.ts'

/** Work that reads at its beginning, and takes a while to say what. */
function reader() {
  const state = { now: 0, runs: 0, atOnce: 0, most: 0 }
  const read = freshRun(async () => {
    state.runs += 1
    state.atOnce += 1
    state.most = Math.max(state.most, state.atOnce)
    const seen = state.now
    await sleep(5)
    state.atOnce -= 1
    if (seen < 0) throw new Error(`read ${seen}`)
    return seen
  })
  return { state, read }
}

describe('a run that began after the call', () => {
  it('is what each caller gets, though one was under way', async () => {
    const { state, read } = reader()
    const first = read()
    state.now = 1
    const later = [read(), read(), read()]
    expect(await first).toBe(0)
    expect(await Promise.all(later)).toEqual([1, 1, 1])
    expect(state).toMatchObject({ runs: 2, most: 1 })
  })

  it('is another for who calls when the shared one has begun', async () => {
    const { state, read } = reader()
    const answers = [read()]
    for (let at = 1; at <= 20; at += 1) {
      state.now = at
      answers.push(read())
      await sleep(2)
    }
    const seen = await Promise.all(answers)
    seen.forEach((value, at) => expect(value).toBeGreaterThanOrEqual(at))
    expect(state.most).toBe(1)
  })

  it('fails for those who waited for it, and for nobody else', async () => {
    const { state, read } = reader()
    state.now = -1
    const first = read()
    const second = read()
    state.now = 2
    await expect(first).rejects.toThrow('read -1')
    expect(await second).toBe(2)
    expect(await read()).toBe(2)
  })
})

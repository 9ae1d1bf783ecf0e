import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HASH_COST } from './password-hash.ts'
import { type Enrolled, PeopleHouse } from './testing/people-house.ts'

/** Of each kind. Under no difference the figure below has a standard deviation of 0.075 then. */
const SAMPLES = 30

let house: PeopleHouse
let chen: Enrolled
beforeAll(async () => {
  house = await PeopleHouse.open({ hashCost: HASH_COST })
  chen = await house.enrol('chen')
})
afterAll(() => house.close())

/** Times of refused logins, taken by turns, so that whatever else goes on here befalls both. */
async function measure(at: PeopleHouse): Promise<{ readonly known: number[]; readonly unknown: number[] }> {
  const time = async (who: { name: string; password: string }): Promise<number> => {
    const began = performance.now()
    expect((await at.loginRefused(who)).code).toBe('login-failed')
    return performance.now() - began
  }
  const [known, unknown]: [number[], number[]] = [[], []]
  for (const who of [chen, { ...chen, name: 'nobody-there' }]) await time({ ...who, password: 'wrong' })
  for (let sample = 0; sample < SAMPLES; sample++) {
    const first = sample % 2 === 0
    if (first) known.push(await time({ name: 'chen', password: 'wrong' }))
    unknown.push(await time({ name: `nobody-${String(sample)}`, password: 'wrong' }))
    if (!first) known.push(await time({ name: 'chen', password: 'wrong' }))
  }
  return { known, unknown }
}

/** How probable it is that a time of `a` is longer than one of `b` (Mann-Whitney U, scaled): 0.5 where they tell nothing. */
const longer = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, one) => sum + b.reduce((wins, other) => wins + (one > other ? 1 : one === other ? 0.5 : 0), 0), 0) / (a.length * b.length)

describe('the time of a refused login', () => {
  it('does not tell whether there is such a person: distributions, four standard deviations', { timeout: 90_000 }, async () => {
    const { known, unknown } = await measure(house)
    const told = longer(known, unknown)
    expect(told, JSON.stringify({ known, unknown })).toBeGreaterThan(0.2)
    expect(told, JSON.stringify({ known, unknown })).toBeLessThan(0.8)
  })

  it('would tell by this measure where a decoy cost less', { timeout: 90_000 }, async () => {
    const { known, unknown } = await measure(house.restarted({ hashCost: { memoryKib: 1024, passes: 1, lanes: 1 } }))
    expect(longer(known, unknown)).toBeGreaterThan(0.95)
  })
})

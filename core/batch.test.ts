import { expect, test } from 'vitest'
import { batched } from './batch.ts'

function recording(answer: (keys: string[]) => ReadonlyMap<string, number>) {
  const calls: string[][] = []
  const find = batched((keys: string[]) => {
    calls.push(keys)
    return Promise.resolve(answer(keys))
  })
  return { calls, find }
}

test('reads of one turn share one call, each key once', async () => {
  const { calls, find } = recording((keys) => new Map(keys.map((key) => [key, key.length])))
  const found = await Promise.all([find('a'), find('bb'), find('a'), Promise.resolve().then(() => find('ccc'))])
  expect(found).toEqual([1, 2, 1, 3])
  expect(calls).toEqual([['a', 'bb', 'ccc']])
})

test('a later turn is another call, and a missing key is undefined', async () => {
  const { calls, find } = recording((keys) => new Map(keys.filter((key) => key !== 'absent').map((key) => [key, 1])))
  expect(await find('a')).toBe(1)
  expect(await find('absent')).toBeUndefined()
  expect(calls).toEqual([['a'], ['absent']])
})

test('an error reaches everyone who waited, and nobody after', async () => {
  let broken = true
  const find = batched(async (keys: string[]) => {
    if (broken) throw new Error('gone')
    return new Map(keys.map((key) => [key, 1]))
  })
  const results = await Promise.allSettled([find('a'), find('b')])
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  broken = false
  expect(await find('a')).toBe(1)
})

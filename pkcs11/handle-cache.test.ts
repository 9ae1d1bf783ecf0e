import { expect, it } from 'vitest'
import { keyId } from '../core/ids.ts'
import { HandleCache } from './handle-cache.ts'

const [a, b, c] = [keyId('a'), keyId('b'), keyId('c')]

it('keeps the most recently used, and drops each other once', () => {
  const dropped: number[] = []
  const cache = new HandleCache<number>(2, (value) => void dropped.push(value))
  cache.set(a, 1)
  cache.set(b, 2)
  expect(cache.get(a)).toBe(1)
  cache.set(c, 3)
  expect(dropped).toEqual([2])
  expect([cache.get(a), cache.get(b), cache.get(c)]).toEqual([1, undefined, 3])
})

it('drops what is replaced, and nothing that is forgotten', () => {
  const dropped: number[] = []
  const cache = new HandleCache<number>(2, (value) => void dropped.push(value))
  cache.set(a, 1)
  cache.set(a, 2)
  expect([dropped, cache.get(a)]).toEqual([[1], 2])
  cache.forget()
  expect([dropped, cache.get(a)]).toEqual([[1], undefined])
})

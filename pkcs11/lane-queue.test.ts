import { expect, it } from 'vitest'
import { LaneQueue, type Waiting, weightOf } from './lane-queue.ts'

const waiting = (verb: string, weight = 1, { alone = false, since = 0 } = {}): Waiting => ({
  call: { verb, args: undefined },
  ...{ weight, alone, since },
  resolve: () => undefined,
  reject: () => undefined,
})
const verbs = (list: readonly Waiting[]): string => list.map(({ call }) => call.verb).join('')

function queueOf(...list: readonly Waiting[]): LaneQueue {
  const queue = new LaneQueue(1000)
  for (const one of list) queue.add(one)
  return queue
}

it('sends light calls first, heavy ones in their order, and of each kind at least one', () => {
  const queue = queueOf(waiting('A', 200), waiting('a'), waiting('B', 64), waiting('b', 15))
  expect(verbs(queue.takeShared())).toBe('abA')
  expect(verbs(queue.takeShared())).toBe('B')
  expect([queue.hasShared, queue.weight]).toEqual([false, 0])
})

it('fills a message up to its weight', () => {
  const queue = queueOf(...Array.from({ length: 20 }, (_, at) => waiting(String.fromCharCode(97 + at), 10)))
  expect(weightOf(queue.takeShared())).toBe(120)
  expect(queue.sharedWeight).toBe(80)
})

it('keeps long calls apart', () => {
  const queue = queueOf(waiting('L', 500, { alone: true }), waiting('a'))
  expect([queue.sharedWeight, queue.weight]).toEqual([1, 501])
  expect(verbs(queue.takeShared())).toBe('a')
  expect(queue.takeAlone()?.call.verb).toBe('L')
  expect([queue.takeAlone(), queue.weight]).toEqual([undefined, 0])
})

it('is full at its weight, and gives up what has waited too long', () => {
  const queue = queueOf(waiting('a', 999))
  expect(queue.isFull).toBe(false)
  queue.add(waiting('b', 1, { since: 5 }))
  expect(queue.isFull).toBe(true)
  expect(verbs(queue.takeOlder(5))).toBe('a')
  expect([queue.isFull, queue.weight]).toEqual([false, 1])
  queue.add(waiting('L', 3, { alone: true, since: 9 }))
  expect(verbs(queue.takeAll())).toBe('bL')
  expect(queue.weight).toBe(0)
})

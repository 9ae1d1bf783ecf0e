import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { FaultPoint } from '../core/fault-point.ts'
import type { RotatedKey } from '../pkcs11/index.ts'
import {
  alice,
  billing,
  bob,
  generationsOf,
  labelsOf,
  openRotationPlace,
  RotationNode,
  type RotationPlace,
  type RotationView,
  settled,
} from './testing/rotation-site.ts'

let place: RotationPlace
/** Signatures of before: HMAC has always the same. */
const signatures = new Map<string, string>()
const sign = async (node: RotationNode, keyId: string): Promise<string> =>
  (await node.call<{ signatures: { signature: string }[] }>(billing, 'kms.key.sign', { keyId, items: [{ message: 'AAAA' }] })).signatures[0]?.signature ?? ''

const withNode = async <Result>(options: Parameters<typeof RotationNode.open>[1], work: (node: RotationNode) => Promise<Result>): Promise<Result> => {
  const node = await RotationNode.open(place, options)
  try {
    await node.start()
    return await work(node)
  } finally {
    await node.close()
  }
}

const labels = async (key: string): Promise<readonly string[]> => (await labelsOf(place)).filter((label) => label.startsWith(`root:${key}`))

beforeAll(async () => {
  place = await openRotationPlace()
  await withNode({}, async (node) => {
    for (let at = 0; at < 30; at++) {
      const { keyId } = await node.call<{ keyId: string }>(billing, 'kms.key.generate', { label: `key-${at}`, algorithm: 'hmac-sha256' })
      signatures.set(keyId, await sign(node, keyId))
    }
  })
}, 60_000)
afterAll(() => place.close())

/** Asked for if none is open, approved if it is not yet, and then at its end. */
async function finished(node: RotationNode, key: string): Promise<RotationView> {
  const { rotations } = await node.call<{ rotations: RotationView[] }>(alice, 'kms.root-key.list-rotations', { limit: 1 })
  let [rotation] = rotations
  if (rotation === undefined || rotation.state === 'retired')
    rotation = await node.call<RotationView>(alice, 'kms.root-key.request-rotation', { key, reason: 'a test' })
  if (rotation.state === 'requested' || rotation.state === 'making') await node.call(bob, 'kms.root-key.approve-rotation', { rotationId: rotation.rotationId })
  return settled(node, rotation.rotationId)
}

async function assertWhole(node: RotationNode, view: RotationView): Promise<void> {
  expect(view.rows).toMatchObject({ found: 0, refused: 0 })
  for (const [keyId, signature] of signatures) expect(await sign(node, keyId)).toBe(signature)
  expect(await generationsOf(node, place)).toEqual({ current: expect.any(Number) as number })
  expect(await labels(view.key)).toEqual([view.to])
}

/** Begins a rotation in a process that dies on the way, or has come to its end before. */
async function begin(node: RotationNode, key: string): Promise<void> {
  try {
    await finished(node, key)
  } catch (error) {
    if (!node.isDead) throw error
  }
}

const [APPROVE, RENEW, RETIRE] = ['kms.root-key.approve-rotation', 'kms.root-key.renew', 'kms.root-key.retire'] as const
type Case = readonly [point: FaultPoint, operation: string, key: RotatedKey]
const DURABLE = ['intent-committed', 'executed', 'outcome-written', 'outcome-committed'] as const
const gate = (operation: string, points: readonly (typeof DURABLE)[number][], key: RotatedKey = 'storage-kek'): Case[] =>
  points.map((point) => [`gate.${point}`, operation, key])

describe('killed at a named point, it goes on after the restart', () => {
  const cases: readonly Case[] = [
    ...gate(APPROVE, DURABLE),
    ...gate(RENEW, DURABLE),
    ...gate(RETIRE, DURABLE),
    ...gate(RENEW, DURABLE.slice(1), 'row-mac'),
    ...(['rotation.begun', 'rotation.page-renewed', 'rotation.closing', 'rotation.retired'] as const).map((point): Case => [point, '', 'storage-kek']),
    ['rotation.page-renewed', '', 'row-mac'],
    ['rotation.page-renewed', '', 'group-mac'],
  ]
  it.each(cases)('%s %s %s', async (point, operation, key) => {
    const time = operation === RENEW || point === 'rotation.page-renewed' ? 3 : 1
    await withNode({ dieAt: { point, time, ...(operation === '' ? {} : { operation }) } }, async (node) => {
      await begin(node, key)
      expect(node.isDead).toBe(true)
    })
    await withNode({}, async (node) => assertWhole(node, await finished(node, key)))
  })
})

describe('killed ten times at any moment', () => {
  it.each(Array.from({ length: 6 }, (_, at) => [at, (['storage-kek', 'row-mac', 'storage-kek', 'group-mac'] as const)[at % 4] ?? 'row-mac'] as const))(
    '%i: %s',
    async (_at, key) => {
      const afterMs = Math.random() * 900
      await withNode({}, async (node) => {
        const ended = begin(node, key)
        const timer = setTimeout(() => void node.die(), afterMs)
        await ended
        clearTimeout(timer)
      })
      const view = await withNode({}, async (node) => {
        const ended = await finished(node, key)
        await assertWhole(node, ended)
        return ended
      })
      expect(view.state, `killed after ${afterMs} ms`).toBe('retired')
    },
  )
})

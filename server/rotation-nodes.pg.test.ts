import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { verifyExportedLog } from '../clients/audit-verify.ts'
import {
  alice,
  billing,
  bob,
  generationsOf,
  openRotationPlace,
  rotate,
  RotationNode,
  type RotationPlace,
  type RotationView,
  settled,
  uriOf,
} from './testing/rotation-site.ts'

/** Two processes of the service on one token and database. */

/** One that never looks by itself. */
const DEAF = { followMs: 3_600_000, pollMs: 3_600_000, waitMs: 5, graceMs: 0, retryMs: 5 }

let place: RotationPlace
const open: RotationNode[] = []
beforeAll(async () => {
  place = await openRotationPlace()
}, 60_000)
afterEach(async () => {
  for (const node of open.splice(0)) await node.close()
})
afterAll(() => place.close())

const opened = async (options: Parameters<typeof RotationNode.open>[1] = {}): Promise<RotationNode> => {
  const node = await RotationNode.open(place, options)
  open.push(node)
  return node
}
const generate = async (node: RotationNode, label: string): Promise<string> =>
  (await node.call<{ keyId: string }>(billing, 'kms.key.generate', { label, algorithm: 'hmac-sha256' })).keyId
const sign = async (node: RotationNode, keyId: string): Promise<string> =>
  (await node.call<{ signatures: { signature: string }[] }>(billing, 'kms.key.sign', { keyId, items: [{ message: 'AAAA' }] })).signatures[0]?.signature ?? ''
/** The rotation once it waits for a process, and a while later. */
async function waiting(node: RotationNode, rotationId: string): Promise<RotationView> {
  for (const until = Date.now() + 30_000; Date.now() < until && (await view(node, rotationId)).waitsFor !== 1; ) await sleep(20)
  await sleep(200)
  return view(node, rotationId)
}
const view = (node: RotationNode, rotationId: string): Promise<RotationView> => node.call(alice, 'kms.root-key.get-rotation', { rotationId })

describe('a process that has not heard of a rotation', () => {
  it.each(['storage-kek', 'row-mac'])('opens what another made with the new %s, by looking once', async (key) => {
    const [one, other] = [await opened(), await opened({ times: DEAF })]
    await rotate(one, key)
    await one.generations.follower.look()
    const keyId = await generate(one, `made-with-${key}`)
    const number = other.hsm.rootKeys.number
    expect(await sign(other, keyId)).toBe(await sign(one, keyId))
    expect(other.hsm.rootKeys.number).toBeGreaterThan(number)
    one.rotations.rotationJob.start()
    await other.generations.follower.look()
    await settled(one, (await one.call<{ rotations: RotationView[] }>(alice, 'kms.root-key.list-rotations', { limit: 1 })).rotations[0]?.rotationId ?? '', {
      state: 'closing',
    })
    await other.generations.follower.look()
    await settled(one, (await one.call<{ rotations: RotationView[] }>(alice, 'kms.root-key.list-rotations', { limit: 1 })).rotations[0]?.rotationId ?? '')
    expect(await sign(other, keyId)).toBe(await sign(one, keyId))
  })

  it('is waited for before the old key is closed; what it makes meanwhile is found', async () => {
    const [one, other] = [await opened(), await opened({ times: DEAF })]
    one.rotations.rotationJob.start()
    const rotationId = await rotate(one, 'storage-kek')
    const keyId = await generate(other, 'made-with-the-old-key')
    const signature = await sign(other, keyId)
    expect(await waiting(one, rotationId)).toMatchObject({ state: 'working', pass: 2, waitsFor: 1, rows: { seen: 0 } })
    await other.generations.follower.look()
    await settled(one, rotationId, { state: 'closing' })
    // And before it is destroyed.
    expect(await waiting(one, rotationId)).toMatchObject({ state: 'closing', waitsFor: 1 })
    await other.generations.follower.look()
    await settled(one, rotationId)
    expect(await sign(other, keyId)).toBe(signature)
    expect(await generationsOf(one, place)).toEqual({ current: expect.any(Number) as number })
  })

  it('that dies is waited for no more', async () => {
    const [one, other] = [await opened(), await opened({ times: DEAF })]
    one.rotations.rotationJob.start()
    const rotationId = await rotate(one, 'row-mac')
    expect(await waiting(one, rotationId)).toMatchObject({ state: 'working', waitsFor: 1 })
    await other.die()
    await settled(one, rotationId)
  })

  it('is not behind before everything has ended that it had begun', async () => {
    const [one, other] = [await opened(), await opened({ times: DEAF })]
    one.rotations.rotationJob.start()
    const end = other.generations.inProgress.begin()
    const rotationId = await rotate(one, 'storage-kek')
    await other.generations.follower.look()
    expect(await waiting(one, rotationId)).toMatchObject({ state: 'working', waitsFor: 1 })
    end()
    await settled(one, rotationId, { state: 'closing' })
    await other.generations.follower.look()
    await settled(one, rotationId)
  })
})

describe('both at once', () => {
  it('do the work of one rotation, and nobody is refused', async () => {
    const [one, other] = [await opened(), await opened()]
    const keyId = await generate(one, 'used-by-both')
    for (const node of [one, other]) node.rotations.rotationJob.start()
    const stop = new AbortController()
    const failures: unknown[] = []
    const traffic = [one, other].map(async (node, at) => {
      for (let n = 0; !stop.signal.aborted; n++) {
        await sign(node, keyId).catch((error: unknown) => failures.push(error))
        await generate(node, `both-${at}-${n}`).catch((error: unknown) => failures.push(error))
      }
    })
    for (const key of ['storage-kek', 'row-mac', 'group-mac']) await settled(one, await rotate(one, key))
    stop.abort()
    await Promise.all(traffic)
    expect(failures).toEqual([])
    expect(await generationsOf(other, place)).toEqual({ current: expect.any(Number) as number })
  })
})

describe('a restart between the phases', () => {
  it('approved, with nothing renewed; then in the middle; then before the end', async () => {
    const first = await opened()
    const rotationId = await rotate(first, 'storage-kek')
    await first.close()
    const second = await opened({ times: { followMs: 20, pollMs: 20, waitMs: 3_600_000, graceMs: 3_600_000, retryMs: 5 } })
    expect(await view(second, rotationId)).toMatchObject({ state: 'working', pass: 1 })
    second.rotations.rotationJob.start()
    for (const until = Date.now() + 10_000; Date.now() < until && (await view(second, rotationId)).pass < 2; ) await sleep(10)
    await second.close()
    const third = await opened()
    third.rotations.rotationJob.start()
    await settled(third, rotationId)
    await third.close()
    const fourth = await opened()
    expect(await generationsOf(fourth, place)).toEqual({ current: expect.any(Number) as number })
  })

  it('with the security officer’s PIN away a storage KEK is not made, and says why', async () => {
    const node = await opened({ uri: uriOf(place) })
    await expect(node.call(alice, 'kms.root-key.request-rotation', { key: 'storage-kek', reason: 'a test' })).rejects.toMatchObject({
      code: 'conflict',
      detail: expect.stringContaining('GRIDSEAL_OFFICER_PIN_FILE') as string,
    })
    // The MAC keys are the user's.
    node.rotations.rotationJob.start()
    await settled(node, await rotate(node, 'row-mac'))
  })
})

describe('the group-MAC key', () => {
  it('is rotated while nothing of the log is sequenced, and then the whole log verifies', async () => {
    const node = await opened()
    const before = await place.db.ownerSql.query<{ size: string }>('SELECT size FROM audit_head')
    node.rotations.rotationJob.start()
    await generate(node, 'before-the-group-mac')
    await settled(node, await rotate(node, 'group-mac'))
    expect(await place.db.ownerSql.query('SELECT size FROM audit_head')).toEqual(before)
    await node.start()
    await node.audit.flush()
    const folder = mkdtempSync(join(tmpdir(), 'gridseal-export-'))
    try {
      const path = join(folder, 'log.ndjson')
      writeFileSync(path, await node.download(alice, 'policies.audit.export', {}))
      const report = await verifyExportedLog({ path, vkey: node.audit.key.vkey })
      expect(report.findings).toEqual([])
      const { searcher } = node.audit
      const { entries } = await searcher.search(await searcher.prepare({ field: 'operation', is: ['kms.root-key.retire'] }), { order: 'oldest', limit: 1 })
      expect(entries).toHaveLength(1)
    } finally {
      rmSync(folder, { recursive: true })
    }
    expect(node.audit.status().fault).toBeUndefined()
  })

  it('is rotated once more, and a new leader rebuilds the tree from groups with new MACs', async () => {
    const node = await opened()
    await node.start()
    await settled(node, await rotate(node, 'group-mac'))
    await node.audit.flush()
    await node.close()
    const next = await opened()
    await next.start()
    await next.call(bob, 'kms.root-key.list-rotations', {})
    await next.audit.flush()
    expect(next.audit.status()).toMatchObject({ leading: true })
    expect(next.audit.status().fault).toBeUndefined()
  })
})

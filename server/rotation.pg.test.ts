import { createPublicKey, verify } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SimulatedCard } from '../clients/simulated-card.ts'
import { type OpenedCard, openDelivery, type TransportKeyPackage } from '../clients/vendor-open.ts'
import { newOperationId } from '../core/ids.ts'
import {
  acme,
  alice,
  billing,
  bob,
  enrolSiteVendor,
  filled,
  generationsOf,
  labelsOf,
  openRotationPlace,
  orderCards,
  rootOf,
  rotate,
  RotationNode,
  type RotationPlace,
  settled,
  type SiteVendor,
} from './testing/rotation-site.ts'

const MESSAGE = 'bWV0ZXI='

let place: RotationPlace
let node: RotationNode
let vendor: SiteVendor
beforeAll(async () => {
  place = await openRotationPlace()
  node = await RotationNode.open(place, { lanes: 2 })
  await node.start()
  vendor = await enrolSiteVendor(node)
}, 60_000)
afterAll(async () => {
  await node.close()
  await place.close()
})

interface Made {
  readonly keyId: string
  readonly algorithm: 'ec-p256' | 'hmac-sha256' | 'aes-gcm-256'
  readonly publicKey?: string
  readonly kcv?: { readonly value: string }
}
const sign = async (keyId: string): Promise<string> =>
  (await node.call<{ signatures: { signature: string }[] }>(billing, 'kms.key.sign', { keyId, items: [{ message: MESSAGE }] })).signatures[0]?.signature ?? ''
const encrypt = async (keyId: string): Promise<string> =>
  (await node.call<{ ciphertexts: { ciphertext: string }[] }>(billing, 'kms.key.encrypt', { keyId, items: [{ plaintext: MESSAGE }] })).ciphertexts[0]
    ?.ciphertext ?? ''
const decrypt = async (keyId: string, ciphertext: string): Promise<string> =>
  (await node.call<{ plaintexts: { plaintext: string }[] }>(billing, 'kms.key.decrypt', { keyId, items: [{ ciphertext }] })).plaintexts[0]?.plaintext ?? ''

async function openCards(orderId: string): Promise<OpenedCard[]> {
  const cards: OpenedCard[] = []
  const report = await openDelivery({
    file: [await node.download(acme, 'card-personalization.delivery.fetch', { orderId })],
    transportKey: await node.call<TransportKeyPackage & Record<string, unknown>>(acme, 'card-personalization.transport-key.get', {
      transportKeyId: vendor.transportKeyId,
    }),
    privateKey: vendor.privateKey,
    trustedRoot: await rootOf(node),
    order: orderId,
    onCard: (card) => void cards.push(card),
  })
  expect(report.problems).toEqual([])
  return cards
}

/** By Milenage: with the card's Ki, and the operator's key. */
async function authenticates(card: OpenedCard): Promise<string> {
  const bytes = (text: string): Buffer => Buffer.from(text, 'base64url')
  const { challengeId, rand, autn } = await node.call<Record<'challengeId' | 'rand' | 'autn', string>>(billing, 'attestation.card.challenge', {
    iccid: card.iccid,
    method: 'milenage',
  })
  const answer = new SimulatedCard(card).authenticate(bytes(rand), bytes(autn))
  if (answer.kind !== 'res') return answer.kind
  const res = Buffer.from(answer.res).toString('base64url')
  return (await node.call<{ verdict: string }>(billing, 'attestation.card.answer', { iccid: card.iccid, challengeId, res })).verdict
}

describe('the storage KEK is rotated under traffic', () => {
  const made: Made[] = []
  const signatures = new Map<string, string>()
  const ciphertexts = new Map<string, string>()
  let before: string
  let cards: OpenedCard[]

  it('nobody is refused, and an order is filled meanwhile', async () => {
    for (let at = 0; at < 32; at++) {
      const algorithm = (['ec-p256', 'hmac-sha256', 'aes-gcm-256'] as const)[at % 3] ?? 'ec-p256'
      const { keyId, publicKey, kcv } = await node.call<Made>(billing, 'kms.key.generate', { label: `key-${at}`, algorithm })
      made.push({ keyId, algorithm, ...(publicKey === undefined ? {} : { publicKey }), ...(kcv === undefined ? {} : { kcv }) })
      if (algorithm === 'aes-gcm-256') ciphertexts.set(keyId, await encrypt(keyId))
      else signatures.set(keyId, await sign(keyId))
    }
    before = await orderCards(node, vendor, 520)
    await filled(node, before)
    cards = await openCards(before)
    expect(await authenticates(cards[0] as OpenedCard)).toBe('authenticated')

    const stop = new AbortController()
    let answered = 0
    const failures: unknown[] = []
    const traffic = made.map(async ({ keyId, algorithm }) => {
      while (!stop.signal.aborted) {
        await (algorithm === 'aes-gcm-256' ? encrypt(keyId) : sign(keyId)).then(
          () => (answered += 1),
          (error: unknown) => failures.push(error),
        )
      }
    })
    const meanwhile = await orderCards(node, vendor, 520)
    const rotationId = await rotate(node, 'storage-kek')
    let labelled = 0
    const making = (async () => {
      while (!stop.signal.aborted) {
        await node
          .call(billing, 'kms.key.generate', { label: `meanwhile-${labelled++}`, algorithm: 'hmac-sha256' })
          .catch((error: unknown) => failures.push(error))
        await sleep(5)
      }
    })()
    const view = await settled(node, rotationId, { timeoutMs: 60_000 })
    await filled(node, meanwhile)
    stop.abort()
    await Promise.all([...traffic, making])
    expect(failures).toEqual([])
    expect(node.failures).toEqual([])
    expect(answered).toBeGreaterThan(200)
    expect(labelled).toBeGreaterThan(5)
    expect(view.rows).toMatchObject({ found: 0, refused: 0 })
    expect(view.rows.renewed).toBeGreaterThan(520 + 32)
    expect(await openCards(meanwhile)).toHaveLength(520)
  }, 120_000)

  it('the old key is not in the token any more, and nothing is under it', async () => {
    expect((await labelsOf(place)).filter((label) => label.startsWith('root:storage-kek'))).toEqual(['root:storage-kek-2'])
    expect(await generationsOf(node, place)).toEqual({ current: expect.any(Number) as number })
  })

  it('every key is the key that it was', async () => {
    for (const { keyId, algorithm, publicKey, kcv } of made) {
      const now = await node.call<Made>(billing, 'kms.key.get', { keyId })
      expect([now.publicKey, now.kcv]).toEqual([publicKey, kcv])
      if (algorithm === 'aes-gcm-256') expect(await decrypt(keyId, ciphertexts.get(keyId) ?? '')).toBe(MESSAGE)
      if (algorithm === 'hmac-sha256') expect(await sign(keyId)).toBe(signatures.get(keyId))
      if (algorithm !== 'ec-p256') continue
      const key = createPublicKey(now.publicKey ?? '')
      const signature = Buffer.from(await sign(keyId), 'base64')
      expect(verify('sha256', Buffer.from(MESSAGE, 'base64'), { key, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true)
    }
    expect(await authenticates(cards[1] as OpenedCard)).toBe('authenticated')
    expect(await openCards(before)).toHaveLength(520)
  })

  it('the log has every row after it, and the rotation in full', async () => {
    await node.audit.flush()
    const { entries } = await node.call<{
      entries: { entry: { kind: string; facts?: Record<string, unknown>; rows?: { table: string; id: string; version: number; digest: string }[] } }[]
    }>(alice, 'policies.audit.search', { operation: 'kms.root-key.renew', limit: 1000 })
    const rows = entries.flatMap(({ entry }) => entry.rows ?? []).filter(({ table }) => table === 'kms_keys')
    const standing = await place.db.ownerSql.query<{ id: string; version: number }>('SELECT id, version FROM kms_keys WHERE id = ANY($1)', [
      made.map(({ keyId }) => keyId),
    ])
    for (const { id, version } of standing) expect(rows.find((row) => row.id === id && row.version === version)).toBeDefined()
    const { searcher } = node.audit
    const { groups } = await searcher.count(await searcher.prepare({ field: 'operation', like: ['kms.root-key.*'] }), 'operation', 100)
    expect(groups.map(({ value }) => value)).toEqual(
      expect.arrayContaining(['request-rotation', 'approve-rotation', 'renew', 'retire'].map((name) => `kms.root-key.${name}`)),
    )
  })
})

describe('a rotation', () => {
  it('is refused to who asked, to others than officers, and while another goes on', async () => {
    const request = { key: 'row-mac', reason: 'a test' }
    await expect(node.call(billing, 'kms.root-key.request-rotation', request)).rejects.toMatchObject({ code: 'forbidden' })
    const { rotationId } = await node.call<{ rotationId: string }>(alice, 'kms.root-key.request-rotation', request)
    await expect(node.call(alice, 'kms.root-key.approve-rotation', { rotationId })).rejects.toMatchObject({ code: 'forbidden' })
    await expect(node.call({ ...billing, name: 'alice' }, 'kms.root-key.approve-rotation', { rotationId })).rejects.toMatchObject({ code: 'forbidden' })
    await expect(node.call(bob, 'kms.root-key.request-rotation', { key: 'group-mac', reason: 'a test' })).rejects.toMatchObject({
      code: 'conflict',
      detail: expect.stringContaining(rotationId) as string,
    })
    await expect(node.call(bob, 'kms.root-key.retire', { rotationId })).rejects.toMatchObject({ code: 'conflict' })
    await expect(node.call(bob, 'kms.root-key.renew', { rotationId })).rejects.toMatchObject({ code: 'conflict' })
    await node.call(alice, 'kms.root-key.cancel-rotation', { rotationId })
    await expect(node.call(bob, 'kms.root-key.approve-rotation', { rotationId })).rejects.toMatchObject({ code: 'conflict' })
    await expect(node.call(bob, 'kms.root-key.approve-rotation', { rotationId: newOperationId() })).rejects.toMatchObject({ code: 'not-found' })
  })

  it('is approved by one of two who approve at once', async () => {
    const { rotationId } = await node.call<{ rotationId: string }>(alice, 'kms.root-key.request-rotation', { key: 'group-mac', reason: 'a test' })
    const carol = { ...bob, name: 'carol', id: 'id-of-carol' }
    const approved = await Promise.allSettled([bob, carol].map((officer) => node.call(officer, 'kms.root-key.approve-rotation', { rotationId })))
    expect(approved.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    await settled(node, rotationId)
  })

  it.each(['row-mac', 'group-mac', 'storage-kek', 'row-mac'])('of %s comes to its end, again and again', async (key) => {
    const view = await settled(node, await rotate(node, key))
    expect(view.rows).toMatchObject({ found: 0, refused: 0 })
    expect(await generationsOf(node, place)).toEqual({ current: expect.any(Number) as number })
    expect((await labelsOf(place)).filter((label) => label.startsWith(`root:${key}`))).toEqual([view.to])
    expect(node.failures).toEqual([])
    await authenticates((await openCards(await lastOrder()))[0] as OpenedCard)
  })

  it('is listed, the newest first, page by page', async () => {
    const page = await node.call<{ rotations: { rotationId: string }[]; next?: string }>(alice, 'kms.root-key.list-rotations', { limit: 2 })
    expect(page.rotations).toHaveLength(2)
    const rest = await node.call<{ rotations: { rotationId: string }[]; next?: string }>(alice, 'kms.root-key.list-rotations', {
      limit: 100,
      before: page.next,
    })
    expect(rest.next).toBeUndefined()
    expect(new Set([...page.rotations, ...rest.rotations].map(({ rotationId }) => rotationId)).size).toBe(7)
  })
})

const lastOrder = async (): Promise<string> => (await place.db.ownerSql.query<{ id: string }>('SELECT id FROM orders ORDER BY id DESC LIMIT 1'))[0]?.id ?? ''

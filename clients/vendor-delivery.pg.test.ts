import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { enrolVendor, officers, openPlace, type Place, Shop, type TestVendor } from '../card-personalization/testing/shop.ts'
import { luhnDigit } from '../core/iccid.ts'
import type { FaultPoint } from '../core/fault-point.ts'
import { hex } from '../core/bytes.ts'
import { type DeliveryReport, type OpenedCard, openDelivery, type TransportKeyPackage } from './vendor-open.ts'

let place: Place
let shop: Shop
let vendor: TestVendor
let transportKey: TransportKeyPackage
let series = 0
const [alice] = officers

/** A new order of that many cards, approved. */
async function approvedOrder(through: Shop, quantity: number): Promise<string> {
  const body = `898600330${String(series).padStart(4, '0')}00000`
  const start = { iccid: body + luhnDigit(body), imsi: String(460_003_300_000_000 + 100_000 * series++) }
  const { orderId } = await through.call<{ orderId: string }>(vendor.caller, 'order.submit', {
    profile: 'grid-usim-1',
    transportKeyId: vendor.transportKeyId,
    start,
    quantity,
  })
  await through.call(alice, 'order.approve', { orderId })
  return orderId
}

const open = (file: Uint8Array, order: string, onCard?: (card: OpenedCard) => void): Promise<DeliveryReport> =>
  openDelivery({ file: [file], transportKey, privateKey: vendor.privateKey, trustedRoot: place.root, order, ...(onCard ? { onCard } : {}) })

beforeAll(async () => {
  place = await openPlace()
  shop = new Shop(place)
  await shop.feature.establishProfiles()
  vendor = await enrolVendor(shop, 'acme-cards')
  transportKey = await shop.call<TransportKeyPackage & Record<string, unknown>>(vendor.caller, 'transport-key.get', { transportKeyId: vendor.transportKeyId })
}, 60_000)
afterAll(() => place.close())

describe('the order of examples/grid-usim-1000.inp', () => {
  let orderId: string
  let file: Buffer

  it('is filled and sealed: one intent a chunk, one entry a card', async () => {
    const inp = readFileSync(new URL('../examples/grid-usim-1000.inp', import.meta.url), 'utf8')
    ;({ orderId } = await shop.call<{ orderId: string }>(vendor.caller, 'order.submit', { inp }))
    expect((await shop.refused(vendor.caller, 'delivery.fetch', { orderId })).code).toBe('conflict')
    await shop.call(alice, 'order.approve', { orderId })
    shop.feature.fillJob.start()
    expect(await shop.settled(orderId)).toMatchObject({ state: 'ready', filled: 1000, delivery: { fetches: 0 } })
    const fills = shop.entries.filter(({ operation }) => operation === 'card-personalization.cards.fill')
    expect([fills.filter(({ kind }) => kind === 'intent').length, fills.filter(({ kind }) => kind === 'item').length]).toEqual([2, 1000])
    expect(fills.every(({ caller }) => caller.id === 'urn:gridseal:system:fill')).toBe(true)
    const item = fills.find(({ kind }) => kind === 'item')
    expect(item?.facts?.personal).toMatchObject({ iccid: expect.stringMatching(/^8986/) as string, imsi: expect.stringMatching(/^460/) as string })
    expect(item?.facts?.rows).toMatchObject([{ table: 'cards', version: 1 }])
  })

  it('is fetched, counted, the same bytes each time, also two at once', async () => {
    file = await shop.fetch(vendor.caller, orderId)
    expect(await shop.call(vendor.caller, 'order.get', { orderId })).toMatchObject({ state: 'delivered', delivery: { fetches: 1 } })
    const [again, oneMore] = await Promise.all([shop.fetch(vendor.caller, orderId), shop.fetch(vendor.caller, orderId)])
    expect(again.equals(file) && oneMore.equals(file)).toBe(true)
    expect(await shop.call(vendor.caller, 'order.get', { orderId })).toMatchObject({ state: 'delivered', delivery: { fetches: 3 } })
    expect((await shop.refused(alice, 'delivery.fetch', { orderId })).code).toBe('not-found')
  })

  it('opens at the vendor: every key, every KCV; no key twice', async () => {
    const keys: string[] = []
    const report = await open(file, orderId, (card) => keys.push(...card.keys.map(({ value }) => hex(value))))
    expect(report.problems).toEqual([])
    expect(report).toMatchObject({ ok: true, cards: 1000, keys: 7000, manifest: { vendor: 'acme-cards', purchaseOrder: 'PO-2026-1000', cards: 1000 } })
    expect(new Set(keys).size).toBe(7000)
    // Six AES-128 keys, and the PKCS#8 of the signing key.
    expect(keys.map((key) => key.length === 32)).toEqual(Array.from({ length: 7000 }, (_, at) => at % 7 !== 6))
  })

  it('is refused with a certificate that is missing, of another card, or of another CA', async () => {
    const small = await approvedOrder(shop, 2)
    await shop.settled(small)
    const [head = '', ...lines] = (await shop.fetch(vendor.caller, small)).toString('utf8').split('\n')
    const line = (at: number): { certificate?: string } => JSON.parse(lines[at] ?? '') as { certificate?: string }
    const told = async (certificate: string | undefined): Promise<string | undefined> => {
      const changed = JSON.stringify({ ...line(0), certificate })
      return (await open(Buffer.from([head, changed, ...lines.slice(1)].join('\n')), small)).problems[0]?.message
    }
    expect(await told(undefined)).toBe('the key sign has no certificate')
    expect(await told(line(1).certificate)).toBe('its certificate is of another key')
    expect(await told(Buffer.from(place.root).toString('base64'))).toBe('its certificate was not issued by the cards’ CA')
    expect(await told('AAAA')).toBe('its certificate cannot be checked')
  })

  it('with an edited card it is refused whole: nothing is sent', async () => {
    const [card] = await place.db.ownerSql.query<{ id: string; keys: Buffer }>('SELECT id, keys FROM cards WHERE order_id = $1 AND position = 700', [orderId])
    const keys = Buffer.from(card?.keys ?? '')
    keys[keys.length - 1] = (keys[keys.length - 1] ?? 0) ^ 1
    await place.db.ownerSql.query('UPDATE cards SET keys = $2 WHERE id = $1', [card?.id, keys])
    const problem = await shop.refused(vendor.caller, 'delivery.fetch', { orderId })
    expect(problem.code).toBe('integrity-failed')
    expect(shop.entries.at(-1)).toMatchObject({ kind: 'refusal', operation: 'card-personalization.delivery.fetch', code: 'integrity-failed' })
    await place.db.ownerSql.query('UPDATE cards SET keys = $2 WHERE id = $1', [card?.id, card?.keys])
    expect((await shop.fetch(vendor.caller, orderId)).equals(file)).toBe(true)
    await place.db.ownerSql.query('DELETE FROM cards WHERE id = $1', [card?.id])
    expect((await shop.refused(vendor.caller, 'delivery.fetch', { orderId })).code).toBe('integrity-failed')
  })
})

/** The smallest order that is filled in two steps. */
const TWO_CHUNKS = 501

describe('killed at', () => {
  /** Point and how often it is passed before: chunks are filled two at a time. */
  const points: readonly (readonly [FaultPoint, number])[] = [
    ['order.approved', 1],
    ['gate.intent-committed', 2],
    ['gate.executed', 3],
    ['gate.outcome-written', 3],
    ['gate.outcome-committed', 3],
    // Two chunks: begin, fill, fill, certify, certify, seal. The fourth and fifth are the certificates'; the beginning uses no key, so it has no intent of its own.
    ['gate.intent-committed', 3],
    ['gate.executed', 4],
    ['gate.outcome-written', 4],
    ['gate.outcome-committed', 4],
    ['order.chunk-filled', 1],
    ['order.chunk-filled', 2],
    ['order.all-filled', 1],
    ['order.sealed', 1],
  ]
  it.each(points)('%s (%i), the order goes on in the next process and every key opens', async (point, hit) => {
    await shop.feature.fillJob.stop()
    const orderId = await approvedOrder(shop, TWO_CHUNKS)
    const first = new Shop(place, { dieAt: { point, hit } })
    first.feature.fillJob.start()
    await first.died()
    await first.feature.fillJob.stop()

    const second = new Shop(place)
    second.feature.fillJob.start()
    expect(await second.settled(orderId)).toMatchObject({ state: 'ready', filled: TWO_CHUNKS })
    await second.feature.fillJob.stop()
    const iccids = new Set<string>()
    const report = await open(await second.fetch(vendor.caller, orderId), orderId, ({ iccid }) => void iccids.add(iccid))
    expect(report).toMatchObject({ ok: true, cards: TWO_CHUNKS, keys: 7 * TWO_CHUNKS })
    expect(iccids.size).toBe(TWO_CHUNKS)
    const [{ count } = { count: '' }] = await place.db.ownerSql.query<{ count: string }>('SELECT count(*) FROM cards WHERE order_id = $1', [orderId])
    expect(Number(count)).toBe(TWO_CHUNKS)
  })
})

describe('filling', () => {
  it('by two processes at once fills each card once', async () => {
    const orderId = await approvedOrder(shop, 1_500)
    const others = [new Shop(place), new Shop(place)]
    for (const other of others) other.feature.fillJob.start()
    expect(await shop.settled(orderId)).toMatchObject({ state: 'ready', filled: 1_500 })
    for (const other of others) await other.feature.fillJob.stop()
    expect(await open(await shop.fetch(vendor.caller, orderId), orderId)).toMatchObject({ ok: true, cards: 1_500 })
  })

  it.each([
    ['an ICCID that was not ordered', `UPDATE iccids SET iccid = '89860099999999999990' WHERE order_id = $1 AND position = 3`],
    ['two ICCIDs exchanged', `UPDATE iccids SET position = CASE position WHEN 3 THEN 900000 ELSE position END WHERE order_id = $1`],
    ['an edited chunk', 'UPDATE order_chunks SET quantity = 7 WHERE order_id = $1'],
    ['an edited order', `UPDATE orders SET transport_key_id = transport_key_id, quantity = 7 WHERE id = $1`],
  ])('%s halts the order visibly, and others go on', async (_name, edit) => {
    const orderId = await approvedOrder(shop, 20)
    await place.db.ownerSql.query(edit, [orderId])
    shop.feature.fillJob.start()
    const good = await approvedOrder(shop, 10)
    expect(await shop.settled(good)).toMatchObject({ state: 'ready' })
    await shop.feature.fillJob.stop()
    expect(await place.db.ownerSql.query('SELECT code FROM order_halts WHERE order_id = $1', [orderId])).toEqual([{ code: 'integrity-failed' }])
    expect(await place.db.ownerSql.query('SELECT FROM cards WHERE order_id = $1', [orderId])).toEqual([])
    expect(shop.entries.some(({ operation, facts }) => operation === 'card-personalization.order.halt' && facts?.public?.['order'] === orderId)).toBe(true)
  })

  it('goes on after the cause is gone and an officer resumes it', async () => {
    const orderId = await approvedOrder(shop, 5)
    const [row] = await place.db.ownerSql.query<{ imsi: string }>('SELECT imsi FROM iccids WHERE order_id = $1 AND position = 0', [orderId])
    await place.db.ownerSql.query(`UPDATE iccids SET imsi = 'x' WHERE order_id = $1 AND position = 0`, [orderId])
    shop.feature.fillJob.start()
    expect((await shop.settled(orderId)).halted).toMatchObject({ code: 'integrity-failed' })
    await place.db.ownerSql.query('UPDATE iccids SET imsi = $2 WHERE order_id = $1 AND position = 0', [orderId, row?.imsi])
    await shop.call(alice, 'order.resume', { orderId })
    expect(await shop.settled(orderId)).toMatchObject({ state: 'ready', filled: 5 })
    expect((await shop.refused(alice, 'order.resume', { orderId })).code).toBe('conflict')
    await shop.feature.fillJob.stop()
  })
})

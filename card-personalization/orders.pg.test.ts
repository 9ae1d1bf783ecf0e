import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Problem } from '../core/problem.ts'
import { luhnDigit } from '../core/iccid.ts'
import { composeInp } from './inp-compose.ts'
import { countTables, enrolVendor, officers, openPlace, person, type Place, Shop, type TestVendor } from './testing/shop.ts'

let place: Place
let shop: Shop
let acme: TestVendor
let rival: TestVendor
const [alice, bob] = officers
let next = 1

/** Cards that no test has had. */
const cards = (count: number): { iccid: string; imsi: string }[] =>
  Array.from({ length: count }, () => {
    const body = `8986001100000${String(next).padStart(6, '0')}`
    return { iccid: body + luhnDigit(body), imsi: String(460_001_100_000_000 + next++) }
  })
const order = (vendor: TestVendor, more: object): object => ({ profile: 'grid-usim-1', transportKeyId: vendor.transportKeyId, ...more })

beforeAll(async () => {
  place = await openPlace()
  shop = new Shop(place)
  await shop.feature.establishProfiles()
  acme = await enrolVendor(shop, 'acme-cards')
  rival = await enrolVendor(shop, 'rival-cards')
}, 60_000)
afterAll(() => place.close())

describe('an order is taken whole or not at all', () => {
  it('with cards, as a series, or as INP text; all of them validated', async () => {
    const [start] = cards(1)
    next += 99
    const inp = readFileSync(new URL('../examples/grid-usim-10-rows.inp', import.meta.url), 'utf8')
    expect(await shop.call(acme.caller, 'order.submit', order(acme, { cards: cards(3) }))).toMatchObject({ state: 'validated', quantity: 3, filled: 0 })
    expect(await shop.call(acme.caller, 'order.submit', order(acme, { start, quantity: 100 }))).toMatchObject({ state: 'validated', quantity: 100 })
    expect(await shop.call(acme.caller, 'order.submit', { inp })).toMatchObject({
      quantity: 10,
      purchaseOrder: 'PO-2026-0010',
      transportKeyId: acme.transportKeyId,
    })
  })

  it('what is faulty leaves nothing, and is told where', async () => {
    const [good, other, third] = cards(3)
    const stranger = 'transport:00000000-0000-7000-8000-000000000000'
    const taken = cards(2)
    await shop.call(acme.caller, 'order.submit', order(acme, { cards: taken }))
    const before = await countTables(place.db)
    const cases: readonly (readonly [object, string, readonly string[]])[] = [
      [
        order(acme, { cards: [good, { ...other, iccid: '89860011000000009990' }, { ...third, imsi: '46000' }] }),
        'order-invalid',
        ['/cards/1/iccid', '/cards/2/imsi'],
      ],
      [order(acme, { cards: [good, good] }), 'order-invalid', ['/cards/1/iccid', '/cards/1/imsi']],
      [order(acme, { cards: [good, taken[0], taken[1]] }), 'order-invalid', ['/cards/1/iccid', '/cards/1/imsi', '/cards/2/iccid', '/cards/2/imsi']],
      [order(rival, { cards: [{ iccid: good?.iccid, imsi: taken[1]?.imsi }] }), 'order-invalid', ['/transportKeyId']],
      [{ ...order(acme, { cards: [good] }), transportKeyId: stranger }, 'order-invalid', ['/transportKeyId']],
      [{ ...order(acme, { cards: [good] }), profile: 'no-such-profile' }, 'order-invalid', ['/profile']],
      [order(acme, { cards: [good], quantity: 2 }), 'order-invalid', ['/quantity']],
      [order(acme, { start: good }), 'order-invalid', ['/quantity']],
      [order(acme, {}), 'order-invalid', ['/cards']],
      [order(acme, { cards: [good], start: good }), 'order-invalid', ['/start']],
      [order(acme, { cards: [good], colour: 'blue' }), 'request-invalid', ['']],
      [{ cards: [good] }, 'request-invalid', ['/profile', '/transportKeyId']],
      [{ inp: 'x', profile: 'grid-usim-1' }, 'request-invalid', ['/profile']],
      [order(acme, { cards: [{ ...good, ki: '00' }] }), 'request-invalid', ['/cards/0']],
      [order(acme, { start: good, quantity: 100_001 }), 'request-invalid', ['/quantity']],
    ]
    for (const [body, code, pointers] of cases) {
      const problem = await shop.refused(acme.caller, 'order.submit', body)
      expect({ code: problem.code, pointers: problem.faults.map(({ pointer }) => pointer) }, JSON.stringify(body)).toEqual({ code, pointers })
    }
    const inp = readFileSync(new URL('../examples/grid-usim-10-rows.inp', import.meta.url), 'utf8').replace('PO-2026-0010', 'PO-2')
    const lineOf = (part: string): number => inp.slice(0, inp.indexOf(part)).split('\n').length
    const duplicates = await shop.refused(acme.caller, 'order.submit', { inp })
    expect(duplicates.faults.map(({ line, column }) => `${line}:${column}`).slice(0, 2)).toEqual([1, 22].map((column) => `${lineOf('\n8986') + 1}:${column}`))
    expect(duplicates.faults).toHaveLength(20)
    expect((await shop.refused(acme.caller, 'order.submit', { inp: inp.replace('KEY:   001', 'KEY:   007') })).faults).toMatchObject([
      { message: 'you have no such transport key', line: lineOf('TRANSPORT_KEY'), column: 18 },
    ])
    expect(await countTables(place.db)).toEqual(before)
    expect(shop.entries.filter(({ kind, code }) => kind === 'refusal' && code === 'order-invalid').length).toBeGreaterThanOrEqual(12)
  })

  it('two at once of the same cards: one is taken, the other names them', async () => {
    const [one] = cards(1)
    const answers = await Promise.allSettled([1, 2, 3].map(() => shop.call(acme.caller, 'order.submit', order(acme, { cards: [one] }))))
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const answer of answers) if (answer.status === 'rejected') expect(answer.reason).toMatchObject({ code: 'order-invalid' })
    // One that looked while the other committed may have seen its IMSI and not yet its ICCID.
    const pointers = answers.flatMap((answer) => (answer.status === 'rejected' ? (answer.reason as Problem).faults.map(({ pointer }) => pointer) : []))
    expect(pointers.length).toBeGreaterThanOrEqual(2)
    expect(pointers.filter((pointer) => pointer !== '/cards/0/iccid' && pointer !== '/cards/0/imsi')).toEqual([])
  })

  it('a purchase order sent again is the same order; with other content it is a conflict', async () => {
    const first = cards(2)
    const { orderId } = await shop.call(acme.caller, 'order.submit', order(acme, { purchaseOrder: 'PO-7', cards: first }))
    const before = await countTables(place.db)
    expect(await shop.call(acme.caller, 'order.submit', order(acme, { purchaseOrder: 'PO-7', cards: first }))).toMatchObject({ orderId })
    expect(await shop.call(acme.caller, 'order.submit', order(acme, { purchaseOrder: 'PO-7', start: first[0], quantity: 2 }))).toMatchObject({ orderId })
    const other = await shop.refused(acme.caller, 'order.submit', order(acme, { purchaseOrder: 'PO-7', cards: cards(2) }))
    expect(other.code).toBe('conflict')
    expect(other.detail).toContain(String(orderId))
    expect(await countTables(place.db)).toEqual(before)
    expect(await shop.call(rival.caller, 'order.submit', order(rival, { purchaseOrder: 'PO-7', cards: cards(1) }))).not.toMatchObject({ orderId })
  })

  it('from nobody but a confirmed vendor', async () => {
    const body = order(acme, { cards: cards(1) })
    for (const caller of [alice, person('vendor', 'unheard-of'), person('module', 'acme-cards')])
      expect((await shop.refused(caller, 'order.submit', body)).code).toBe('forbidden')
  })

  it('and is not even read from anybody else', async () => {
    expect((await shop.refused(person('module', 'curious'), 'order.submit', { inp: 'no order' })).code).toBe('forbidden')
    expect(shop.entries.at(-1)).toMatchObject({ kind: 'refusal', facts: { public: { vendor: 'curious' } } })
    expect(Object.keys(shop.entries.at(-1)?.facts?.public ?? {})).toEqual(['vendor'])
  })

  it('100,000 cards at most, in a time and a number of statements that fit', async () => {
    const start = { iccid: `898600220000000000${luhnDigit('898600220000000000')}`, imsi: '460002200000000' }
    const began = performance.now()
    expect(await shop.call(acme.caller, 'order.submit', order(acme, { start, quantity: 100_000 }))).toMatchObject({ quantity: 100_000 })
    expect(performance.now() - began).toBeLessThan(25_000)
    const [{ count } = { count: '' }] = await place.db.ownerSql.query<{ count: string }>(`SELECT count(*) FROM order_chunks WHERE quantity = 500`)
    expect(Number(count)).toBe(200)
  })
})

describe('an order belongs to its vendor', () => {
  it('another vendor sees nothing of it, as if it were not there', async () => {
    const { orderId } = await shop.call<{ orderId: string }>(acme.caller, 'order.submit', order(acme, { cards: cards(1) }))
    const absent = '01936a5e-3c00-7000-8000-000000000001'
    for (const name of ['order.get', 'order.cancel', 'delivery.fetch']) {
      const [theirs, none] = [await shop.refused(rival.caller, name, { orderId }), await shop.refused(rival.caller, name, { orderId: absent })]
      expect([theirs.code, theirs.detail]).toEqual(['not-found', none.detail])
      expect(none.code).toBe('not-found')
    }
    const { orders } = await shop.call<{ orders: { vendorId: string }[] }>(rival.caller, 'order.list', { limit: 1000 })
    expect(orders.length).toBeGreaterThan(0)
    expect(orders.every(({ vendorId }) => vendorId === rival.vendorId)).toBe(true)
    expect((await shop.refused(rival.caller, 'transport-key.get', { transportKeyId: acme.transportKeyId })).code).toBe('not-found')
    expect((await shop.refused(rival.caller, 'vendor.get', { vendorId: acme.vendorId })).code).toBe('not-found')
    expect(await shop.call(rival.caller, 'vendor.list', {})).toMatchObject({ vendors: [{ vendorId: rival.vendorId }] })
    expect((await shop.call<{ vendors: object[] }>(alice, 'vendor.list', {})).vendors.length).toBeGreaterThanOrEqual(2)
  })

  it('is approved by an officer, cancelled before that only, and its ICCIDs stay taken', async () => {
    const [one] = cards(1)
    const { orderId } = await shop.call<{ orderId: string }>(acme.caller, 'order.submit', order(acme, { cards: [one] }))
    expect((await shop.refused(acme.caller, 'order.approve', { orderId })).code).toBe('forbidden')
    expect(await shop.call(acme.caller, 'order.cancel', { orderId })).toMatchObject({ state: 'cancelled' })
    expect((await shop.refused(alice, 'order.approve', { orderId })).code).toBe('conflict')
    expect((await shop.refused(acme.caller, 'order.submit', order(acme, { cards: [one] }))).code).toBe('order-invalid')

    const approved = await shop.call<{ orderId: string }>(acme.caller, 'order.submit', order(acme, { cards: cards(1) }))
    expect(await shop.call(bob, 'order.approve', { orderId: approved.orderId })).toMatchObject({ state: 'approved', decidedBy: 'urn:gridseal:officer:bob' })
    expect((await shop.refused(acme.caller, 'order.cancel', { orderId: approved.orderId })).code).toBe('conflict')
    expect((await shop.refused(bob, 'order.approve', { orderId: approved.orderId })).code).toBe('conflict')
  })

  it('the log holds each card and row: facts in public, ICCIDs never', async () => {
    const outcome = shop.entries.find(({ operation, kind }) => operation === 'card-personalization.order.submit' && kind === 'outcome')
    expect(outcome?.facts?.rows?.map(({ table }) => table)).toEqual(['orders'])
    expect(JSON.stringify(shop.entries.map(({ facts }) => facts?.public))).not.toMatch(/8986|46000110/)
  })
})

describe('an order says where its cards belong', () => {
  type Told = { orderId: string; region?: string }
  const toldOf = (orderId: string, operation: string): unknown[] =>
    shop.entries
      .filter((entry) => entry.operation === `card-personalization.${operation}` && entry.facts?.public?.['order'] === orderId && entry.kind !== 'item')
      .map(({ facts }) => [facts?.public?.['region'], facts?.public?.['cardState']])
  const submit = (more: object): Promise<Told> => shop.call<Told>(acme.caller, 'order.submit', order(acme, { cards: cards(1), ...more }))

  it('every operation on it puts region and state of its cards to the policy; of one that is not there, neither', async () => {
    const { orderId, region } = await submit({ region: '330106' })
    expect(region).toBe('330106')
    await shop.call(bob, 'order.get', { orderId })
    await shop.call(bob, 'order.cancel', { orderId })
    expect((await shop.refused(bob, 'order.approve', { orderId })).code).toBe('conflict')
    expect(toldOf(orderId, 'order.submit')).toEqual([
      ['330106', undefined],
      ['330106', undefined],
    ])
    expect(toldOf(orderId, 'order.get')).toEqual([['330106', 'reserved']])
    expect(toldOf(orderId, 'order.cancel')).toEqual([
      ['330106', 'reserved'],
      ['330106', 'reserved'],
    ])
    expect(toldOf(orderId, 'order.approve')).toEqual([['330106', 'cancelled']])
    expect((await shop.refused(rival.caller, 'order.get', { orderId })).code).toBe('not-found')
    expect(toldOf(orderId, 'order.get').at(-1)).toEqual([undefined, undefined])
  })

  it('orders of a region are those of all in it; the policy is told the region that was asked for', async () => {
    const [hangzhou, ningbo, guangdong, nowhere] = [
      (await submit({ region: '330106' })).orderId,
      (await submit({ region: '330200' })).orderId,
      (await submit({ region: '440305' })).orderId,
      (await submit({})).orderId,
    ]
    const of = async (region: string): Promise<string[]> => {
      const { orders } = await shop.call<{ orders: Told[] }>(bob, 'order.list', { region, after: hangzhou < ningbo ? undefined : ningbo, limit: '1000' })
      expect(shop.entries.at(-1)?.facts?.public).toEqual({ region })
      return orders.map(({ orderId }) => orderId).filter((id) => [hangzhou, ningbo, guangdong, nowhere].includes(id))
    }
    expect(await of('330000')).toEqual([hangzhou, ningbo])
    expect(await of('330100')).toEqual([hangzhou])
    expect(await of('330200')).toEqual([ningbo])
    expect(await of('330106')).toEqual([hangzhou])
    expect(await of('440000')).toEqual([guangdong])
    expect(await of('110000')).toEqual([])
  })

  it('INP text says it by REGION; another region is another order; what is no region is told where', async () => {
    const [start] = cards(1)
    const inpOf = (region: string): string =>
      composeInp({ ...{ customer: 'GRID', quantity: 1, profile: 'grid-usim-1', region, transportKeyNumber: 1 }, start: start ?? expect.unreachable() })
    const one = order(acme, { cards: cards(1), purchaseOrder: 'PO-WHERE' })
    expect(await shop.call(acme.caller, 'order.submit', { ...one, region: '330106' })).toMatchObject({ region: '330106' })
    expect(await shop.call(acme.caller, 'order.submit', { ...one, region: '330106' })).toMatchObject({ region: '330106' })
    expect((await shop.refused(acme.caller, 'order.submit', { ...one, region: '330105' })).code).toBe('conflict')
    expect((await shop.refused(acme.caller, 'order.submit', one)).code).toBe('conflict')
    for (const region of ['33', '000000', '33010６', 330106])
      expect((await shop.refused(acme.caller, 'order.submit', { ...one, region })).faults).toMatchObject([{ pointer: '/region' }])
    const line =
      inpOf('33')
        .split('\n')
        .findIndex((text) => text.startsWith('REGION')) + 1
    expect((await shop.refused(acme.caller, 'order.submit', { inp: inpOf('33') })).faults).toMatchObject([
      { line, column: 18, message: expect.stringMatching(/six digits/) as string },
    ])
    expect(await shop.call(acme.caller, 'order.submit', { inp: inpOf('440305') })).toMatchObject({ region: '440305', quantity: 1 })
  })

  it.each(["region = '440305'", 'region = NULL'])('with an edited region it is refused: %s', async (edit) => {
    const { orderId } = await submit({ region: '330106' })
    await place.db.ownerSql.query(`UPDATE orders SET ${edit} WHERE id = $1`, [orderId])
    expect((await shop.refused(alice, 'order.get', { orderId })).code).toBe('integrity-failed')
    await place.db.ownerSql.query('DELETE FROM order_chunks WHERE order_id = $1', [orderId])
    await place.db.ownerSql.query('DELETE FROM orders WHERE id = $1', [orderId])
  })
})

describe('who can write the database can make the service refuse, not lie', () => {
  it.each([
    ['orders', 'vendor_id', (id: string) => `UPDATE orders SET vendor_id = '${rival.vendorId}' WHERE id = '${id}'`],
    ['orders', 'state', (id: string) => `UPDATE orders SET state = 'approved' WHERE id = '${id}'`],
    ['orders', 'version', (id: string) => `UPDATE orders SET version = 7 WHERE id = '${id}'`],
  ])('an edited %s.%s is refused', async (_table, _column, edit) => {
    const { orderId } = await shop.call<{ orderId: string }>(acme.caller, 'order.submit', order(acme, { cards: cards(1) }))
    await place.db.ownerSql.query(edit(orderId))
    expect((await shop.refused(alice, 'order.get', { orderId })).code).toBe('integrity-failed')
    expect((await shop.refused(alice, 'order.approve', { orderId })).code).toBe('integrity-failed')
    await place.db.ownerSql.query('DELETE FROM order_chunks WHERE order_id = $1', [orderId])
    await place.db.ownerSql.query('DELETE FROM orders WHERE id = $1', [orderId])
  })

  it('the service’s own role cannot take an ICCID back, nor change what was ordered', async () => {
    for (const text of [
      'DELETE FROM iccids',
      `UPDATE iccids SET order_id = ''`,
      'DELETE FROM cards',
      `UPDATE cards SET keys = ''`,
      `UPDATE cards SET iccid = ''`,
      'DELETE FROM orders',
      `UPDATE orders SET profile = ''`,
      'TRUNCATE vendors',
    ]) {
      await expect(place.db.sql.query(text)).rejects.toThrow(/permission denied/)
    }
  })
})

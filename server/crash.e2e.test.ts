import { X509Certificate } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ApiProblem } from '../clients/api.ts'
import { describeReport } from '../clients/audit-verify.ts'
import { SimulatedCard } from '../clients/simulated-card.ts'
import { waitForOrder } from '../clients/vendor.ts'
import { CrashSite, NO_ANSWER, type SeriesOrder } from './testing/crash-site.ts'
import { eventually } from './testing/processes.ts'

/** The most that a restart on the data folder of a killed service may take on a busy machine. */
const RESTART_MS = 10_000
/** The smallest order that is filled in two steps. */
const TWO_CHUNKS = 501
const FILL = 'card-personalization.cards.fill'
const CERTIFY = 'card-personalization.cards.certify'

let site: CrashSite
/** Quantities of all orders, by id. */
const orders = new Map<string, number>()
const iccids = new Set<string>()
/** DER of every certificate that a vendor got, by serial number. */
const certificates = new Map<string, Uint8Array>()
/** A card that authenticates by Milenage while the service is killed. It answers AUTS to a SQN that it has seen. */
let usim: SimulatedCard | undefined

beforeAll(async () => {
  site = await CrashSite.open()
})
afterAll(() => site.close())

const restart = async (env: Readonly<Record<string, string>> = {}): Promise<void> => expect(await site.start(env)).toBeLessThan(RESTART_MS)

/** Kills the service as it is, and starts it so that it will end at the point. */
async function arm(point: string): Promise<void> {
  await site.kill()
  await restart({ GRIDSEAL_INSECURE_CRASH_AT: point })
}

/** What a caller meets while the service goes down, whichever part of it is first. */
const isAway = (error: unknown): boolean => NO_ANSWER.test(String(error)) || (error instanceof ApiProblem && error.status === 503)

/** The verdict over the card, or `auts` where it has seen the SQN before. */
async function authenticated(): Promise<string> {
  if (usim === undefined) throw new Error('no order was finished yet')
  const bytes = (text: string): Buffer => Buffer.from(text, 'base64url')
  const path = `/v1/attestation/cards/${usim.iccid}`
  const { challengeId, rand, autn } = await site.module.client.post<Record<'challengeId' | 'rand' | 'autn', string>>(`${path}/challenge`, {
    method: 'milenage',
  })
  const found = usim.authenticate(bytes(rand), bytes(autn))
  if (found.kind !== 'res') return found.kind
  return (await site.module.client.post<{ verdict: string }>(`${path}/answer`, { challengeId, res: Buffer.from(found.res).toString('base64url') })).verdict
}

/** Waits for the delivery, opens it, and looks at every card. */
async function finished(orderId: string, { quantity }: SeriesOrder): Promise<object> {
  orders.set(orderId, quantity)
  await waitForOrder(site.vendor, orderId, { timeoutMs: 30_000 })
  const { report, cards } = await site.open(orderId)
  const issuedTwice = cards.map(({ iccid }) => iccid).filter((iccid) => iccids.has(iccid))
  for (const card of cards) {
    const der = card.certificate ?? new Uint8Array()
    const serial = new X509Certificate(der).serialNumber.toLowerCase()
    expect(certificates.has(serial), 'a serial number twice').toBe(false)
    certificates.set(serial, der)
    iccids.add(card.iccid)
    usim ??= new SimulatedCard(card)
  }
  return { ok: report.ok, cards: report.cards, keys: report.keys, problems: report.problems, issuedTwice }
}
const whole = ({ quantity }: SeriesOrder): object => ({ ok: true, cards: quantity, keys: 7 * quantity, problems: [], issuedTwice: [] })

describe('kill -9 at a named point: the order finishes by itself after the restart', () => {
  it.each([
    'order.approved',
    'order.chunk-filled',
    'order.all-filled',
    'order.sealed',
    `gate.intent-committed@${FILL}#2`,
    `gate.executed@${FILL}#2`,
    `gate.outcome-written@${FILL}#2`,
    `gate.outcome-committed@${FILL}#1`,
    `gate.intent-committed@${CERTIFY}#1`,
    `gate.executed@${CERTIFY}#2`,
    `gate.outcome-written@${CERTIFY}#1`,
    `gate.outcome-committed@${CERTIFY}#1`,
    'gate.outcome-written@card-personalization.delivery.seal',
  ])('%s', async (point) => {
    await arm(point)
    const order = site.newOrder(TWO_CHUNKS)
    const orderId = await site.submit(order)
    await site.approve(orderId).catch(() => undefined)
    await site.ended()
    await restart()
    expect(await finished(orderId, order)).toEqual(whole(order))
  })

  it('gate.outcome-committed of the approval: it stands, whatever the officer was told', async () => {
    await arm('gate.outcome-committed@card-personalization.order.approve')
    const order = site.newOrder(20)
    const orderId = await site.submit(order)
    await expect(site.approve(orderId)).rejects.toThrow(NO_ANSWER)
    await site.ended()
    await restart()
    expect(await finished(orderId, order)).toEqual(whole(order))
  })

  it('gate.outcome-written of the fetch: the same delivery is fetched again', async () => {
    await arm('gate.outcome-written@card-personalization.delivery.fetch')
    const order = site.newOrder(20)
    const orderId = await site.submit(order)
    await site.approve(orderId)
    await waitForOrder(site.vendor, orderId)
    await expect(site.open(orderId)).rejects.toThrow(NO_ANSWER)
    await site.ended()
    await restart()
    expect(await finished(orderId, order)).toEqual(whole(order))
  })
})

describe('kill -9 while an order is submitted', () => {
  const listed = async (purchaseOrder: string): Promise<string[]> => {
    const owner = await site.owner()
    const { rows } = await owner.query<{ id: string }>('SELECT id FROM orders WHERE purchase_order = $1', [purchaseOrder])
    await owner.end()
    return rows.map(({ id }) => id)
  }

  it('after its commit: the vendor got no answer, and asking again gives the same order', async () => {
    await arm('gate.outcome-committed@card-personalization.order.submit')
    const order = site.newOrder(20)
    await expect(site.submit(order)).rejects.toThrow(NO_ANSWER)
    await site.ended()
    await restart()
    const standing = await listed(order.purchaseOrder)
    expect(standing).toHaveLength(1)
    const orderId = await site.submit(order)
    expect([orderId]).toEqual(standing)
    expect(await listed(order.purchaseOrder)).toEqual(standing)
    await site.approve(orderId)
    expect(await finished(orderId, order)).toEqual(whole(order))
  })

  it.each(['gate.executed', 'gate.outcome-written'])('at %s: nothing of it stands, and the ICCIDs are free', async (point) => {
    await arm(`${point}@card-personalization.order.submit`)
    const order = site.newOrder(20)
    await expect(site.submit(order)).rejects.toThrow(NO_ANSWER)
    await site.ended()
    await restart()
    expect(await listed(order.purchaseOrder)).toEqual([])
    const orderId = await site.submit(order)
    await site.approve(orderId)
    expect(await finished(orderId, order)).toEqual(whole(order))
  })
})

describe('kill -9 while a card is challenged by Milenage: its SQN never goes back', () => {
  it.each(['gate.intent-committed', 'gate.executed', 'gate.outcome-written', 'gate.outcome-committed'])('%s', async (point) => {
    expect(await authenticated()).toBe('authenticated')
    await arm(`${point}@attestation.card.challenge`)
    await expect(authenticated()).rejects.toThrow(NO_ANSWER)
    await site.ended()
    await restart()
    expect(await authenticated()).toBe('authenticated')
  })

  it('at the answer: it counts once, or not at all', async () => {
    await arm('gate.outcome-written@attestation.card.answer')
    await expect(authenticated()).rejects.toThrow(NO_ANSWER)
    await site.ended()
    await restart()
    expect(await authenticated()).toBe('authenticated')
  })
})

describe('kill -9 at random while an order of two chunks goes through', () => {
  /** What goes down, in turn. */
  const victims = ['the service', 'the service, its lanes and the database', 'the service and its lanes'] as const

  it.each(Array.from({ length: 10 }, (_, round) => ({ round, victim: victims[round % 3] ?? 'the service' })))(
    'round $round: $victim',
    async ({ round, victim }) => {
      const order = site.newOrder(TWO_CHUNKS)
      // One tenth of the way each, so that every part of it is hit.
      const afterMs = Math.round(100 * (round + Math.random()))
      const through = (async () => {
        const orderId = await site.submit(order)
        await site.approve(orderId)
        await waitForOrder(site.vendor, orderId)
      })().catch(() => undefined)
      const challenged = (async () => {
        for (;;) if ((await authenticated()) !== 'authenticated') return 'SQN went back'
      })().catch((error: unknown) => (isAway(error) ? 'killed' : String(error)))
      await sleep(afterMs)
      await (victim === 'the service' ? site.kill() : site.killAll({ database: victim.includes('database') }))
      await through
      expect(await challenged).toBe('killed')

      await restart()
      const orderId = await site.submit(order)
      const { state } = await site.vendor.client.get(`/v1/card-personalization/orders/${orderId}`)
      if (state === 'validated') await site.approve(orderId)
      expect(await finished(orderId, order), `killed after ${String(afterMs)} ms, the order was ${String(state)}`).toEqual(whole(order))
    },
  )
})

describe('the log of all that', () => {
  it('verifies offline, every operation that was cut off is closed, and each card was made once', async () => {
    const { report, entries } = await eventually('every open operation to be closed', async () => {
      const log = await site.log()
      return log.report.openIntents.length === 0 ? log : undefined
    })
    expect(describeReport(report)).toMatch(/^VERIFIED/)
    expect(report).toMatchObject({ ok: true, findings: [] })

    const abandoned = entries.filter(({ kind, code }) => kind === 'outcome' && code === 'abandoned')
    expect(abandoned.every(({ caller }) => caller.kind === 'system' && caller.name === 'reconcile')).toBe(true)
    const names = abandoned.map(({ operation }) => operation)
    for (const [operation, times] of [
      [FILL, 3],
      [CERTIFY, 3],
      ['attestation.card.challenge', 3],
      ['attestation.card.answer', 1],
      ['card-personalization.delivery.seal', 1],
    ] as const) {
      expect(names.filter((name) => name === operation).length, operation).toBeGreaterThanOrEqual(times)
    }
    // These use no key: they are one transaction, so nothing of them was open.
    for (const operation of ['card-personalization.order.submit', 'card-personalization.order.approve', 'card-personalization.delivery.fetch']) {
      expect(names).not.toContain(operation)
    }

    // No serial twice, and no certificate that no row names: what vendors hold is what stands issued, and the log has each once.
    const owner = await site.owner()
    const { rows } = await owner.query<{ serial: string; der: Buffer | null; state: string }>(
      `SELECT serial, der, state FROM certificates WHERE subject_kind = 'card'`,
    )
    await owner.end()
    const issued = rows.filter(({ state }) => state === 'issued')
    expect(issued).toHaveLength(certificates.size)
    expect(issued.every(({ serial, der }) => der?.equals(certificates.get(serial) ?? new Uint8Array()))).toBe(true)
    expect(
      rows.some(({ state, der }) => state === 'reserved' && der === null),
      'serials that a crash has burnt',
    ).toBe(true)
    // Items of an intent name the rows that it reserved, and nothing that was done.
    const done = entries.filter(({ kind, facts }) => kind === 'item' && facts !== undefined)
    const certified = done.filter(({ operation }) => operation === CERTIFY).map(({ facts }) => String(facts?.['serial']))
    expect(new Set(certified)).toEqual(new Set(certificates.keys()))
    expect(certified).toHaveLength(certificates.size)

    const made = done.filter(({ operation }) => operation === FILL)
    for (const [orderId, quantity] of orders) expect(made.filter(({ facts }) => facts?.['order'] === orderId)).toHaveLength(quantity)
    expect(made).toHaveLength(iccids.size)
    expect(iccids.size).toBe([...orders.values()].reduce((sum, quantity) => sum + quantity, 0))
  })
})

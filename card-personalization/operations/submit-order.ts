import { z } from 'zod'
import { equalBytes } from '../../core/bytes.ts'
import { type KeyId, newUuid } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { digestRow } from '../../core/row.ts'
import { type Caller, callerUrn } from '../../policies/caller.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { FaultList } from '../fault-list.ts'
import { MAX_INP_CHARACTERS } from '../inp.ts'
import type { IssuedIccids } from '../issued-iccids.ts'
import { PURCHASE_ORDER, readInpOrder } from '../inp-order.ts'
import { chunkRow, type Order, type OrderChunk, orderRow } from '../order.ts'
import { CHUNK_CARDS, digestCards, digestOrder, MAX_CARDS, type OrderContent, readJsonOrder } from '../order-content.ts'
import type { Taken } from '../order-store.ts'
import { findProfile } from '../profile.ts'
import { isConfirmed, type Vendor } from '../vendor.ts'
import type { Deps } from './deps.ts'
import { found } from '../../core/found.ts'
import { ORDER, type OrderView, REGION_CODE, TRANSPORT_KEY_ID, viewOrder } from './views.ts'

const CARD = z.strictObject({
  iccid: z.string().max(32).meta({ description: '19 or 20 digits, the last by Luhn.', example: '89860012345678901238' }),
  imsi: z.string().max(32).meta({ description: '15 digits.', example: '460001234567890' }),
})

const INPUT = z
  .strictObject({
    profile: z.string().max(64).optional().meta({ example: 'grid-usim-1' }),
    transportKeyId: TRANSPORT_KEY_ID.optional(),
    purchaseOrder: z
      .string()
      .regex(PURCHASE_ORDER, 'a purchase order is up to 64 letters, digits and . _ / -')
      .optional()
      .meta({ description: 'The vendor’s own number of the order. Sent again with the same content it answers the same order.' }),
    region: REGION_CODE.optional(),
    cards: z.array(CARD).min(1).max(MAX_CARDS).optional().meta({ description: 'Every card; or `start` and `quantity`.' }),
    start: CARD.optional().meta({ description: 'The first card: the others count up, each with its own check digit.' }),
    quantity: z.int().min(1).max(MAX_CARDS).optional(),
    inp: z
      .string()
      .max(MAX_INP_CHARACTERS)
      .optional()
      .meta({ description: 'The whole order as INP text, instead of all other fields. It can be sent as a text/plain body.' }),
  })
  .superRefine((input, context) => {
    if (input.inp === undefined) {
      for (const field of ['profile', 'transportKeyId'] as const) {
        if (input[field] === undefined) context.addIssue({ code: 'custom', path: [field], message: 'this is needed where the order is not INP text' })
      }
      return
    }
    for (const field of ['profile', 'transportKeyId', 'purchaseOrder', 'region', 'cards', 'start', 'quantity'] as const) {
      if (input[field] !== undefined) context.addIssue({ code: 'custom', path: [field], message: 'an order in INP text says this in its header' })
    }
  })
type Input = z.infer<typeof INPUT>

interface Target {
  readonly caller: Caller
  readonly vendor: Vendor | undefined
  /** Of who may order: to read an order takes a second, and nobody else has that. */
  readonly content: OrderContent | undefined
  /** Why it cannot be taken. */
  readonly problem: Problem | undefined
  /** Absent where it has faults. */
  readonly order: Order | undefined
  readonly chunks: readonly OrderChunk[]
  /** The same order, taken before. */
  readonly standing: Order | undefined
}

export const submitOrder = (deps: Pick<Deps, 'vendors' | 'transportKeys' | 'orders' | 'issuedIccids' | 'now'>): Operation<Input, Target, Order, OrderView> =>
  operation({
    name: 'card-personalization.order.submit',
    summary: 'Takes an order of cards, as JSON or as INP text, or tells every fault of it. Its ICCIDs and IMSIs are taken for ever.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/card-personalization/orders', status: 201, textBody: 'inp', maxBodyBytes: MAX_INP_CHARACTERS },
    input: INPUT,
    output: ORDER,
    locate: (input, caller) => locate(deps, input, caller),
    uses: () => [],
    facts: ({ caller, content, order, standing }) => ({
      public: {
        vendor: caller.name,
        ...(content === undefined ? {} : { profile: findProfile(content.profile)?.id ?? 'unknown', cards: content.cards.length }),
        ...(order === undefined ? {} : { order: (standing ?? order).id }),
        ...(order?.purchaseOrder === undefined ? {} : { purchaseOrder: order.purchaseOrder }),
      },
    }),
    cards: ({ content }) => (content?.region === undefined ? [] : [{ region: content.region }]),
    admit: ({ problem }) => problem,
    execute: (_permit, { order, standing }) => Promise.resolve(standing ?? found(order)),
    record: async (tx, target, order) => {
      if (target.standing !== undefined) return { facts: { public: { repeated: true } } }
      const { chunks } = target
      const content = found(target.content)
      const taken = await deps.orders.insert(tx, order, chunks, content.cards)
      const faults = new FaultList()
      addTaken(content, taken, faults)
      const problem = faults.problem()
      if (problem !== undefined) throw problem
      return {
        facts: { rows: [digestRow(orderRow(order))] },
        items: chunks.map((chunk) => ({ public: { order: order.id, chunk: chunk.number }, rows: [digestRow(chunkRow(chunk))] })),
      }
    },
    respond: (_target, order) => viewOrder(order),
  })

async function locate(deps: Pick<Deps, 'vendors' | 'transportKeys' | 'orders' | 'issuedIccids' | 'now'>, input: Input, caller: Caller): Promise<Target> {
  const vendor = caller.kind === 'vendor' ? await deps.vendors.findByCaller(caller.name) : undefined
  const nothing = { caller, vendor, order: undefined, chunks: [], standing: undefined }
  if (vendor === undefined || !isConfirmed(vendor)) {
    const problem = new Problem('forbidden', 'Orders are taken from vendors whose encryption certificate two officers have confirmed.')
    return { ...nothing, content: undefined, problem }
  }
  const { content, faults } =
    input.inp === undefined ? readJsonOrder({ ...input, profile: input.profile ?? '', transportKeyId: input.transportKeyId ?? '' }) : readInpOrder(input.inp)
  const target = { ...nothing, content }

  if (content.profile !== '' && findProfile(content.profile) === undefined)
    faults.add({ message: 'there is no profile of that name', ...content.places.profile })
  const transportKeyId = await findTransportKey(deps, vendor, content.transportKey)
  if (transportKeyId === undefined) {
    if (!('number' in content.transportKey) || content.transportKey.number > 0)
      faults.add({ message: 'you have no such transport key', ...content.places.transportKey })
  }
  if (faults.total > 0 || transportKeyId === undefined) return { ...target, problem: faults.problem() }

  const { order, chunks } = draw({ content, vendor, transportKeyId, caller, now: deps.now() })
  const standing = order.purchaseOrder === undefined ? undefined : await deps.orders.findByPurchaseOrder(vendor.id, order.purchaseOrder)
  if (standing !== undefined) {
    const problem = equalBytes(standing.contentDigest, order.contentDigest)
      ? undefined
      : new Problem('conflict', `The purchase order ${order.purchaseOrder} was sent before with other content, as the order ${standing.id}.`)
    return { ...target, problem, order, chunks, standing }
  }
  addTaken(content, await deps.orders.findTaken(content.cards), faults)
  addLost(content, deps.issuedIccids, faults)
  return { ...target, problem: faults.problem(), order, chunks }
}

async function findTransportKey(deps: Pick<Deps, 'transportKeys'>, vendor: Vendor, asked: OrderContent['transportKey']): Promise<KeyId | undefined> {
  const key = 'id' in asked ? await deps.transportKeys.find(asked.id) : await deps.transportKeys.findByNumber(vendor.id, asked.number)
  return key?.vendorId === vendor.id ? key.id : undefined
}

/** The rows that the order will be. */
function draw(from: { readonly content: OrderContent; readonly vendor: Vendor; readonly transportKeyId: KeyId; readonly caller: Caller; readonly now: Date }): {
  readonly order: Order
  readonly chunks: readonly OrderChunk[]
} {
  const { cards, profile, purchaseOrder, region } = from.content
  const orderId = newUuid()
  const chunks = Array.from({ length: Math.ceil(cards.length / CHUNK_CARDS) }, (_, number): OrderChunk => {
    const first = number * CHUNK_CARDS
    const part = cards.slice(first, first + CHUNK_CARDS)
    return { orderId, number, firstPosition: first, quantity: part.length, digest: digestCards(part), state: 'open', version: 1 }
  })
  const contentDigest = digestOrder({ profile, transportKeyId: from.transportKeyId, region, chunks: chunks.map(({ digest }) => digest) })
  const order: Order = {
    ...{ id: orderId, vendorId: from.vendor.id, profile, transportKeyId: from.transportKeyId, purchaseOrder, contentDigest, quantity: cards.length },
    ...{
      region,
      state: 'validated',
      submittedBy: callerUrn(from.caller),
      submittedAt: from.now.toISOString(),
      decidedBy: undefined,
      decidedAt: undefined,
      version: 1,
    },
  }
  return { order, chunks }
}

/** A fault for each card that was ordered before, here or in another order of anyone. */
function addTaken(content: OrderContent, taken: Taken, faults: FaultList): void {
  if (taken.iccids.size + taken.imsis.size === 0) return
  content.cards.forEach(({ iccid, imsi }, position) => {
    if (taken.iccids.has(iccid))
      faults.add({ message: `the ICCID ${iccid} was ordered before: an ICCID is issued once, ever`, ...content.places.card(position, 'iccid') })
    if (taken.imsis.has(imsi)) faults.add({ message: `the IMSI ${imsi} was ordered before`, ...content.places.card(position, 'imsi') })
  })
}

/** A fault for each card whose order may be among what the database has lost. */
function addLost(content: OrderContent, issued: IssuedIccids, faults: FaultList): void {
  content.cards.forEach(({ iccid }, position) => {
    if (issued.has(iccid))
      faults.add({
        message: `the ICCID ${iccid} may have been issued before the log was recovered: an ICCID is issued once, ever. Order others`,
        ...content.places.card(position, 'iccid'),
      })
  })
}

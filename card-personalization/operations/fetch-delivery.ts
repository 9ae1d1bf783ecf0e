import { createHash } from 'node:crypto'
import { z } from 'zod'
import { equalBytes, utf8 } from '../../core/bytes.ts'
import { Problem } from '../../core/problem.ts'
import type { RowDigest } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { DELIVERY_CONTENT_TYPE } from '../delivery.ts'
import { readDeliveryBody } from '../delivery-body.ts'
import type { Delivery } from '../delivery-store.ts'
import { moveOrder, NO_ORDER, type Order, orderedCards } from '../order.ts'
import { type Deps, findVisibleOrder } from './deps.ts'
import { found } from '../../core/found.ts'
import { ORDER_ID } from './views.ts'

interface Input {
  readonly orderId: string
}
interface Target extends Input {
  readonly order: Order | undefined
  readonly delivery: Delivery | undefined
}
interface Result {
  readonly order: Order
  readonly delivery: Delivery
}

/** The bytes are compared with the sealed SHA-256 before anything is sent, and again as they go. */
export const fetchDelivery = (deps: Pick<Deps, 'orders' | 'vendors' | 'deliveries' | 'cards' | 'certifier'>): Operation<Input, Target, Result, never> =>
  operation<Input, Target, Result, never>({
    name: 'card-personalization.delivery.fetch',
    summary: 'Hands the vendor the sealed delivery of its order: the same bytes each time, counted.',
    effect: 'durable',
    route: { method: 'GET', path: '/v1/card-personalization/orders/{orderId}/delivery', produces: [DELIVERY_CONTENT_TYPE] },
    input: z.strictObject({ orderId: ORDER_ID }),
    output: z.never(),
    locate: async ({ orderId }, caller) => {
      const own = caller.kind === 'vendor' ? await findVisibleOrder(deps, orderId, caller) : undefined
      return { orderId, order: own?.order, delivery: own && (await deps.deliveries.find(orderId)) }
    },
    uses: () => [],
    facts: ({ orderId, order }) => ({ public: { order: orderId, ...(order === undefined ? {} : { cards: order.quantity }) } }),
    cards: ({ order }) => (order === undefined ? [] : [orderedCards(order)]),
    admit: ({ order, delivery }) => {
      if (order === undefined) return new Problem('not-found', NO_ORDER)
      return delivery === undefined ? new Problem('conflict', `The order is ${order.state}: its delivery is not sealed yet.`) : undefined
    },
    execute: async (_permit, target) => {
      const [order, delivery] = [found(target.order), found(target.delivery)]
      for await (const _part of deliveryBytes(deps, order, delivery));
      return { order, delivery }
    },
    record: async (tx, _target, { order }) => {
      const counted = await deps.deliveries.countFetch(tx, order.id)
      const moved = order.state === 'ready' ? await markDelivered(deps, tx, order) : undefined
      return { facts: { rows: moved === undefined ? [counted] : [moved, counted] } }
    },
    respond: (_target, { order, delivery }) => ({
      contentType: DELIVERY_CONTENT_TYPE,
      fileName: `${order.id}.gridseal-delivery`,
      chunks: deliveryBytes(deps, order, delivery),
    }),
  })

/** Nothing where another first fetch was quicker: both are counted. */
async function markDelivered(deps: Pick<Deps, 'orders'>, tx: Tx, order: Order): Promise<RowDigest | undefined> {
  try {
    return await deps.orders.update(tx, moveOrder(order, 'delivered'))
  } catch (error) {
    if (error instanceof Problem && error.code === 'conflict') return undefined
    throw error
  }
}

/** The whole file. Throws `integrity-failed` before its end when the lines are not those that were sealed: the receiver never has a whole file then. */
async function* deliveryBytes({ cards, certifier }: Pick<Deps, 'cards' | 'certifier'>, order: Order, delivery: Delivery): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  let held = utf8(`${delivery.header}\n`)
  for await (const { bytes } of readDeliveryBody((orderId, page) => cards.listUnchecked(orderId, page), order, certifier.ders)) {
    yield held
    hash.update(bytes)
    held = bytes
  }
  if (!equalBytes(hash.digest(), delivery.bodySha256)) throw new Problem('integrity-failed', `The delivery of order ${order.id} is not what was sealed.`)
  yield held
}

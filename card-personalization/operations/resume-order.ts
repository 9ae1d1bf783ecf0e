import { z } from 'zod'
import { Problem } from '../../core/problem.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { NO_ORDER, type Order, orderedCards } from '../order.ts'
import type { OrderHalt } from '../order-store.ts'
import { type Deps, findVisibleOrder } from './deps.ts'
import { found } from '../../core/found.ts'
import { ORDER, ORDER_ID, type OrderView, viewOrder } from './views.ts'

interface Input {
  readonly orderId: string
}
interface Target extends Input {
  readonly order: Order | undefined
  readonly halt: OrderHalt | undefined
}

export const resumeOrder = (deps: Pick<Deps, 'orders' | 'vendors' | 'wake'>): Operation<Input, Target, Order, OrderView> =>
  operation({
    name: 'card-personalization.order.resume',
    summary: 'Lets the fill job go on with an order that it had to leave.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/card-personalization/orders/{orderId}/resume' },
    input: z.strictObject({ orderId: ORDER_ID }),
    output: ORDER,
    locate: async ({ orderId }, caller) => ({
      orderId,
      order: (await findVisibleOrder(deps, orderId, caller))?.order,
      halt: await deps.orders.findHalt(orderId),
    }),
    uses: () => [],
    facts: ({ orderId, halt }) => ({ public: { order: orderId, ...(halt === undefined ? {} : { reason: halt.code }) } }),
    cards: ({ order }) => (order === undefined ? [] : [orderedCards(order)]),
    admit: ({ order, halt }) => {
      if (order === undefined) return new Problem('not-found', NO_ORDER)
      return halt === undefined ? new Problem('conflict', 'The order is not halted.') : undefined
    },
    execute: (_permit, { order }) => Promise.resolve(found(order)),
    record: async (tx, { orderId }) => {
      await deps.orders.resume(tx, orderId)
      return {}
    },
    respond: (_target, order) => {
      deps.wake()
      return viewOrder(order)
    },
  })

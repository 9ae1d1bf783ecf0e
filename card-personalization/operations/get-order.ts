import { z } from 'zod'
import { Problem } from '../../core/problem.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { NO_ORDER, type Order, orderedCards } from '../order.ts'
import { type Deps, findVisibleOrder } from './deps.ts'
import { found } from '../../core/found.ts'
import { ORDER, ORDER_ID, type OrderView, viewOrder } from './views.ts'

interface Input {
  readonly orderId: string
}
interface Target extends Input {
  readonly order: Order | undefined
}

export const getOrder = (deps: Pick<Deps, 'orders' | 'vendors' | 'deliveries'>): Operation<Input, Target, OrderView, OrderView> =>
  operation({
    name: 'card-personalization.order.get',
    summary: 'Reads an order and how far it is filled. A vendor reads its own only.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/card-personalization/orders/{orderId}' },
    input: z.strictObject({ orderId: ORDER_ID }),
    output: ORDER,
    locate: async ({ orderId }, caller) => ({ orderId, order: (await findVisibleOrder(deps, orderId, caller))?.order }),
    uses: () => [],
    facts: ({ orderId }) => ({ public: { order: orderId } }),
    cards: ({ order }) => (order === undefined ? [] : [orderedCards(order)]),
    admit: ({ order }) => (order === undefined ? new Problem('not-found', NO_ORDER) : undefined),
    execute: async (_permit, target) => {
      const order = found(target.order)
      const [filled, halt, delivery] = await Promise.all([deps.orders.countFilled([order.id]), deps.orders.findHalt(order.id), deps.deliveries.find(order.id)])
      return viewOrder(order, { filled: filled.get(order.id) ?? 0, halt, delivery })
    },
    respond: (_target, view) => view,
  })

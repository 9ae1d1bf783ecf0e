import { z } from 'zod'
import { Problem } from '../../core/problem.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { moveFault, moveOrder, NO_ORDER, type Order, orderedCards } from '../order.ts'
import type { Deps } from './deps.ts'
import { found } from '../../core/found.ts'
import { ORDER, ORDER_ID, type OrderView, viewOrder } from './views.ts'

interface Input {
  readonly orderId: string
}
interface Target extends Input {
  readonly order: Order | undefined
}

export const beginOrder = ({ orders }: Pick<Deps, 'orders'>): Operation<Input, Target, Order, OrderView> =>
  operation({
    name: 'card-personalization.order.begin',
    summary: 'Marks an approved order as generating.',
    effect: 'durable',
    input: z.strictObject({ orderId: ORDER_ID }),
    output: ORDER,
    locate: async ({ orderId }) => ({ orderId, order: await orders.find(orderId) }),
    uses: () => [],
    facts: ({ orderId }) => ({ public: { order: orderId } }),
    cards: ({ order }) => (order === undefined ? [] : [orderedCards(order)]),
    admit: ({ order }) => (order === undefined ? new Problem('not-found', NO_ORDER) : moveFault(order, 'generating')),
    execute: (_permit, { order }) => Promise.resolve(moveOrder(found(order), 'generating')),
    record: async (tx, _target, order) => ({ facts: { public: { state: order.state }, rows: [await orders.update(tx, order)] } }),
    respond: (_target, order) => viewOrder(order),
  })

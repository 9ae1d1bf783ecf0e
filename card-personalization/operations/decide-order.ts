import { z } from 'zod'
import { Problem } from '../../core/problem.ts'
import { type Caller, callerUrn } from '../../policies/caller.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { moveFault, moveOrder, NO_ORDER, type Order, orderedCards } from '../order.ts'
import type { Vendor } from '../vendor.ts'
import { type Deps, findVisibleOrder } from './deps.ts'
import { found } from '../../core/found.ts'
import { ORDER, ORDER_ID, type OrderView, viewOrder } from './views.ts'

interface Input {
  readonly orderId: string
}
interface Target extends Input {
  readonly order: Order | undefined
  readonly vendor: Vendor | undefined
  readonly caller: Caller
}
type DecideOrder = Operation<Input, Target, Order, OrderView>

export const approveOrder = (deps: Pick<Deps, 'orders' | 'vendors' | 'now' | 'wake'>): DecideOrder => ({
  ...decideOrder(deps, 'approved'),
  name: 'card-personalization.order.approve',
  summary: 'Approves an order: its cards are filled from then on.',
  route: { method: 'POST', path: '/v1/card-personalization/orders/{orderId}/approve' },
  respond: (_target, order) => {
    deps.wake()
    return viewOrder(order)
  },
})

export const cancelOrder = (deps: Pick<Deps, 'orders' | 'vendors' | 'now'>): DecideOrder => ({
  ...decideOrder(deps, 'cancelled'),
  name: 'card-personalization.order.cancel',
  summary: 'Cancels an order that is not approved. Its ICCIDs and IMSIs stay taken.',
  route: { method: 'POST', path: '/v1/card-personalization/orders/{orderId}/cancel' },
})

const decideOrder = (deps: Pick<Deps, 'orders' | 'vendors' | 'now'>, state: 'approved' | 'cancelled'): DecideOrder =>
  operation({
    name: '',
    summary: '',
    effect: 'durable',
    input: z.strictObject({ orderId: ORDER_ID }),
    output: ORDER,
    locate: async ({ orderId }, caller) => {
      const visible = await findVisibleOrder(deps, orderId, caller)
      return { orderId, order: visible?.order, vendor: visible?.vendor, caller }
    },
    uses: () => [],
    facts: ({ orderId, order, vendor }) => ({
      public: { order: orderId, ...(order && vendor ? { vendor: vendor.callerName, profile: order.profile, cards: order.quantity, state: order.state } : {}) },
    }),
    cards: ({ order }) => (order === undefined ? [] : [orderedCards(order)]),
    admit: ({ order, caller }) => {
      if (order === undefined) return new Problem('not-found', NO_ORDER)
      if (state === 'approved' && caller.kind === 'vendor') return new Problem('forbidden', 'A vendor does not approve orders.')
      return moveFault(order, state)
    },
    execute: (_permit, { order, caller }) =>
      Promise.resolve(moveOrder(found(order), state, { decidedBy: callerUrn(caller), decidedAt: deps.now().toISOString() })),
    record: async (tx, _target, order) => ({ facts: { public: { state }, rows: [await deps.orders.update(tx, order)] } }),
    respond: (_target, order) => viewOrder(order),
  })

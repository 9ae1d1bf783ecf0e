import { z } from 'zod'
import { PROBLEMS } from '../../core/problem.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import type { OrderHalt } from '../order-store.ts'
import type { Deps } from './deps.ts'
import { ORDER_ID } from './views.ts'

interface Input {
  readonly orderId: string
  readonly code: string
  readonly detail: string
}

/** It touches no sealed row: what stopped the order may be that very row. */
export const haltOrder = ({ orders, now }: Pick<Deps, 'orders' | 'now'>): Operation<Input, Input, OrderHalt, { orderId: string }> =>
  operation({
    name: 'card-personalization.order.halt',
    summary: 'Leaves an order alone that cannot be filled, and says why.',
    effect: 'durable',
    input: z.strictObject({ orderId: ORDER_ID, code: z.enum(Object.keys(PROBLEMS) as [string, ...string[]]), detail: z.string().max(2_000) }),
    output: z.strictObject({ orderId: ORDER_ID }),
    locate: (input) => Promise.resolve(input),
    uses: () => [],
    facts: ({ orderId, code }) => ({ public: { order: orderId, reason: code } }),
    execute: (_permit, { code, detail }) => Promise.resolve({ code, detail, haltedAt: now().toISOString() }),
    record: async (tx, { orderId }, halt) => {
      await orders.halt(tx, orderId, halt)
      return {}
    },
    respond: ({ orderId }) => ({ orderId }),
  })

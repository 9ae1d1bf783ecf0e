import { z } from 'zod'
import type { Caller } from '../../policies/caller.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import type { Deps } from './deps.ts'
import { ORDER, ORDER_ID, type OrderView, PAGE, REGION_CODE, viewOrder } from './views.ts'

interface Input {
  readonly region?: string | undefined
  readonly after?: string | undefined
  readonly limit: number
}
interface Target extends Input {
  readonly caller: Caller
}

export const listOrders = ({ orders, vendors }: Pick<Deps, 'orders' | 'vendors'>): Operation<Input, Target, OrderView[], { orders: OrderView[] }> =>
  operation({
    name: 'card-personalization.order.list',
    summary:
      'Lists orders, the oldest first. Of a region: those that name it or one in it. A vendor sees its own only. Halts and deliveries stand in the order itself.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/card-personalization/orders' },
    input: z.strictObject({ region: REGION_CODE.optional(), after: ORDER_ID.optional().meta({ description: 'The last id of the page before.' }), ...PAGE }),
    output: z.strictObject({ orders: z.array(ORDER) }),
    locate: (input, caller) => Promise.resolve({ ...input, caller }),
    uses: () => [],
    facts: () => ({}),
    cards: ({ region }) => (region === undefined ? [] : [{ region }]),
    execute: async (_permit, { region, after, limit, caller }) => {
      const own = caller.kind === 'vendor' ? await vendors.findByCaller(caller.name) : undefined
      if (caller.kind === 'vendor' && own === undefined) return []
      const listed = await orders.list({ vendorId: own?.id, region, after, limit })
      const filled = await orders.countFilled(listed.map(({ id }) => id))
      return listed.map((order) => viewOrder(order, { filled: filled.get(order.id) ?? 0 }))
    },
    respond: (_target, listed) => ({ orders: listed }),
  })

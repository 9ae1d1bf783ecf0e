import { z } from 'zod'
import type { CardFacts } from '../../core/card-facts.ts'
import { newUuid } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { digestRow } from '../../core/row.ts'
import { callerUrn } from '../../policies/caller.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import type { Binding } from '../binding.ts'
import { type UnbindRequest, unbindRequestRow } from '../unbind-request.ts'
import { type CardDeps, findCardFacts } from '../known-card.ts'
import type { Deps } from './deps.ts'
import { found } from '../../core/found.ts'
import { ICCID } from './views.ts'

interface Input {
  readonly iccid: string
  readonly reason: string
}
interface Target extends Input {
  readonly binding: Binding | undefined
  readonly request: UnbindRequest | undefined
  readonly cards: readonly CardFacts[]
}

const OUTPUT = z
  .strictObject({ requestId: z.string(), bindingId: z.string(), state: z.enum(['open']), requestedAt: z.string() })
  .meta({ id: 'UnbindRequest', description: 'Open until another person approves it.' })

export const requestUnbind = (
  deps: Pick<Deps, 'bindings' | 'unbindRequests' | 'databaseNow' | 'random' | keyof CardDeps>,
): Operation<Input, Target, UnbindRequest, z.infer<typeof OUTPUT>> =>
  operation({
    name: 'attestation.binding.unbind',
    summary: 'Asks for a card and its device to be parted. Another person approves it.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/attestation/cards/{iccid}/unbind', status: 202 },
    input: z.strictObject({
      iccid: ICCID,
      reason: z
        .string()
        .trim()
        .min(1)
        .max(500)
        .regex(/^[^\p{C}]*$/u, 'a reason has no control characters')
        .meta({ description: 'Why: for who approves it.', example: 'meter replaced' }),
    }),
    output: OUTPUT,
    locate: async ({ iccid, reason }, caller) => {
      const [now, cards] = await Promise.all([deps.databaseNow(), findCardFacts(deps, [iccid])])
      const binding = await deps.bindings.findAt({ iccid }, now)
      const made = { id: newUuid(), reason, salt: deps.random(16), requestedBy: callerUrn(caller), requestedAt: now, version: 1 }
      return { iccid, reason, binding, cards, request: binding && { ...made, bindingId: binding.id } }
    },
    uses: () => [],
    facts: ({ iccid, reason, request }) => ({
      public: request === undefined ? {} : { request: request.id, binding: request.bindingId },
      // What people write may name people.
      personal: { iccid, reason },
    }),
    cards: ({ cards }) => cards,
    admit: ({ binding }) => (binding === undefined ? new Problem('not-found', 'The card is bound to no device.') : undefined),
    execute: (_permit, { request }) => Promise.resolve(found(request)),
    record: async (tx, _target, request) => {
      await deps.unbindRequests.insert(tx, request)
      return { facts: { rows: [digestRow(unbindRequestRow(request))] } }
    },
    respond: (_target, { id, bindingId, requestedAt }) => ({ requestId: id, bindingId, state: 'open', requestedAt: requestedAt.toISOString() }),
  })

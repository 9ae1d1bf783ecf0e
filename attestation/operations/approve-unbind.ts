import { z } from 'zod'
import type { CardFacts } from '../../core/card-facts.ts'
import { UUID_PATTERN } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { digestRow } from '../../core/row.ts'
import { type Caller, callerUrn } from '../../policies/caller.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { type Binding, bindingRow } from '../binding.ts'
import { type UnbindRequest, unbindRequestRow } from '../unbind-request.ts'
import { type CardDeps, findCardFacts } from '../known-card.ts'
import type { Deps } from './deps.ts'
import { found } from '../../core/found.ts'
import { BINDING, type BindingView, viewBinding } from './views.ts'

interface Input {
  readonly requestId: string
}
interface Target extends Input {
  readonly request: UnbindRequest | undefined
  readonly binding: Binding | undefined
  readonly cards: readonly CardFacts[]
  readonly caller: Caller
  /** Whether the caller's person is the one who asked. */
  readonly isOwn: boolean
}
interface Result {
  readonly request: UnbindRequest
  readonly binding: Binding
}

/** Request and binding change in the transaction of the outcome, or neither: from then on card and device are free. */
export const approveUnbind = (
  deps: Pick<Deps, 'bindings' | 'unbindRequests' | 'samePerson' | 'databaseNow' | keyof CardDeps>,
): Operation<Input, Target, Result, BindingView> => {
  const { bindings, unbindRequests, samePerson, databaseNow } = deps
  return operation({
    name: 'attestation.binding.approve-unbind',
    summary: 'Approves a request to unbind, as another person than who asked. The binding ends; its history stays.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/attestation/unbind-requests/{requestId}/approve' },
    input: z.strictObject({ requestId: z.string().regex(UUID_PATTERN, 'an id is a UUID in lower case').meta({ description: 'Id of the request.' }) }),
    output: BINDING,
    locate: async ({ requestId }, caller) => {
      const request = await unbindRequests.find(requestId)
      const isOwn = request !== undefined && (await samePerson(request.requestedBy, caller))
      const binding = request && (await bindings.find(request.bindingId))
      return { requestId, request, binding, cards: await findCardFacts(deps, binding === undefined ? [] : [binding.iccid]), caller, isOwn }
    },
    uses: () => [],
    facts: ({ requestId, request, binding }) => ({
      public: { request: requestId, ...(request === undefined ? {} : { binding: request.bindingId, requestedBy: request.requestedBy }) },
      ...(binding === undefined ? {} : { personal: { iccid: binding.iccid, imei: binding.imei } }),
    }),
    cards: ({ cards }) => cards,
    admit: ({ request, binding, isOwn }) => {
      if (request === undefined || binding === undefined) return new Problem('not-found', 'There is no request of that id.')
      if (isOwn) return new Problem('forbidden', 'You asked for this yourself. Another person must approve it.')
      if (request.approvedBy !== undefined) return new Problem('conflict', 'The request was approved already.')
      return binding.until === undefined ? undefined : new Problem('conflict', 'The binding has ended already.')
    },
    execute: async (_permit, target) => {
      const [request, binding, now] = [found(target.request), found(target.binding), await databaseNow()]
      const urn = callerUrn(target.caller)
      // A range is never empty, whatever the clock does.
      const until = new Date(Math.max(now.getTime(), binding.from.getTime() + 1))
      return {
        request: { ...request, approvedBy: urn, approvedAt: now, version: request.version + 1 },
        binding: { ...binding, until, endedBy: urn, version: binding.version + 1 },
      }
    },
    record: async (tx, _target, { request, binding }) => {
      await unbindRequests.update(tx, request)
      await bindings.update(tx, binding)
      return { facts: { rows: [digestRow(unbindRequestRow(request)), digestRow(bindingRow(binding))] } }
    },
    respond: (_target, { binding }) => viewBinding(binding, found(binding.until)),
  })
}

import { z } from 'zod'
import { Problem } from '../../core/problem.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import type { TransportKey } from '../transport-key.ts'
import { type Deps, isVisible } from './deps.ts'
import { found } from '../../core/found.ts'
import { TRANSPORT_KEY, TRANSPORT_KEY_ID, type TransportKeyView, viewTransportKey } from './views.ts'

interface Input {
  readonly transportKeyId: string
}
interface Target extends Input {
  readonly key: TransportKey | undefined
}

/** Durable, as every export is: that it was handed out stands in the log before it is. */
export const getTransportKey = ({
  vendors,
  transportKeys,
}: Pick<Deps, 'vendors' | 'transportKeys'>): Operation<Input, Target, TransportKey, TransportKeyView> =>
  operation({
    name: 'card-personalization.transport-key.get',
    summary: 'Hands out a transport key and its row-MAC key, encrypted to the vendor. A vendor gets its own only.',
    effect: 'durable',
    route: { method: 'GET', path: '/v1/card-personalization/transport-keys/{transportKeyId}' },
    input: z.strictObject({ transportKeyId: TRANSPORT_KEY_ID }),
    output: TRANSPORT_KEY,
    locate: async ({ transportKeyId }, caller) => {
      const key = await transportKeys.find(transportKeyId)
      const vendor = key && (await vendors.find(key.vendorId))
      return { transportKeyId, key: vendor && isVisible(vendor, caller) ? key : undefined }
    },
    uses: () => [],
    facts: ({ transportKeyId }) => ({ public: { transportKey: transportKeyId } }),
    admit: ({ key }) => (key === undefined ? new Problem('not-found', 'There is no transport key of that id here.') : undefined),
    execute: (_permit, { key }) => Promise.resolve(found(key)),
    respond: (_target, key) => viewTransportKey(key),
  })

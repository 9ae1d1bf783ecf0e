import { z } from 'zod'
import type { Caller } from '../../policies/caller.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import type { Vendor } from '../vendor.ts'
import type { Deps } from './deps.ts'
import { PAGE, VENDOR, VENDOR_ID, type VendorView, viewVendor } from './views.ts'

interface Input {
  readonly after?: string | undefined
  readonly limit: number
}
interface Target extends Input {
  readonly caller: Caller
}

export const listVendors = ({ vendors }: Pick<Deps, 'vendors'>): Operation<Input, Target, readonly Vendor[], { vendors: VendorView[] }> =>
  operation({
    name: 'card-personalization.vendor.list',
    summary: 'Lists the vendors, in the order of their registration. A vendor sees itself only.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/card-personalization/vendors' },
    input: z.strictObject({ after: VENDOR_ID.optional().meta({ description: 'The last id of the page before.' }), ...PAGE }),
    output: z.strictObject({ vendors: z.array(VENDOR) }),
    locate: (input, caller) => Promise.resolve({ ...input, caller }),
    uses: () => [],
    facts: () => ({}),
    execute: async (_permit, { after, limit, caller }) => {
      if (caller.kind !== 'vendor') return vendors.list({ after, limit })
      const own = await vendors.findByCaller(caller.name)
      return own === undefined || (after !== undefined && own.id <= after) ? [] : [own]
    },
    respond: (_target, listed) => ({ vendors: listed.map(viewVendor) }),
  })

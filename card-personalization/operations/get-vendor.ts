import { z } from 'zod'
import { Problem } from '../../core/problem.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import type { Vendor } from '../vendor.ts'
import { type Deps, isVisible } from './deps.ts'
import { found } from '../../core/found.ts'
import { VENDOR, VENDOR_ID, type VendorView, viewVendor } from './views.ts'

interface Input {
  readonly vendorId: string
}
interface Target extends Input {
  readonly vendor: Vendor | undefined
}

export const getVendor = ({ vendors }: Pick<Deps, 'vendors'>): Operation<Input, Target, Vendor, VendorView> =>
  operation({
    name: 'card-personalization.vendor.get',
    summary: 'Reads a vendor. A vendor reads itself only.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/card-personalization/vendors/{vendorId}' },
    input: z.strictObject({ vendorId: VENDOR_ID }),
    output: VENDOR,
    locate: async ({ vendorId }, caller) => {
      const vendor = await vendors.find(vendorId)
      return { vendorId, vendor: vendor && isVisible(vendor, caller) ? vendor : undefined }
    },
    uses: () => [],
    facts: ({ vendorId }) => ({ public: { vendorId } }),
    admit: ({ vendor }) => (vendor === undefined ? new Problem('not-found', 'There is no vendor of that id here.') : undefined),
    execute: (_permit, { vendor }) => Promise.resolve(found(vendor)),
    respond: (_target, vendor) => viewVendor(vendor),
  })

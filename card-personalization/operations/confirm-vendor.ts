import { z } from 'zod'
import { hex } from '../../core/bytes.ts'
import { Problem } from '../../core/problem.ts'
import { digestRow } from '../../core/row.ts'
import { type Caller, callerUrn } from '../../policies/caller.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { isConfirmed, type Vendor, vendorRow } from '../vendor.ts'
import type { Deps } from './deps.ts'
import { found } from '../../core/found.ts'
import { VENDOR, VENDOR_ID, type VendorView, viewVendor } from './views.ts'

interface Input {
  readonly vendorId: string
  readonly fingerprint: string
}
interface Target extends Input {
  readonly vendor: Vendor | undefined
  readonly caller: Caller
  /** Whether the caller's person has confirmed it already. */
  readonly hasConfirmed: boolean
}

export const confirmVendor = ({ vendors, samePerson }: Pick<Deps, 'vendors' | 'samePerson'>): Operation<Input, Target, Vendor, VendorView> =>
  operation({
    name: 'card-personalization.vendor.confirm',
    summary: 'Confirms the fingerprint of a vendor’s encryption certificate, which the officer has from the vendor by another way. Two officers must.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/card-personalization/vendors/{vendorId}/confirm' },
    input: z.strictObject({
      vendorId: VENDOR_ID,
      fingerprint: z
        .string()
        .max(128)
        .transform((text) => text.replaceAll(':', '').toLowerCase())
        .pipe(z.string().regex(/^[0-9a-f]{64}$/, 'a fingerprint is SHA-256 in hex, 64 digits, with or without colons'))
        .meta({ description: 'SHA-256 of the certificate, hex, with or without colons.' }),
    }),
    output: VENDOR,
    locate: async (input, caller) => {
      const vendor = await vendors.find(input.vendorId)
      const confirmed = await Promise.all((vendor?.confirmers ?? []).map((urn) => samePerson(urn, caller)))
      return { ...input, vendor, caller, hasConfirmed: confirmed.includes(true) }
    },
    uses: () => [],
    facts: ({ vendorId, fingerprint }) => ({ public: { vendorId, fingerprint } }),
    admit: ({ vendor, fingerprint, caller, hasConfirmed }) => {
      if (caller.kind !== 'officer') return new Problem('forbidden', 'A fingerprint is confirmed by officers.')
      if (vendor === undefined) return new Problem('not-found', 'There is no vendor of that id.')
      if (hex(vendor.fingerprint) !== fingerprint) {
        return new Problem(
          'conflict',
          'This is not the fingerprint of the registered certificate. Do not confirm: ask the vendor, and tell security if it stays so.',
        )
      }
      if (isConfirmed(vendor)) return new Problem('conflict', 'Two officers have confirmed this certificate already.')
      if (hasConfirmed) return new Problem('conflict', 'You have confirmed this certificate already. Another officer must.')
      return undefined
    },
    execute: (_permit, { vendor, caller }) => {
      const standing = found(vendor)
      return Promise.resolve({ ...standing, confirmers: [...standing.confirmers, callerUrn(caller)], version: standing.version + 1 })
    },
    record: async (tx, _target, vendor) => {
      await vendors.update(tx, vendor)
      return { facts: { public: { vendor: vendor.callerName, confirmations: vendor.confirmers.length }, rows: [digestRow(vendorRow(vendor))] } }
    },
    respond: (_target, vendor) => viewVendor(vendor),
  })

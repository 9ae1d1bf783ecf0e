import { z } from 'zod'
import { hex } from '../../core/bytes.ts'
import { newUuid } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { digestRow } from '../../core/row.ts'
import { callerUrn } from '../../policies/caller.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { readEncryptionCertificate, type Vendor, vendorRow } from '../vendor.ts'
import type { Deps } from './deps.ts'
import { found } from '../../core/found.ts'
import { VENDOR, type VendorView, viewVendor } from './views.ts'

interface Input {
  readonly name: string
  readonly callerName: string
  readonly encryptionCertificate: string
}
interface Target {
  readonly vendor: Vendor | undefined
  readonly callerName: string
  readonly fault: string | undefined
}

export const registerVendor = ({ vendors, now }: Pick<Deps, 'vendors' | 'now'>): Operation<Input, Target, Vendor, VendorView> =>
  operation({
    name: 'card-personalization.vendor.register',
    summary: 'Registers a card vendor with its encryption certificate. Two officers confirm the fingerprint before anything is encrypted to it.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/card-personalization/vendors', status: 201 },
    input: z.strictObject({
      name: z
        .string()
        .trim()
        .min(1)
        .max(128)
        .regex(/^[^\p{C}]*$/u, 'a name has no control characters')
        .meta({ description: 'As people call it.', example: 'Acme Cards Ltd' }),
      callerName: z
        .string()
        .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'a caller’s name is 1 to 64 of a-z, 0-9, dot, dash, underscore')
        .meta({ description: 'Its name as a caller of kind vendor.', example: 'acme-cards' }),
      encryptionCertificate: z
        .string()
        .max(16_384)
        .meta({ description: 'X.509 in PEM: RSA of 3072 to 4096 bits, end entity, valid now. It is not the TLS certificate.' }),
    }),
    output: VENDOR,
    locate: ({ name, callerName, encryptionCertificate }, caller) => {
      const read = readEncryptionCertificate(encryptionCertificate, now())
      if ('fault' in read) return Promise.resolve<Target>({ vendor: undefined, callerName, fault: read.fault })
      const registered = { registeredBy: callerUrn(caller), registeredAt: now().toISOString() }
      const vendor = { id: newUuid(), name, callerName, certificate: read.der, fingerprint: read.fingerprint, confirmers: [], ...registered, version: 1 }
      return Promise.resolve<Target>({ vendor, callerName, fault: undefined })
    },
    uses: () => [],
    facts: ({ vendor, callerName }) => ({
      public: { vendor: callerName, ...(vendor === undefined ? {} : { vendorId: vendor.id, fingerprint: hex(vendor.fingerprint) }) },
    }),
    admit: ({ fault }) =>
      fault === undefined
        ? undefined
        : new Problem('request-invalid', 'Keys cannot be encrypted to this certificate.', { faults: [{ pointer: '/encryptionCertificate', message: fault }] }),
    execute: (_permit, { vendor }) => Promise.resolve(found(vendor)),
    record: async (tx, _target, vendor) => {
      await vendors.insert(tx, vendor)
      return { facts: { rows: [digestRow(vendorRow(vendor))] } }
    },
    respond: (_target, vendor) => viewVendor(vendor),
  })

import { X509Certificate } from 'node:crypto'
import { z } from 'zod'
import { hex } from '../../core/bytes.ts'
import { keyId, type KeyId, newUuid } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import type { TransportKeyMade } from '../../pkcs11/index.ts'
import { type Caller, callerUrn } from '../../policies/caller.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import type { TransportKey } from '../transport-key.ts'
import { encryptionFault, isConfirmed, recipientOf, type Vendor } from '../vendor.ts'
import type { Deps } from './deps.ts'
import { found } from '../../core/found.ts'
import { TRANSPORT_KEY, type TransportKeyView, VENDOR_ID, viewTransportKey } from './views.ts'

interface Input {
  readonly vendorId: string
}
interface Target extends Input {
  readonly vendor: Vendor | undefined
  readonly caller: Caller
  readonly id: KeyId
  readonly macKeyId: KeyId
  readonly number: number
  readonly at: Date
}
interface Result {
  readonly key: TransportKey
  readonly made: TransportKeyMade
}

export const makeTransportKey = (deps: Pick<Deps, 'hsm' | 'vendors' | 'transportKeys' | 'now'>): Operation<Input, Target, Result, TransportKeyView> =>
  operation({
    name: 'card-personalization.transport-key.make',
    summary: 'Makes a transport key and a row-MAC key for a confirmed vendor, by ceremony, encrypted to its certificate.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/card-personalization/vendors/{vendorId}/transport-keys', status: 201 },
    input: z.strictObject({ vendorId: VENDOR_ID }),
    output: TRANSPORT_KEY,
    locate: async ({ vendorId }, caller) => ({
      vendorId,
      vendor: await deps.vendors.find(vendorId),
      caller,
      id: keyId(`transport:${newUuid()}`),
      macKeyId: keyId(`row-mac:${newUuid()}`),
      number: await deps.transportKeys.nextNumber(vendorId),
      at: deps.now(),
    }),
    uses: ({ id, macKeyId }) => [
      { action: 'ceremony', keyId: id },
      { action: 'generate', keyId: macKeyId },
    ],
    facts: ({ vendorId, vendor, id, macKeyId, number }) => ({
      public: {
        vendorId,
        transportKey: id,
        macKey: macKeyId,
        number,
        ...(vendor === undefined ? {} : { vendor: vendor.callerName, recipient: hex(vendor.fingerprint) }),
      },
    }),
    admit: ({ vendor, at }) => {
      if (vendor === undefined) return new Problem('not-found', 'There is no vendor of that id.')
      if (!isConfirmed(vendor)) return new Problem('conflict', 'Two officers must confirm the fingerprint of the vendor’s encryption certificate first.')
      const fault = encryptionFault(new X509Certificate(vendor.certificate), at)
      return fault === undefined ? undefined : new Problem('conflict', `Keys cannot be encrypted to the vendor’s certificate any more: ${fault}.`)
    },
    execute: async (permit, { vendor: located, caller, id, macKeyId, number, at }) => {
      const vendor = found(located)
      const made = await deps.hsm.makeTransportKey(permit, { keyId: id, macKeyId, recipient: recipientOf(vendor) })
      const key: TransportKey = {
        ...{ id, macKeyId, number, vendorId: vendor.id, recipient: vendor.fingerprint, version: 1 },
        ...{ encryptedKey: made.encryptedKey, kcv: made.kcv, wrappedMacKey: made.wrappedMacKey, macKcv: made.macKcv },
        ...{ madeBy: callerUrn(caller), madeAt: at.toISOString() },
      }
      return { key, made }
    },
    record: async (tx, _target, { key, made }) => ({
      facts: { public: { kcv: hex(key.kcv.value), macKcv: hex(key.macKcv.value) }, rows: await deps.transportKeys.insert(tx, key, made) },
    }),
    respond: (_target, { key }) => viewTransportKey(key),
  })

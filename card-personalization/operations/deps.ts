import type { KeyId } from '../../core/ids.ts'
import type { Problem } from '../../core/problem.ts'
import type { RowDigest, RowSealer } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { Hsm } from '../../pkcs11/index.ts'
import type { Caller, SamePerson } from '../../policies/caller.ts'
import type { Permit } from '../../policies/permit.ts'
import type { CardStore } from '../card-store.ts'
import type { CertificatesOf } from '../delivery-body.ts'
import type { DeliveryStore } from '../delivery-store.ts'
import type { IssuedIccids } from '../issued-iccids.ts'
import type { Order } from '../order.ts'
import type { OrderStore } from '../order-store.ts'
import type { ProfileStore } from '../profile-store.ts'
import type { TransportKeyStore } from '../transport-key-store.ts'
import type { Vendor } from '../vendor.ts'
import type { VendorStore } from '../vendor-store.ts'

/** A certificate for each card of a chunk, planned: serials are drawn, and nothing is durable. */
export interface PlannedCertificates {
  readonly serials: readonly string[]
}

/**
 * The cards' CA, as certifying needs it. It is another feature's: server/service.ts hands it in. Serials and TBS digests are reserved in the transaction of the
 * intent, before anything is signed, so that a crash leaves no signed certificate that no row names.
 */
export interface CardCertifier<Planned extends PlannedCertificates = PlannedCertificates, Issued = unknown> {
  /** The key in the token that signs. */
  readonly signer: KeyId
  plan(cards: readonly { readonly cardId: string; readonly iccid: string; readonly spki: Uint8Array }[]): Promise<Planned | Problem>
  reserve(tx: Tx, planned: Planned): Promise<readonly RowDigest[]>
  /** Uses sign {@link signer}. */
  sign(permit: Permit, planned: Planned): Promise<Issued>
  /** The digests of the rows, in the order of the cards. */
  record(tx: Tx, issued: Issued): Promise<readonly RowDigest[]>
  /** DER by card id. Throws `integrity-failed` where one is missing. */
  readonly ders: CertificatesOf
  /** The cards' CA and the root, DER. */
  chain(): Promise<readonly Uint8Array[]>
}

/** What the operations share. */
export interface Deps {
  readonly hsm: Hsm
  readonly sealer: RowSealer
  readonly vendors: VendorStore
  readonly transportKeys: TransportKeyStore
  readonly profiles: ProfileStore
  readonly orders: OrderStore
  readonly issuedIccids: IssuedIccids
  readonly cards: CardStore
  readonly deliveries: DeliveryStore
  readonly certifier: CardCertifier
  readonly samePerson: SamePerson
  readonly now: () => Date
  /** The delivery certificate and those above it up to the root, DER. */
  readonly deliveryChain: () => Promise<readonly Uint8Array[]>
  /** Called when an order was approved or resumed: the fill job looks. */
  readonly wake: () => void
}

/** The order with its vendor, as the caller may see it: a vendor sees its own, and any other is not there for it. */
export async function findVisibleOrder(
  deps: Pick<Deps, 'orders' | 'vendors'>,
  orderId: string,
  caller: Caller,
): Promise<{ readonly order: Order; readonly vendor: Vendor } | undefined> {
  const order = await deps.orders.find(orderId)
  const vendor = order && (await deps.vendors.find(order.vendorId))
  return order && vendor && isVisible(vendor, caller) ? { order, vendor } : undefined
}

/** Vendors see what is theirs; the others see all, where the policy lets them ask. */
export const isVisible = (vendor: Pick<Vendor, 'callerName'>, caller: Caller): boolean => caller.kind !== 'vendor' || vendor.callerName === caller.name

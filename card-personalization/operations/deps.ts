import type { RowSealer } from '../../core/row.ts'
import type { Hsm } from '../../pkcs11/index.ts'
import type { Caller } from '../../policies/caller.ts'
import type { CardStore } from '../card-store.ts'
import type { DeliveryStore } from '../delivery-store.ts'
import type { Order } from '../order.ts'
import type { OrderStore } from '../order-store.ts'
import type { ProfileStore } from '../profile-store.ts'
import type { TransportKeyStore } from '../transport-key-store.ts'
import type { Vendor } from '../vendor.ts'
import type { VendorStore } from '../vendor-store.ts'

/** What the operations share. */
export interface Deps {
  readonly hsm: Hsm
  readonly sealer: RowSealer
  readonly vendors: VendorStore
  readonly transportKeys: TransportKeyStore
  readonly profiles: ProfileStore
  readonly orders: OrderStore
  readonly cards: CardStore
  readonly deliveries: DeliveryStore
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

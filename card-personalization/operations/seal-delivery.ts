import { createHash } from 'node:crypto'
import { z } from 'zod'
import { base64, hex, utf8 } from '../../core/bytes.ts'
import { documentToSign, signedDocument } from '../../core/signed-document.ts'
import { Problem } from '../../core/problem.ts'
import { ROOT_KEYS } from '../../pkcs11/index.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import type { Card } from '../card.ts'
import { DELIVERY_FORMAT, DELIVERY_TYPE, type DeliveryManifest } from '../delivery.ts'
import { readDeliveryBody } from '../delivery-body.ts'
import type { Delivery } from '../delivery-store.ts'
import { moveFault, moveOrder, NO_ORDER, type Order, orderedCards } from '../order.ts'
import { findProfile, hasCertificates } from '../profile.ts'
import type { TransportKey } from '../transport-key.ts'
import type { Vendor } from '../vendor.ts'
import type { Deps } from './deps.ts'
import { found } from '../../core/found.ts'
import { ORDER_ID } from './views.ts'

interface Input {
  readonly orderId: string
}
interface Target extends Input {
  readonly order: Order | undefined
  readonly vendor: Vendor | undefined
  readonly transportKey: TransportKey | undefined
  readonly open: number
}
interface Result {
  readonly order: Order
  readonly delivery: Delivery
}

export const sealDelivery = (deps: Deps): Operation<Input, Target, Result, { sha256: string }> =>
  operation({
    name: 'card-personalization.delivery.seal',
    summary: 'Signs the delivery of an order whose cards all have their keys and certificates.',
    effect: 'durable',
    input: z.strictObject({ orderId: ORDER_ID }),
    output: z.strictObject({ sha256: z.string() }),
    locate: async ({ orderId }) => {
      const [order, open] = await Promise.all([deps.orders.find(orderId), deps.orders.openChunks(orderId, 1)])
      const [vendor, transportKey] = order ? await Promise.all([deps.vendors.find(order.vendorId), deps.transportKeys.find(order.transportKeyId)]) : []
      return { orderId, order, vendor, transportKey, open: open.length }
    },
    uses: () => [{ action: 'sign', keyId: ROOT_KEYS.delivery }],
    facts: ({ orderId, vendor, order }) => ({ public: { order: orderId, ...(order && vendor ? { vendor: vendor.callerName, cards: order.quantity } : {}) } }),
    cards: ({ order }) => (order === undefined ? [] : [orderedCards(order)]),
    admit: ({ order, vendor, transportKey, open }) => {
      if (order === undefined || vendor === undefined || transportKey === undefined) return new Problem('not-found', NO_ORDER)
      return open > 0 ? new Problem('conflict', 'Cards of this order have no keys or certificates yet.') : moveFault(order, 'ready')
    },
    execute: async (permit, target) => {
      const [order, created] = [found(target.order), deps.now().toISOString()]
      const { sha256, first, last } = await digestBody(deps, order)
      const [cardsCa] = hasCertificates(found(findProfile(order.profile))) ? await deps.certifier.chain() : []
      const manifest: DeliveryManifest = {
        ...{ format: DELIVERY_FORMAT, order: order.id, ...(order.purchaseOrder === undefined ? {} : { purchaseOrder: order.purchaseOrder }) },
        ...{
          vendor: found(target.vendor).callerName,
          profile: order.profile,
          transportKeyId: order.transportKeyId,
          macKeyId: found(target.transportKey).macKeyId,
        },
        ...{ cards: order.quantity, keysPerCard: found(findProfile(order.profile)).keys.length, firstIccid: first.iccid, lastIccid: last.iccid },
        ...{ sha256: hex(sha256), created },
        ...(cardsCa === undefined ? {} : { cardsCa: base64(cardsCa) }),
      }
      const input = documentToSign(DELIVERY_TYPE, manifest, await deps.deliveryChain())
      const [signature] = await deps.hsm.signWithRoot(permit, ROOT_KEYS.delivery, [utf8(input)])
      const delivery = { orderId: order.id, header: signedDocument(input, found(signature)), bodySha256: sha256, sealedAt: created, fetches: 0, version: 1 }
      return { order: moveOrder(order, 'ready'), delivery }
    },
    record: async (tx, _target, { order, delivery }) => ({
      facts: { public: { sha256: hex(delivery.bodySha256) }, rows: [await deps.orders.update(tx, order), await deps.deliveries.insert(tx, delivery)] },
    }),
    respond: (_target, { delivery }) => ({ sha256: hex(delivery.bodySha256) }),
  })

async function digestBody(deps: Deps, order: Order): Promise<{ readonly sha256: Uint8Array; readonly first: Card; readonly last: Card }> {
  const hash = createHash('sha256')
  let [first, last]: (Card | undefined)[] = []
  for await (const { cards, bytes } of readDeliveryBody((orderId, page) => deps.cards.list(orderId, page), order, deps.certifier.ders)) {
    hash.update(bytes)
    first ??= cards[0]
    last = cards.at(-1)
  }
  return { sha256: hash.digest(), first: found(first), last: found(last) }
}

import { z } from 'zod'
import { equalBytes } from '../../core/bytes.ts'
import { keyId, newUuid } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import { digestRow, type Row } from '../../core/row.ts'
import type { FilledKey, StoredKey } from '../../pkcs11/index.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { type Card, cardRow } from '../card.ts'
import { encodeCardKeys, rowMacInput } from '../delivery-row.ts'
import { encodeEfIccid } from '../../core/iccid.ts'
import { moveChunk, NO_ORDER, type Order, type OrderChunk, orderedCards } from '../order.ts'
import { digestCards, type OrderedCard } from '../order-content.ts'
import { type CardProfile, findProfile, hasCertificates, planOf } from '../profile.ts'
import type { EstablishedProfile } from '../profile-store.ts'
import type { TransportKey } from '../transport-key.ts'
import type { Deps } from './deps.ts'
import { found } from '../../core/found.ts'
import { ORDER_ID } from './views.ts'

interface Input {
  readonly orderId: string
  readonly chunk: number
}
/** Everything that a chunk needs. */
interface Work {
  readonly profile: CardProfile
  readonly established: EstablishedProfile
  readonly transportKey: TransportKey
  readonly macKey: StoredKey
  readonly cards: readonly OrderedCard[]
}
interface Target extends Input {
  readonly order: Order | undefined
  readonly chunkRow: OrderChunk | undefined
  readonly work: Work | undefined
}
interface Result {
  readonly cards: readonly Card[]
  readonly rows: readonly Row[]
  readonly macs: readonly Uint8Array[]
}

/**
 * Fills one chunk: one intent, one entry a card, rows and entries in one transaction. A crash after the intent leaves keys that no row names and nobody
 * has: random ones are gone, derived ones come out the same. The chunk is then open still, and is filled anew as another operation.
 */
export const fillCards = (deps: Deps): Operation<Input, Target, Result, { cards: number }> =>
  operation({
    name: 'card-personalization.cards.fill',
    summary: 'Makes the keys of the cards of one chunk.',
    effect: 'durable',
    input: z.strictObject({ orderId: ORDER_ID, chunk: z.int().min(0).max(1_000_000) }),
    output: z.strictObject({ cards: z.int().min(1).max(1_000) }),
    locate: async ({ orderId, chunk }) => {
      const [order, chunkRow] = await Promise.all([deps.orders.find(orderId), deps.orders.findChunk(orderId, chunk)])
      return { orderId, chunk, order, chunkRow, work: order && chunkRow && (await gather(deps, order, chunkRow)) }
    },
    uses: ({ work }) =>
      work === undefined
        ? []
        : [
            { action: 'derive', keyId: work.established.master.id },
            { action: 'unwrap', keyId: work.established.operatorKey.id },
            { action: 'wrap', keyId: work.transportKey.id },
            { action: 'mac', keyId: work.macKey.id },
          ],
    facts: ({ orderId, chunk, order, chunkRow }) => ({
      public: { order: orderId, chunk, ...(order && chunkRow ? { profile: order.profile, cards: chunkRow.quantity } : {}) },
    }),
    cards: ({ order }) => (order === undefined ? [] : [orderedCards(order)]),
    admit: ({ order, chunkRow, work }) => {
      if (order === undefined || chunkRow === undefined) return new Problem('not-found', NO_ORDER)
      if (order.state !== 'generating') return new Problem('conflict', `The order is ${order.state}: only one that is generating is filled.`)
      if (chunkRow.state !== 'open') return new Problem('conflict', 'The cards of this chunk have their keys already.')
      if (work === undefined) return new Problem('integrity-failed', 'The profile, transport key or row-MAC key of this order does not stand.')
      return undefined
    },
    execute: async (permit, target) => {
      const [order, chunk, { profile, established, transportKey, macKey, cards }] = [found(target.order), found(target.chunkRow), found(target.work)]
      if (cards.length !== chunk.quantity || !equalBytes(digestCards(cards), chunk.digest)) {
        throw new Problem('integrity-failed', `The ICCIDs and IMSIs of chunk ${chunk.number} of order ${order.id} are not those that were ordered.`)
      }
      const filled = await deps.hsm.fillCards(permit, {
        master: established.master,
        operatorKey: established.operatorKey,
        transportKeyId: transportKey.id,
        plan: planOf(profile),
        kdds: cards.map(({ iccid }) => encodeEfIccid(iccid)),
      })
      const keys = cards.map((_, at) => encodeCardKeys(versionKeys(profile, filled[at])))
      const context = { orderId: order.id, transportKeyId: transportKey.id, profile: profile.id }
      const deliveryMacs = await deps.hsm.mac(
        permit,
        macKey,
        cards.map((card, at) => rowMacInput({ ...context, ...card }, keys[at] ?? new Uint8Array())),
      )
      const made = cards.map(
        ({ iccid, imsi }, at): Card => ({
          ...{ id: keyId(newUuid()), orderId: order.id, position: chunk.firstPosition + at, iccid, imsi, profile: profile.id, state: 'keyed', version: 1 },
          ...{ masterId: established.master.id, keys: found(keys[at]), deliveryMac: found(deliveryMacs[at]), wrapped: randomKeyOf(filled[at]) },
          publicKey: filled[at]?.find(({ publicKey }) => publicKey !== undefined)?.publicKey,
        }),
      )
      const rows = made.map(cardRow)
      return { cards: made, rows, macs: await deps.sealer.macRows(rows) }
    },
    record: async (tx, { chunkRow, order, work }, { cards, rows, macs }) => {
      const chunk = found(chunkRow)
      await deps.cards.insert(tx, cards, macs)
      const digest = await deps.orders.updateChunk(tx, moveChunk(chunk, hasCertificates(found(work).profile) ? 'keyed' : 'filled'))
      const orderId = found(order).id
      return {
        facts: { rows: [digest] },
        items: cards.map(({ id, iccid, imsi }, at) => ({
          public: { order: orderId, card: id },
          personal: { iccid, imsi },
          rows: [digestRow(found(rows[at]))],
        })),
      }
    },
    respond: (_target, { cards }) => ({ cards: cards.length }),
  })

async function gather(deps: Deps, order: Order, chunk: OrderChunk): Promise<Work | undefined> {
  const profile = findProfile(order.profile)
  if (profile === undefined) return undefined
  const [established, transportKey, cards] = await Promise.all([
    deps.profiles.find(profile.id),
    deps.transportKeys.find(order.transportKeyId),
    deps.orders.cardsOf(chunk),
  ])
  if (established === undefined || transportKey === undefined || transportKey.vendorId !== order.vendorId) return undefined
  const macKey = await deps.transportKeys.macKeyOf(transportKey)
  return macKey && { profile, established, transportKey, macKey, cards }
}

/** The keys with the versions that the profile gives them. Throws `hsm-failed` when they are not those of the plan, in its order. */
function versionKeys(
  profile: CardProfile,
  filled: readonly FilledKey[] | undefined,
): { purpose: string; keyVersion: number; kcv: FilledKey['kcv']; wrapped: Uint8Array }[] {
  return profile.keys.map(({ purpose, keyVersion, kcv }, at) => {
    const key = filled?.[at]
    if (key?.purpose !== purpose || key.kcv.method !== kcv) throw new Problem('hsm-failed', 'The HSM did not make the keys that the profile asks for.')
    return { purpose, keyVersion, kcv: key.kcv, wrapped: key.wrapped }
  })
}

/** The card's one random key, under the storage KEK. */
function randomKeyOf(filled: readonly FilledKey[] | undefined): Uint8Array {
  const stored = filled?.flatMap((key) => (key.stored === undefined ? [] : [key.stored])) ?? []
  if (stored.length !== 1 || stored[0] === undefined) throw new Problem('hsm-failed', 'The HSM did not hand back exactly one random key of a card.')
  return stored[0]
}

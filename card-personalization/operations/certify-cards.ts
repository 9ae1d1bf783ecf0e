import { z } from 'zod'
import { hex, sha256, utf8 } from '../../core/bytes.ts'
import { Problem } from '../../core/problem.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import type { Card } from '../card.ts'
import { moveChunk, NO_ORDER, type Order, type OrderChunk, orderedCards } from '../order.ts'
import type { Deps, PlannedCertificates } from './deps.ts'
import { found } from '../../core/found.ts'
import { ORDER_ID } from './views.ts'

interface Input {
  readonly orderId: string
  readonly chunk: number
}
interface Target extends Input {
  readonly order: Order | undefined
  readonly chunkRow: OrderChunk | undefined
  readonly cards: readonly Card[]
  readonly planned: PlannedCertificates | Problem | undefined
}

/**
 * Certifies the signing keys of one chunk. Order of durable effects: serials and TBS digests with the intent; then the CA signs; then certificates, chunk and
 * outcome. A crash between leaves serials that are burnt: whatever was signed under them is named, nobody has it, and the chunk is certified anew.
 */
export const certifyCards = (deps: Deps): Operation<Input, Target, unknown, { cards: number }> =>
  operation({
    name: 'card-personalization.cards.certify',
    summary: 'Issues the certificates of the cards of one chunk.',
    effect: 'durable',
    input: z.strictObject({ orderId: ORDER_ID, chunk: z.int().min(0).max(1_000_000) }),
    output: z.strictObject({ cards: z.int().min(1).max(1_000) }),
    locate: async ({ orderId, chunk }): Promise<Target> => {
      const [order, chunkRow] = await Promise.all([deps.orders.find(orderId), deps.orders.findChunk(orderId, chunk)])
      if (chunkRow?.state !== 'keyed') return { orderId, chunk, order, chunkRow, cards: [], planned: undefined }
      const cards = await deps.cards.list(orderId, { from: chunkRow.firstPosition, limit: chunkRow.quantity })
      const subjects = cards.flatMap(({ id, iccid, publicKey }) => (publicKey === undefined ? [] : [{ cardId: id, iccid, spki: publicKey }]))
      return { orderId, chunk, order, chunkRow, cards, planned: subjects.length === chunkRow.quantity ? await deps.certifier.plan(subjects) : undefined }
    },
    uses: () => [{ action: 'sign', keyId: deps.certifier.signer }],
    facts: ({ orderId, chunk, order, planned }) => ({
      public: {
        ...{ order: orderId, chunk, ...(order === undefined ? {} : { profile: order.profile }) },
        ...(planned === undefined || planned instanceof Problem
          ? {}
          : { cards: planned.serials.length, serialsSha256: hex(sha256(utf8(planned.serials.join('\n')))) }),
      },
    }),
    cards: ({ order }) => (order === undefined ? [] : [orderedCards(order)]),
    admit: ({ order, chunkRow, planned }) => {
      if (order === undefined || chunkRow === undefined) return new Problem('not-found', NO_ORDER)
      if (order.state !== 'generating') return new Problem('conflict', `The order is ${order.state}: only one that is generating is certified.`)
      if (chunkRow.state !== 'keyed') return new Problem('conflict', 'The cards of this chunk have no keys yet, or have their certificates already.')
      if (planned === undefined) return new Problem('integrity-failed', 'The cards of this chunk do not stand, or have no public keys.')
      return planned instanceof Problem ? planned : undefined
    },
    reserve: (tx, { planned }) => deps.certifier.reserve(tx, ready(planned)),
    execute: (permit, { planned }) => deps.certifier.sign(permit, ready(planned)),
    record: async (tx, { order, chunkRow, cards, planned }, issued) => {
      const rows = await deps.certifier.record(tx, issued)
      const [orderId, { serials }] = [found(order).id, ready(planned)]
      return {
        facts: { rows: [await deps.orders.updateChunk(tx, moveChunk(found(chunkRow), 'filled'))] },
        items: cards.map(({ id, iccid }, at) => ({
          public: { order: orderId, card: id, serial: found(serials[at]) },
          personal: { iccid },
          rows: [found(rows[at])],
        })),
      }
    },
    respond: ({ cards }) => ({ cards: cards.length }),
  })

function ready(planned: PlannedCertificates | Problem | undefined): PlannedCertificates {
  if (planned === undefined || planned instanceof Problem) throw new Error('certificates are planned once an operation was admitted')
  return planned
}

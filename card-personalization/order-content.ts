import type { Fault } from '../core/problem.ts'
import { frame, sha256 } from '../core/bytes.ts'
import { FaultList } from './fault-list.ts'
import { iccidFault, nextIccid, trimFiller } from '../core/iccid.ts'
import { imsiFault, nextImsi } from './imsi.ts'

/** The most cards of one order. */
export const MAX_CARDS = 100_000
/** The most cards of one chunk: one intent, one transaction. */
export const CHUNK_CARDS = 500

export interface OrderedCard {
  readonly iccid: string
  readonly imsi: string
}

type Place = Pick<Fault, 'line' | 'column' | 'pointer'>

/** What an order asks for, read from whatever form it came in; not yet compared with what the service knows. */
export interface OrderContent {
  readonly profile: string
  /** By id, or by the number that the vendor knows the key by (INP). */
  readonly transportKey: { readonly id: string } | { readonly number: number }
  readonly purchaseOrder: string | undefined
  /** Where the cards belong: six digits (core/card-facts.ts). */
  readonly region: string | undefined
  readonly cards: readonly OrderedCard[]
  /** Where a thing stands in what the vendor sent. */
  readonly places: {
    readonly profile: Place
    readonly transportKey: Place
    card(position: number, field: 'iccid' | 'imsi'): Place
  }
}

/** Of an ICCID and an IMSI a series: the check digit of each card is its own. Faults where the series runs out of digits. */
export function expandSeries(start: OrderedCard, quantity: number, faults: FaultList, places: { readonly iccid: Place; readonly imsi: Place }): OrderedCard[] {
  const lastIccid = nextIccid(start.iccid, quantity - 1)
  const lastImsi = nextImsi(start.imsi, quantity - 1)
  if (lastIccid === undefined) faults.add({ message: `${quantity} ICCIDs do not fit behind this one`, ...places.iccid })
  if (lastImsi === undefined) faults.add({ message: `${quantity} IMSIs do not fit behind this one without leaving its network`, ...places.imsi })
  if (lastIccid === undefined || lastImsi === undefined) return []
  return Array.from({ length: quantity }, (_, at) => ({ iccid: nextIccid(start.iccid, at) ?? '', imsi: nextImsi(start.imsi, at) ?? '' }))
}

/** Every fault of the cards themselves: form, check digit, and what stands twice. */
export function checkCards(cards: readonly OrderedCard[], place: OrderContent['places']['card'], faults: FaultList): void {
  const iccids = new Map<string, number>()
  const imsis = new Map<string, number>()
  cards.forEach(({ iccid, imsi }, at) => {
    for (const [field, value, fault, seen] of [
      ['iccid', iccid, iccidFault(iccid), iccids],
      ['imsi', imsi, imsiFault(imsi), imsis],
    ] as const) {
      const first = seen.get(value)
      if (fault !== undefined) faults.add({ message: fault, ...place(at, field) })
      else if (first !== undefined)
        faults.add({ message: `this ${field.toUpperCase()} stands in the order before (${nameOf(place(first, field))})`, ...place(at, field) })
      else seen.set(value, at)
    }
  })
}

const nameOf = (place: Place): string => (place.line === undefined ? (place.pointer ?? 'above') : `line ${place.line}`)

/** Why a number of cards cannot be ordered; undefined where it can. */
export const quantityFault = (quantity: number): string | undefined =>
  Number.isInteger(quantity) && quantity >= 1 && quantity <= MAX_CARDS ? undefined : `an order has 1 to ${MAX_CARDS} cards`

/** The order as JSON brings it. */
export interface JsonOrder {
  readonly profile: string
  readonly transportKeyId: string
  readonly purchaseOrder?: string | undefined
  readonly region?: string | undefined
  readonly cards?: readonly OrderedCard[] | undefined
  readonly start?: OrderedCard | undefined
  readonly quantity?: number | undefined
}

/** Reads a JSON order: `cards`, or `start` and `quantity`; a `quantity` beside `cards` must be their number. */
export function readJsonOrder(order: JsonOrder): { readonly content: OrderContent; readonly faults: FaultList } {
  const faults = new FaultList()
  const { start, quantity } = order
  let cards: readonly OrderedCard[] = []
  let card: OrderContent['places']['card'] = (at, field) => ({ pointer: `/cards/${at}/${field}` })
  if (start !== undefined && order.cards === undefined) {
    card = (_at, field) => ({ pointer: `/start/${field}` })
    const wrong = quantity === undefined ? 'a start needs a quantity' : quantityFault(quantity)
    if (wrong !== undefined) faults.add({ message: wrong, pointer: '/quantity' })
    const first = { iccid: trimFiller(start.iccid), imsi: start.imsi }
    checkCards([first], card, faults)
    if (faults.total === 0) cards = expandSeries(first, quantity ?? 0, faults, { iccid: card(0, 'iccid'), imsi: card(0, 'imsi') })
  } else {
    cards = (order.cards ?? []).map(({ iccid, imsi }) => ({ iccid: trimFiller(iccid), imsi }))
    if (order.cards === undefined) faults.add({ message: 'an order has either cards or a start and a quantity', pointer: '/cards' })
    else if (start !== undefined) faults.add({ message: 'an order with cards has no start', pointer: '/start' })
    else if (quantityFault(cards.length) !== undefined) faults.add({ message: quantityFault(cards.length) ?? '', pointer: '/cards' })
    if (quantity !== undefined && quantity !== cards.length)
      faults.add({ message: `the quantity is ${quantity}, the cards are ${cards.length}`, pointer: '/quantity' })
    checkCards(cards, card, faults)
  }
  const places = { profile: { pointer: '/profile' }, transportKey: { pointer: '/transportKeyId' }, card }
  const { profile, transportKeyId, purchaseOrder, region } = order
  return { content: { profile, transportKey: { id: transportKeyId }, purchaseOrder, region, cards, places }, faults }
}

/** SHA-256 over the cards of a chunk. It stands in the chunk's sealed row. */
export const digestCards = (cards: readonly OrderedCard[]): Uint8Array =>
  sha256(frame(['gridseal-order-chunk-v1', ...cards.flatMap(({ iccid, imsi }) => [iccid, imsi])]))

/** SHA-256 over what is ordered, whatever form it came in: two orders with one digest ask for the same. `chunks`: the digests of their cards. */
export const digestOrder = (order: {
  readonly profile: string
  readonly transportKeyId: string
  readonly region: string | undefined
  readonly chunks: readonly Uint8Array[]
}): Uint8Array =>
  sha256(
    frame([
      ...(order.region === undefined ? ['gridseal-order-v1'] : ['gridseal-order-v2', order.region]),
      ...[order.profile, order.transportKeyId, ...order.chunks],
    ]),
  )

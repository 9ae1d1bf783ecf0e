import { KCV_LENGTH } from './kcv.ts'
import type { CardKeyPlan, FilledKey } from './contract.ts'

/** AES-KWP of an AES-128 key. */
export const WRAPPED_LENGTH = 24
/** The most cards that one call fills. */
export const MAX_CARDS = 500

/** Where the parts of one card's keys stand in what a lane answers: one block of bytes for a whole chunk, because thousands of small arrays cost more than the keys. */
export interface CardLayout {
  readonly lengthBytes: number
  readonly keys: readonly {
    readonly plan: CardKeyPlan
    readonly kcvAt: number
    readonly kcvLength: number
    readonly wrappedAt: number
    readonly storedAt: number | undefined
  }[]
}

export function cardLayout(plan: readonly CardKeyPlan[]): CardLayout {
  let at = 0
  const take = (lengthBytes: number): number => {
    const start = at
    at += lengthBytes
    return start
  }
  const keys = plan.map((item) => ({
    plan: item,
    kcvAt: take(KCV_LENGTH[item.kcv]),
    kcvLength: KCV_LENGTH[item.kcv],
    wrappedAt: take(WRAPPED_LENGTH),
    storedAt: item.source.kind === 'random' ? take(WRAPPED_LENGTH) : undefined,
  }))
  return { lengthBytes: at, keys }
}

/** Throws a RangeError on a plan that names a purpose twice, or an OPc of what is not a random key before it. */
export function assertPlan(plan: readonly CardKeyPlan[]): void {
  const seen = new Map<string, CardKeyPlan>()
  for (const item of plan) {
    if (seen.has(item.purpose)) throw new RangeError(`the plan names ${item.purpose} twice`)
    if (item.source.kind === 'opc' && seen.get(item.source.of)?.source.kind !== 'random') {
      throw new RangeError(`${item.purpose} is an OPc of ${item.source.of}, which is not a random key before it in the plan`)
    }
    if (item.source.kind === 'derived' && !(Number.isInteger(item.source.type) && item.source.type >= 1 && item.source.type <= 255)) {
      throw new RangeError(`${item.purpose} has a derivation type that is not a byte from 1`)
    }
    seen.set(item.purpose, item)
  }
}

/** The keys of each card, as views of what the lane answered. */
export function readCards(layout: CardLayout, bytes: Uint8Array, cards: number): FilledKey[][] {
  if (bytes.length !== layout.lengthBytes * cards) throw new RangeError('the lane answered another number of bytes than the plan has')
  return Array.from({ length: cards }, (_, card) => {
    const start = card * layout.lengthBytes
    return layout.keys.map(({ plan, kcvAt, kcvLength, wrappedAt, storedAt }) => ({
      purpose: plan.purpose,
      kcv: { method: plan.kcv, value: bytes.subarray(start + kcvAt, start + kcvAt + kcvLength) },
      wrapped: bytes.subarray(start + wrappedAt, start + wrappedAt + WRAPPED_LENGTH),
      ...(storedAt === undefined ? {} : { stored: bytes.subarray(start + storedAt, start + storedAt + WRAPPED_LENGTH) }),
    }))
  })
}

import { KCV_LENGTH } from './kcv.ts'
import type { CardKeyPlan, FilledKey } from './contract.ts'

/** AES-KWP of an AES-128 key. */
export const WRAPPED_LENGTH = 24
/** The most that AES-KWP of the PKCS#8 of a P-256 key has: 138 bytes with the public key in it (RFC 5915), filled up to 8, and 8 more. SoftHSM's has 80. */
export const MOST_WRAPPED_PKCS8 = 160
/** SPKI DER of a P-256 key. */
export const P256_SPKI_LENGTH = 91
/** The most cards that one call fills. */
export const MAX_CARDS = 500

/** Where the parts of one card's keys stand in what a lane answers: one block of bytes for a whole chunk, because thousands of small arrays cost more than the keys. */
export interface CardLayout {
  readonly lengthBytes: number
  readonly keys: readonly {
    readonly plan: CardKeyPlan
    readonly kcvAt: number
    readonly kcvLength: number
    /** Of a key pair the wrapped key's length comes before it, in one byte. */
    readonly wrappedAt: number
    readonly storedAt: number | undefined
    readonly publicAt: number | undefined
  }[]
}

const isPair = ({ source }: CardKeyPlan): boolean => source.kind === 'ec-p256'

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
    wrappedAt: take(isPair(item) ? 1 + MOST_WRAPPED_PKCS8 : WRAPPED_LENGTH),
    storedAt: item.source.kind === 'random' ? take(WRAPPED_LENGTH) : undefined,
    publicAt: isPair(item) ? take(P256_SPKI_LENGTH) : undefined,
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
    if (isPair(item) !== (item.kcv === 'spki-sha256')) throw new RangeError(`${item.purpose} has a KCV that is not one of its kind of key`)
    seen.set(item.purpose, item)
  }
}

/** The keys of each card, as views of what the lane answered. */
export function readCards(layout: CardLayout, bytes: Uint8Array, cards: number): FilledKey[][] {
  if (bytes.length !== layout.lengthBytes * cards) throw new RangeError('the lane answered another number of bytes than the plan has')
  return Array.from({ length: cards }, (_, card) => {
    const part = bytes.subarray(card * layout.lengthBytes, (card + 1) * layout.lengthBytes)
    const at = (start: number, length: number): Uint8Array => part.subarray(start, start + length)
    return layout.keys.map(({ plan, kcvAt, kcvLength, wrappedAt, storedAt, publicAt }) => ({
      purpose: plan.purpose,
      kcv: { method: plan.kcv, value: at(kcvAt, kcvLength) },
      wrapped: publicAt === undefined ? at(wrappedAt, WRAPPED_LENGTH) : at(wrappedAt + 1, part[wrappedAt] ?? 0),
      ...(storedAt === undefined ? {} : { stored: at(storedAt, WRAPPED_LENGTH) }),
      ...(publicAt === undefined ? {} : { publicKey: at(publicAt, P256_SPKI_LENGTH) }),
    }))
  })
}

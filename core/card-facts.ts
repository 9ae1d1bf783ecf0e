/**
 * The states of a card that policies can name. `reserved`, `keyed`, `delivered` and `cancelled` are those that the service tells by itself;
 * the others are those of its life after that.
 */
export const CARD_STATES = [
  /** Ordered: ICCID and IMSI are taken, and there are no keys yet. */
  'reserved',
  /** Never made: the order was cancelled. */
  'cancelled',
  /** Its keys stand; nobody has them. */
  'keyed',
  /** Its vendor has fetched its keys. */
  'delivered',
  ...['produced', 'scrapped', 'lost'],
  ...['test', 'inventory', 'pending-activation', 'activated', 'outage', 'pre-closing', 'closed'],
] as const satisfies readonly string[]
export type CardState = (typeof CARD_STATES)[number]

/** Province, city and county of GB/T 2260. A province has 0000 behind it, a city 00. */
export const REGION = /^[1-9]\d{5}$/

/** What conditions of policies on cards look at. Of a card that is not known there is nothing, so that no condition on it holds. */
export interface CardFacts {
  /** {@link REGION}. Absent: its order named none. */
  readonly region?: string
  readonly cardState?: CardState
}

/** The beginning of a region and of all regions in it: `33` of the province 330000, `3301` of the city 330100, all six digits of a county. */
export const regionPrefix = (region: string): string => region.replace(/^(\d\d)0000$|^(\d{4})00$/, '$1$2')

import { Problem } from '../../../core/problem.ts'
import type { Span } from './segment.ts'

/** Times side by side, each `widthMs` wide, aligned to 1970 in UTC. Pure. */
export interface Buckets {
  readonly firstMs: number
  readonly widthMs: number
  readonly count: number
}

const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000]
const WIDTHS = [
  ...[1, 5, 15, 30].map((seconds) => seconds * SECOND),
  ...[1, 5, 15, 30].map((minutes) => minutes * MINUTE),
  ...[1, 3, 6, 12].map((hours) => hours * HOUR),
  ...[1, 7, 30, 90, 365, 3650].map((days) => days * DAY),
]

/** How many there are at most where nobody chose a width, and where somebody did. */
const MOST_CHOSEN = 60
const MOST = 500

/** Buckets over a span. Throws `request-invalid` where the width that is asked for makes too many. */
export function bucketsOver(span: Span | undefined, widthMs?: number): Buckets {
  if (span === undefined) return { firstMs: 0, widthMs: widthMs ?? SECOND, count: 0 }
  const over = (width: number): Buckets => {
    const firstMs = Math.floor(span.firstMs / width) * width
    return { firstMs, widthMs: width, count: Math.floor((span.lastMs - firstMs) / width) + 1 }
  }
  if (widthMs !== undefined) {
    const buckets = over(widthMs)
    if (buckets.count <= MOST) return buckets
    throw new Problem(
      'request-invalid',
      `That makes ${buckets.count} groups of at most ${MOST}. Ask for a wider bucketMs, or for less time by since and until.`,
    )
  }
  return WIDTHS.map(over).find(({ count }) => count <= MOST_CHOSEN) ?? over(Math.ceil((span.lastMs - span.firstMs + 1) / (MOST_CHOSEN - 1)))
}

/** Which bucket a time is in; below 0 or beyond the last: none. */
export const bucketOf = ({ firstMs, widthMs }: Buckets, ms: number): number => Math.floor((ms - firstMs) / widthMs)

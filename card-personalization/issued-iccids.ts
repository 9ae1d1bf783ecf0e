import type { IccidRange } from '../core/iccid.ts'

/**
 * ICCIDs that count as issued though the database has no order of them: a recovery of the log from the loss of entries names them, since an ICCID is issued once, ever.
 * `ranges`: in any order, overlapping or not.
 */
export class IssuedIccids {
  /** By the length of what they are of: ascending, and none touches the next. */
  readonly #byLength = new Map<number, IccidRange[]>()

  constructor(ranges: readonly IccidRange[]) {
    for (const [first, last] of ranges.toSorted((a, b) => (a[0] < b[0] ? -1 : 1))) {
      const known = this.#byLength.get(first.length) ?? []
      const before = known.at(-1)
      if (before !== undefined && first <= before[1]) known[known.length - 1] = [before[0], last > before[1] ? last : before[1]]
      else known.push([first, last])
      this.#byLength.set(first.length, known)
    }
  }

  has(iccid: string): boolean {
    const body = iccid.slice(0, -1)
    const ranges = this.#byLength.get(body.length) ?? []
    let [low, high] = [0, ranges.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((ranges[middle]?.[1] ?? '') < body) low = middle + 1
      else high = middle
    }
    const found = ranges[low]
    return found !== undefined && found[0] <= body
  }
}

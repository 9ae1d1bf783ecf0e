/** Some of the values of one axis, one bit each. `undefined`: all of them. */
export type Subset = Uint32Array | undefined

/** The requests whose value on each axis is in its subset: one subset an axis. */
export type Box = readonly Subset[]

export const subsetOf = (size: number, holds: (at: number) => boolean): Uint32Array => {
  const subset = new Uint32Array(Math.max(1, Math.ceil(size / 32)))
  for (let at = 0; at < size; at += 1) if (holds(at)) subset[at >>> 5] = (subset[at >>> 5] ?? 0) | (1 << (at & 31))
  return subset
}

export const hasValue = (subset: Subset, at: number): boolean => subset === undefined || ((subset[at >>> 5] ?? 0) & (1 << (at & 31))) !== 0

const isEmpty = (subset: Uint32Array): boolean => subset.every((word) => word === 0)
const both = (a: Subset, b: Subset): Subset => (a === undefined ? b : b === undefined ? a : a.map((word, at) => word & (b[at] ?? 0)))

function meet(a: Subset, b: Subset): boolean {
  if (a === undefined || b === undefined) return true
  for (let at = 0; at < a.length; at += 1) if (((a[at] ?? 0) & (b[at] ?? 0)) !== 0) return true
  return false
}

/** Whether `a` lies in `b`. Subsets that have all values are written `undefined`. */
function lies(a: Subset, b: Subset): boolean {
  if (b === undefined) return true
  if (a === undefined) return false
  for (let at = 0; at < a.length; at += 1) if (((a[at] ?? 0) & ~(b[at] ?? 0)) !== 0) return false
  return true
}

export const boxesMeet = (a: Box, b: Box): boolean => a.every((subset, axis) => meet(subset, b[axis]))
export const boxLiesIn = (a: Box, b: Box): boolean => a.every((subset, axis) => lies(subset, b[axis]))

export const intersection = (a: Box, b: Box): Box => a.map((subset, axis) => both(subset, b[axis]))

/** What of `a` is not in `b`, as boxes that do not meet. `full`: all values of each axis. */
export function difference(a: Box, b: Box, full: readonly Uint32Array[]): Box[] {
  const pieces: Box[] = []
  let rest: Box = a
  a.forEach((subset, axis) => {
    const taken = b[axis]
    if (taken === undefined) return
    const all = subset ?? full[axis] ?? taken
    const left = all.map((word, at) => word & ~(taken[at] ?? 0))
    if (!isEmpty(left)) pieces.push(rest.with(axis, left))
    rest = rest.with(axis, both(all, taken))
  })
  return pieces
}

/** How much work is left. Whoever runs out says so. */
export interface Budget {
  steps: number
}

export class BudgetError extends Error {
  override readonly name = 'BudgetError'
}

export const spend = (budget: Budget): void => {
  budget.steps -= 1
  if (budget.steps < 0) throw new BudgetError('too much to be looked at')
}

/**
 * A part of `box` that none of `others` holds; undefined where they hold all of it.
 * It takes the one that holds most of the box, and goes on with each piece that is left and those of the others that meet it. Throws a {@link BudgetError}.
 */
export function uncovered(box: Box, others: readonly Box[], full: readonly Uint32Array[], budget: Budget): Box | undefined {
  spend(budget)
  let [best, fewest] = [undefined as Box | undefined, Number.POSITIVE_INFINITY]
  const meeting: Box[] = []
  for (const other of others) {
    if (!boxesMeet(box, other)) continue
    meeting.push(other)
    let open = 0
    for (let axis = 0; axis < box.length; axis += 1) if (!lies(box[axis], other[axis])) open += 1
    if (open === 0) return undefined
    if (open < fewest) [best, fewest] = [other, open]
  }
  if (best === undefined) return box
  for (const piece of difference(box, best, full)) {
    const found = uncovered(piece, meeting, full, budget)
    if (found !== undefined) return found
  }
  return undefined
}

import { outcomeOf } from './analyse.ts'
import { type Box, boxesMeet, type Budget, BudgetError, difference, intersection, spend } from './box.ts'
import type { Decide } from './compile.ts'
import type { Asked, Decision } from './decide.ts'
import type { ResolvedPolicy } from './resolve.ts'
import { Universe } from './universe.ts'

/** What changes for some requests. `changed-terms`: the verdict stays, and what it claims or logs does not. */
export type Change = 'newly-allowed' | 'newly-denied' | 'newly-held' | 'changed-terms'

/** Requests that one rule decided before and another decides now, or the default. */
export interface Region {
  readonly change: Change
  readonly before: { readonly effect: Decision['effect']; readonly rule: string }
  readonly after: { readonly effect: Decision['effect']; readonly rule: string }
  /** A request that the two policies do decide so: it was put to both. */
  readonly example: Asked
  /** The part of the region that the example is of, in words, one for each axis on which it is not everything. */
  readonly where: readonly string[]
}

export interface Difference {
  readonly regions: readonly Region[]
  /** Why there may be more differences than these. Empty: there are none. */
  readonly undecided: readonly string[]
}

interface Entry {
  readonly id: string
  readonly effect: Decision['effect']
  readonly outcome: string
  readonly box: Box
  readonly key: string
}

const DEFAULT = { effect: 'deny', id: 'default', outcome: JSON.stringify(['deny', null, null, null, null]) } as const
type Decided = Pick<Entry, 'id' | 'effect' | 'outcome'>

const STEPS = 300_000
/** Products of the numbers of changed rules up to which their order is compared exactly. */
const MOST_COMPARED = 4_000_000
/** Boxes of one pair of rules in which an example is looked for. */
const MOST_TRIED = 20

/**
 * How the requests from `at` on are decided differently by two policies. Names, comments and owners of rules are no difference, nor is their order where it does not matter.
 *
 * Both policies are lists of boxes in one universe. Where no rule that was added, taken out or moved matches, both decide the same; so only boxes of such rules are cut up, until in each piece
 * both policies have one answer. Each region is told with a request that was put to both engines; where none was found, or the work was too much, `undecided` says so.
 */
export function compareMeaning(
  before: { readonly policy: ResolvedPolicy; readonly decide: Decide },
  after: { readonly policy: ResolvedPolicy; readonly decide: Decide },
  at: number,
): Difference {
  const universe = new Universe([before.policy, after.policy], at)
  const [old, fresh] = [entriesOf(universe, 0), entriesOf(universe, 1)]
  const undecided = new Set<string>()
  if (!universe.isComplete) undecided.add('Facts are compared with more patterns, or in more ways, than could be told apart.')
  const regions = new Map<string, Region>()
  const tried = new Map<string, number>()
  const budget: Budget = { steps: STEPS }

  const report = (box: Box, was: Decided, is: Decided): void => {
    const key = `${was.id} ${is.id} ${was.effect} ${is.effect}`
    const count = tried.get(key) ?? 0
    if (regions.has(key) || count >= MOST_TRIED) return
    tried.set(key, count + 1)
    const example = universe.realise(box)
    if (example === undefined || !isDecided(before.decide, example, was) || !isDecided(after.decide, example, is)) return
    const ends = { before: { effect: was.effect, rule: was.id }, after: { effect: is.effect, rule: is.id } }
    regions.set(key, { change: changeOf(was, is), ...ends, example, where: universe.describe(box) })
  }

  try {
    for (const box of changedBoxes(old, fresh)) walk(box, old, fresh, { universe, budget, report })
  } catch (error) {
    if (!(error instanceof BudgetError)) throw error
    undecided.add('The policies differ in too many ways to look at all of them.')
  }
  for (const key of tried.keys()) {
    const [was, is] = key.split(' ')
    if (!regions.has(key)) undecided.add(`What ${was ?? ''} decided and ${is ?? ''} would decide otherwise: no real request was found for it.`)
  }
  return { regions: [...regions.values()], undecided: [...undecided] }
}

const changeOf = (was: Decided, is: Decided): Change =>
  was.effect === is.effect ? 'changed-terms' : is.effect === 'allow' ? 'newly-allowed' : is.effect === 'deny' ? 'newly-denied' : 'newly-held'

/** Whether the engine says so too. */
function isDecided(decide: Decide, asked: Asked, { id, effect }: Decided): boolean {
  const decision = decide(asked)
  return decision.rule === id && decision.effect === effect
}

function entriesOf(universe: Universe, index: number): Entry[] {
  return universe.flatten(index).flatMap(({ rule, boxes }) => {
    const outcome = outcomeOf(rule)
    return boxes.map((box) => ({
      id: rule.id,
      effect: rule.verdict,
      outcome,
      box,
      key: `${outcome} ${box.map((subset) => subset?.join(',') ?? '*').join(' ')}`,
    }))
  })
}

/** Boxes of rules that only one of the policies has, or has in another order. Where none of them matches, the first rule that does is the same in both. */
function changedBoxes(old: readonly Entry[], fresh: readonly Entry[]): Box[] {
  let start = 0
  while (start < old.length && start < fresh.length && old[start]?.key === fresh[start]?.key) start += 1
  let end = 0
  while (end < old.length - start && end < fresh.length - start && old.at(-1 - end)?.key === fresh.at(-1 - end)?.key) end += 1
  const [a, b] = [old.slice(start, old.length - end), fresh.slice(start, fresh.length - end)]
  const [keptOld, keptFresh] = a.length * b.length <= MOST_COMPARED ? longestCommon(a, b) : [new Set<number>(), new Set<number>()]
  return [...a.filter((_entry, at) => !keptOld.has(at)), ...b.filter((_entry, at) => !keptFresh.has(at))].map(({ box }) => box)
}

/** Places of a longest common subsequence in both lists. */
function longestCommon(a: readonly Entry[], b: readonly Entry[]): readonly [Set<number>, Set<number>] {
  const width = b.length + 1
  const lengths = new Uint32Array((a.length + 1) * width)
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      const [down, right, both] = [lengths[(i + 1) * width + j] ?? 0, lengths[i * width + j + 1] ?? 0, lengths[(i + 1) * width + j + 1] ?? 0]
      lengths[i * width + j] = a[i]?.key === b[j]?.key ? both + 1 : Math.max(down, right)
    }
  }
  const [inA, inB] = [new Set<number>(), new Set<number>()]
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i]?.key === b[j]?.key) {
      inA.add(i)
      inB.add(j)
      i += 1
      j += 1
    } else if ((lengths[(i + 1) * width + j] ?? 0) >= (lengths[i * width + j + 1] ?? 0)) i += 1
    else j += 1
  }
  return [inA, inB]
}

interface Walk {
  readonly universe: Universe
  readonly budget: Budget
  readonly report: (box: Box, was: Decided, is: Decided) => void
}

/** Cuts a box up by the old rules, then each piece by the new ones, as long as the rules that meet it are not the same. */
function walk(box: Box, old: readonly Entry[], fresh: readonly Entry[], context: Walk): void {
  spend(context.budget)
  const [was, is] = [old.filter((entry) => boxesMeet(entry.box, box)), fresh.filter((entry) => boxesMeet(entry.box, box))]
  if (was.length === is.length && was.every(({ key }, at) => key === is[at]?.key)) return
  const [first] = was
  if (first === undefined) {
    walkFresh(box, DEFAULT, is, context)
    return
  }
  walkFresh(intersection(box, first.box), first, is, context)
  for (const piece of difference(box, first.box, context.universe.full)) walk(piece, was.slice(1), is, context)
}

function walkFresh(box: Box, was: Decided, fresh: readonly Entry[], context: Walk): void {
  spend(context.budget)
  const is = fresh.filter((entry) => boxesMeet(entry.box, box))
  if (was.outcome === DEFAULT.outcome && is.every(({ outcome }) => outcome === was.outcome)) return
  const [first] = is
  if (first === undefined) {
    if (was.outcome !== DEFAULT.outcome) context.report(box, was, DEFAULT)
    return
  }
  if (first.outcome !== was.outcome) context.report(intersection(box, first.box), was, first)
  for (const piece of difference(box, first.box, context.universe.full)) walkFresh(piece, was, is.slice(1), context)
}

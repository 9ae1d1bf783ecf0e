import { type Box, boxesMeet, boxLiesIn, type Budget, BudgetError, difference, spend, uncovered } from './box.ts'
import type { Decide } from './compile.ts'
import type { Asked } from './decide.ts'
import type { ResolvedPolicy, ResolvedRule } from './resolve.ts'
import { Universe } from './universe.ts'

/**
 * What is odd about a rule, in the words of Al-Shaer and Hamed (2003), and more:
 * `unreachable`: no request can meet all its conditions. `shadowed`: rules before it, alone or together, take all its requests, and not all of them do the same with them.
 * `redundant`: without it every request would be decided the same. `correlated`: it and an earlier rule that does otherwise share some requests, so that their order matters.
 * `generalised`: it does otherwise than an earlier rule that is an exception to it. `expired`, `never-hit`: it matches nothing any more; it has matched nothing yet.
 * `undecided`: the question named was too much work, or has an answer that no request was found for.
 */
export type Anomaly = 'unreachable' | 'shadowed' | 'redundant' | 'correlated' | 'generalised' | 'expired' | 'never-hit' | 'undecided'

export interface Finding {
  readonly anomaly: Anomaly
  readonly rule: string
  /** The other rules that make it so. Of many, the first. */
  readonly by: readonly string[]
  readonly message: string
}

export interface Analysis {
  /** In the order of rules. Of a kind at most 1,000. */
  readonly findings: readonly Finding[]
  /** How many more of each kind there are. */
  readonly more: Readonly<Partial<Record<Anomaly, number>>>
}

const MOST_OF_A_KIND = 1000
const MOST_NAMED = 8
/** Steps for one question about one rule, and for all of them together. */
const STEPS_OF_RULE = 4000
const STEPS_OF_ALL = 1_000_000

interface Entry {
  readonly rule: ResolvedRule
  readonly boxes: readonly Box[]
  readonly outcome: string
}

/** What a rule does with its requests: verdict, what it claims, what it logs. */
export const outcomeOf = ({ verdict, terms, log, owner, reason, ticket, expires }: ResolvedRule): string =>
  JSON.stringify([
    verdict,
    terms.rate ?? null,
    terms.quota === undefined ? null : { ...terms.quota, clock: terms.quota.clock.timeZone },
    terms.hold ?? null,
    log === 'full' ? [owner, reason, ticket ?? null, expires ?? null] : null,
  ])
/** Where no rule decides. */
export const DENIED = JSON.stringify(['deny', null, null, null, null])

/**
 * Looks for anomalies among the rules as they are from `at` on: pair by pair first, then exactly, by covering a rule with the union of others. `hits`: how often each rule has decided, where that is known.
 * Every rule that is not reported as unreachable, shadowed or undecided decides some request; that request is found, and put to the engine.
 */
export function analysePolicy(
  policy: ResolvedPolicy,
  { decide, at, hits }: { readonly decide: Decide; readonly at: number; readonly hits?: ReadonlyMap<string, number> },
): Analysis {
  const universe = new Universe([policy], at)
  const entries = universe.flatten(0).map(({ rule, boxes }): Entry => ({ rule, boxes, outcome: outcomeOf(rule) }))
  const findings: Finding[] = []
  const counts = new Map<Anomaly, number>()
  const find = (anomaly: Anomaly, { id }: ResolvedRule, by: readonly string[], message: string): void => {
    const count = (counts.get(anomaly) ?? 0) + 1
    counts.set(anomaly, count)
    if (count <= MOST_OF_A_KIND) findings.push({ anomaly, rule: id, by: by.slice(0, MOST_NAMED), message })
  }
  const left: Budget = { steps: STEPS_OF_ALL }
  /** The answer within the budget of one question, or undefined. */
  const within = <Answer>(work: (budget: Budget) => Answer): { readonly answer: Answer } | undefined => {
    const budget = { steps: Math.min(STEPS_OF_RULE, left.steps) }
    const given = budget.steps
    try {
      return { answer: work(budget) }
    } catch (error) {
      if (error instanceof BudgetError) return undefined
      throw error
    } finally {
      left.steps -= given - Math.max(0, budget.steps)
    }
  }

  entries.forEach((entry, index) => {
    const { rule, boxes, outcome } = entry
    if (rule.path === undefined) return
    if (rule.expiresMs !== undefined && rule.expiresMs <= at) {
      find('expired', rule, [], `It expired at ${rule.expires ?? ''}.`)
      return
    }
    if (hits !== undefined && (hits.get(rule.id) ?? 0) === 0) find('never-hit', rule, [], 'It has decided nothing yet.')
    if (boxes.length === 0) {
      find('unreachable', rule, [], 'No request can meet all its conditions.')
      return
    }
    const before = entries.slice(0, index).filter((other) => meet(other, entry))
    const taken = takenBy(entry, before, universe, within)
    if (taken === undefined) find('undecided', rule, [], 'Whether the rules before it take all its requests was too much to be found out.')
    else if (taken.witness === undefined) {
      const names = taken.by.map((other) => other.rule.id)
      if (taken.by.every((other) => other.outcome === outcome))
        find('redundant', rule, names, `${told(names)} take all its requests before it, and do the same with them.`)
      else find('shadowed', rule, names, `${told(names)} take all its requests before it: it never decides.`)
      return
    } else if (!decides(rule, universe.realise(taken.witness), decide)) {
      find('undecided', rule, [], 'The rules before it leave something to it, but no real request was found for that.')
    }

    const after = entries.slice(index + 1).filter((other) => meet(other, entry))
    const needless = within((budget) => boxes.every((box) => isSameAfter(box, [...before, ...after], { outcome, skip: before.length, universe, budget })))
    if (needless === undefined) find('undecided', rule, [], 'Whether it could be left out was too much to be found out.')
    else if (needless.answer) {
      const names = after.filter((other) => other.outcome === outcome).map((other) => other.rule.id)
      find('redundant', rule, names, names.length > 0 ? `Without it, ${told(names)} would do the same.` : 'Without it, requests would be denied all the same.')
    }
    for (const other of before) {
      if (other.rule.chain === undefined || other.rule.verdict === rule.verdict) continue
      if (other.boxes.every((box) => boxes.some((own) => boxLiesIn(box, own))))
        find('generalised', rule, [other.rule.id], `${other.rule.id} is an exception to it.`)
      else if (!boxes.every((box) => other.boxes.some((own) => boxLiesIn(box, own))))
        find('correlated', rule, [other.rule.id], `It shares requests with ${other.rule.id}, which does otherwise and comes first: their order matters.`)
    }
  })
  const more = [...counts].filter(([, count]) => count > MOST_OF_A_KIND).map(([anomaly, count]) => [anomaly, count - MOST_OF_A_KIND])
  return { findings, more: Object.fromEntries(more) as Analysis['more'] }
}

const told = (names: readonly string[]): string => `${names.slice(0, MOST_NAMED).join(', ')}${names.length > MOST_NAMED ? ' and others' : ''}`

const meet = (a: Entry, b: Entry): boolean => a.boxes.some((one) => b.boxes.some((other) => boxesMeet(one, other)))

type Within = <Answer>(work: (budget: Budget) => Answer) => { readonly answer: Answer } | undefined

/** Whether the rules before take all that a rule matches: by which, or a box that they leave. Undefined: it could not be found out. */
function takenBy(
  { boxes }: Entry,
  before: readonly Entry[],
  { full }: Universe,
  within: Within,
): { readonly by: readonly Entry[]; readonly witness?: undefined } | { readonly witness: Box } | undefined {
  const alone = before.find((other) => boxes.every((box) => other.boxes.some((one) => boxLiesIn(box, one))))
  if (alone !== undefined) return { by: [alone] }
  const found = within((budget) => {
    for (const box of boxes) {
      const witness = uncovered(
        box,
        before.flatMap((other) => other.boxes),
        full,
        budget,
      )
      if (witness !== undefined) return witness
    }
    return undefined
  })
  if (found === undefined) return undefined
  return found.answer === undefined ? { by: before } : { witness: found.answer }
}

const decides = (rule: ResolvedRule, asked: Asked | undefined, decide: Decide): boolean => asked !== undefined && decide(asked).rule === rule.id

/** Whether every request in the box would come out as `outcome` by the others in their order; what the first `skip` of them take does not matter. Throws a {@link BudgetError}. */
function isSameAfter(
  box: Box,
  others: readonly Entry[],
  { outcome, skip, universe, budget }: { readonly outcome: string; readonly skip: number; readonly universe: Universe; readonly budget: Budget },
): boolean {
  spend(budget)
  for (const [at, other] of others.entries()) {
    const met = other.boxes.find((one) => boxesMeet(box, one))
    if (met === undefined) continue
    if (at >= skip && other.outcome !== outcome) return false
    // The rest of the same rule may hold another part.
    return difference(box, met, universe.full).every((piece) =>
      isSameAfter(piece, others.slice(at), { outcome, skip: Math.max(0, skip - at), universe, budget }),
    )
  }
  return outcome === DENIED
}

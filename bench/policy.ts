import fc from 'fast-check'
import { stringify } from 'yaml'
import { analysePolicy } from '../policies/firewall/analyse.ts'
import { compileRules, type Decide } from '../policies/firewall/compile.ts'
import type { Asked } from '../policies/firewall/decide.ts'
import { explainer } from '../policies/firewall/explain.ts'
import { compareMeaning } from '../policies/firewall/meaning.ts'
import { parsePolicy, type Policy } from '../policies/firewall/parse.ts'
import { resolvePolicy } from '../policies/firewall/resolve.ts'
import type { PolicyDocument } from '../policies/firewall/schema.ts'
import { OPERATIONS, policies, requests } from '../policies/firewall/testing/arbitrary.ts'
import { cedarDecide } from '../policies/firewall/testing/cedar.ts'
import { LARGE_OPERATIONS, largePolicy, largeRequests } from '../policies/firewall/testing/large-policy.ts'
import { decideByReference } from '../policies/firewall/testing/reference.ts'
import type { Options } from './options.ts'
import { type Report, result, type Result } from './report.ts'

const SIZES = [10, 100, 1000, 10_000] as const
/** Different requests, each asked many times over. */
const REQUESTS = 5000
const DECISIONS = 300_000
/** Cedar takes milliseconds at the larger sizes. */
const CEDAR_DECISIONS: Readonly<Record<(typeof SIZES)[number], number>> = { 10: 4000, 100: 2000, 1000: 500, 10_000: 100 }
/** Microseconds. */
const GOALS: Readonly<Record<string, number>> = { 'p50 1000': 2, 'p99 1000': 20, 'p50 10000': 5 }
const RUNS = 5
const EXHAUSTIVE = { policies: 1000, requests: 1000 } as const

/**
 * The firewall alone: no gate, no log. Policies and requests are those of large-policy.ts; all rules allow, so that Cedar, which has no order, decides the same, and is checked to.
 * Cedar's policies are parsed once; each of its decisions takes the request as JSON, which is how it is called from here.
 */
export function benchPolicy(say: (line: string) => void, options: Options): Promise<Report> {
  if (options.flag('exhaustive')) return Promise.resolve(exhaustive(say))
  const results: Result[] = []
  for (const rules of SIZES) {
    const document = largePolicy({ rules })
    const policy = policyOf(document)
    const compiling = median(RUNS, () => void compileRules(resolvePolicy(policy, LARGE_OPERATIONS)))
    const decide = compileRules(resolvePolicy(policy, LARGE_OPERATIONS))
    const asked = largeRequests({ document, count: REQUESTS })
    const cedar = cedarDecide(`bench ${String(rules)}`, document, LARGE_OPERATIONS)
    const some = asked.slice(0, CEDAR_DECISIONS[rules])
    assertSame(some, decide, cedar)

    const own = percentiles(DECISIONS, asked, decide)
    const theirs = percentiles(CEDAR_DECISIONS[rules], some, cedar)
    say(`${String(rules)} rules: p50 ${own.p50.toFixed(2)} µs, p99 ${own.p99.toFixed(2)} µs; Cedar ${theirs.p50.toFixed(0)} and ${theirs.p99.toFixed(0)} µs`)
    for (const at of ['p50', 'p99'] as const) {
      const metric = `${at} ${String(rules)}`
      const goal = GOALS[metric]
      results.push(result({ metric, value: own[at], unit: 'µs', limit: theirs[at], ...(goal === undefined ? {} : { goal, goalIs: 'at-most' }) }))
    }
    if (rules === 10_000) {
      const text = stringify(document, { aliasDuplicateObjects: false })
      results.push(result({ metric: 'compile 10000', value: compiling, unit: 'ms', goal: 1000, goalIs: 'at-most' }))
      results.push(result({ metric: 'parse 10000', value: median(3, () => void parsePolicy(text, LARGE_OPERATIONS)), unit: 'ms' }))
    }
    if (rules === 1000) results.push(...thousand(say))
  }
  return Promise.resolve({
    bench: 'policy',
    results,
    notes: [
      `limit: @cedar-policy/cedar-wasm on the same rules, parsed once, and the same requests. Timed one by one: some 0.05 µs of each is the clock's.`,
      'explain: the slowest 1 % of 1,000 requests, each the median of five. compile: from the parsed document to the decision function, tables and all. parse: from the text to the document, with every check of the language.',
    ],
  })
}

/** What is done with 1,000 rules, some of which deny, besides deciding. */
function thousand(say: (line: string) => void): Result[] {
  const document = largePolicy({ rules: 1000, mixed: true })
  const resolved = resolvePolicy(policyOf(document), LARGE_OPERATIONS)
  const decide = compileRules(resolved)
  const explain = explainer(resolved, decide)
  const asked = largeRequests({ document, count: 1000 })
  const at = asked[0]?.at ?? 0
  // Of each request the median of five: garbage and neighbours have no part in it.
  const explaining = asked.map((one) => median(RUNS, () => void explain(one)) * 1000).sort((a, b) => a - b)
  const analysing = median(RUNS, () => void analysePolicy(resolved, { decide, at }))
  const changed: PolicyDocument = {
    ...document,
    chains: document.chains.map((chain) => ({ ...chain, rules: chain.rules.filter((_rule, index) => index % 100 !== 50) })),
  }
  const other = resolvePolicy(policyOf(changed), LARGE_OPERATIONS)
  const after = { policy: other, decide: compileRules(other) }
  const compared = compareMeaning({ policy: resolved, decide }, after, at)
  const comparing = median(RUNS, () => void compareMeaning({ policy: resolved, decide }, after, at))
  say(`without ten of the 1,000 rules: ${String(compared.regions.length)} regions, ${String(compared.undecided.length)} undecided`)
  return [
    result({ metric: 'explain 1000', value: explaining[Math.floor(asked.length * 0.99)] ?? 0, unit: 'µs', goal: 1000, goalIs: 'at-most' }),
    result({ metric: 'analyse 1000', value: analysing / 1000, unit: 's', goal: 5, goalIs: 'at-most' }),
    result({ metric: 'meaning 1000', value: comparing / 1000, unit: 's' }),
  ]
}

/** Random policies and requests by the engine and by the reference evaluator. Throws at the first difference. */
function exhaustive(say: (line: string) => void): Report {
  const start = performance.now()
  let decided = 0
  fc.assert(
    fc.property(policies(), fc.nat(), (policy, seed) => {
      const decide = compileRules(resolvePolicy(policy, OPERATIONS))
      for (const asked of fc.sample(requests, { numRuns: EXHAUSTIVE.requests, seed })) {
        const { effect, rule } = decide(asked)
        const wanted = decideByReference(policy, OPERATIONS, asked)
        if (effect !== wanted.effect || rule !== wanted.rule)
          throw new Error(`${effect} by ${rule}, and by the reference ${wanted.effect} by ${wanted.rule}: ${JSON.stringify(asked)}`)
        decided += 1
        if (decided % 100_000 === 0) say(`${String(decided)} decisions, no difference`)
      }
    }),
    { numRuns: EXHAUSTIVE.policies },
  )
  return {
    bench: 'policy',
    results: [
      result({ metric: 'exhaustive', value: decided, unit: 'decisions without a difference', goal: EXHAUSTIVE.policies * EXHAUSTIVE.requests }),
      result({ metric: 'exhaustive in', value: (performance.now() - start) / 1000, unit: 's' }),
    ],
  }
}

const policyOf = (document: PolicyDocument): Policy => parsePolicy(stringify(document, { aliasDuplicateObjects: false }), LARGE_OPERATIONS)

function assertSame(asked: readonly Asked[], decide: Decide, cedar: ReturnType<typeof cedarDecide>): void {
  let allowed = 0
  for (const one of asked) {
    const allows = decide(one).effect === 'allow'
    if (allows !== cedar(one).allows) throw new Error(`Cedar decides otherwise: ${JSON.stringify(one)}`)
    if (allows) allowed += 1
  }
  if (allowed === 0 || allowed === asked.length) throw new Error('every request is decided the same: nothing is measured')
}

/** Microseconds, one by one, after as many that are not counted. */
function percentiles(count: number, asked: readonly Asked[], work: (asked: Asked) => unknown): { readonly p50: number; readonly p99: number } {
  const times = new Float64Array(count)
  for (let round = 0; round < 2; round += 1) {
    for (let at = 0; at < count; at += 1) {
      const one = asked[at % asked.length] as Asked
      const start = performance.now()
      work(one)
      times[at] = performance.now() - start
    }
  }
  times.sort()
  const at = (share: number): number => (times[Math.floor(count * share)] ?? 0) * 1000
  return { p50: at(0.5), p99: at(0.99) }
}

/** Milliseconds. */
function median(runs: number, work: () => void): number {
  const times = Array.from({ length: runs }, () => {
    const start = performance.now()
    work()
    return performance.now() - start
  }).sort((a, b) => a - b)
  return times[Math.floor(runs / 2)] ?? 0
}

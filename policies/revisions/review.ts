import type { Fault } from '../../core/problem.ts'
import type { Analysis, Difference, FailedTest, OperationFacts } from '../firewall/index.ts'
import { analysePolicy, compareMeaning, compileOldPolicyText, compilePolicyText, PolicyError, runTests } from '../firewall/index.ts'

/** What is to be found out about a policy. */
export interface ReviewJob {
  /** `analyse`: its tests, and rules of no use. `compare`: what it decides otherwise than `base`, which may name operations that are not there any more. */
  readonly kind: 'analyse' | 'compare'
  readonly text: string
  readonly base?: string
  readonly operations: readonly OperationFacts[]
  /** Milliseconds: the time that it is looked at from. */
  readonly at: number
  /** How often each rule has decided, where that is known. */
  readonly hits?: ReadonlyMap<string, number>
}

export interface AnalysisFound extends Analysis {
  readonly rules: number
  readonly tests: number
  /** Tests of its own that it fails. At most 100. */
  readonly failed: readonly FailedTest[]
}

export type Review =
  | { readonly ok: true; readonly analysis?: AnalysisFound; readonly difference?: Difference }
  /** A text that is no policy. */
  | { readonly ok: false; readonly of: 'text' | 'base'; readonly faults: readonly Fault[] }

const MOST_FAILED = 100
/** Regions that are told of. */
const MOST_REGIONS = 500

/** Pure. It takes as long as it takes, and as much memory: see reviewer.ts. */
export function review({ kind, text, base, operations, at, hits }: ReviewJob): Review {
  let of: 'text' | 'base' = 'text'
  try {
    const fresh = compilePolicyText(text, operations)
    if (kind === 'analyse') {
      const { findings, more } = analysePolicy(fresh.resolved, { decide: fresh.decide, at, ...(hits === undefined ? {} : { hits }) })
      const failed = runTests(fresh.policy, { ...fresh, now: at }).slice(0, MOST_FAILED)
      const rules = fresh.resolved.rules.filter(({ path }) => path !== undefined).length
      return { ok: true, analysis: { findings, more, failed, rules, tests: fresh.policy.document.tests.length } }
    }
    of = 'base'
    const old = compileOldPolicyText(base ?? '', operations)
    const { regions, undecided } = compareMeaning({ policy: old.resolved, decide: old.decide }, { policy: fresh.resolved, decide: fresh.decide }, at)
    const left = regions.length - MOST_REGIONS
    const untold = left > 0 ? [`There are ${String(left)} more differences than are told here.`] : []
    return { ok: true, difference: { regions: regions.slice(0, MOST_REGIONS), undecided: [...undecided, ...untold] } }
  } catch (error) {
    if (error instanceof PolicyError) return { ok: false, of, faults: error.faults }
    throw error
  }
}

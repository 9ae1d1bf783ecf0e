import { ADMITTED_AT_ANY_TIME, type Caller, type CallerKind, callerUrn, needsAdmission } from '../caller.ts'
import { keyId } from '../../core/ids.ts'
import type { Fault } from '../../core/problem.ts'
import type { Decide } from './compile.ts'
import type { Asked, Decision } from './decide.ts'
import { type Explanation, explainer } from './explain.ts'
import type { Policy } from './parse.ts'
import type { ResolvedPolicy } from './resolve.ts'
import { type PolicyTest, TEST_ASK } from './schema.ts'

/** A test of the policy that did not come out as it expects. */
export interface FailedTest extends Fault {
  readonly name: string
}

/** Reads a question that is put the way tests put theirs: the question, or what is wrong with it. */
export function parseTestAsk(ask: unknown): { readonly ask: PolicyTest['ask']; readonly faults?: undefined } | { readonly faults: readonly string[] } {
  const parsed = TEST_ASK.safeParse(ask)
  if (parsed.success) return { ask: parsed.data }
  return { faults: parsed.error.issues.map(({ path, message }) => `${path.join('.')}: expected ${message}`) }
}

/** What a test asks. `now`: the time of tests that name none. */
export function askedBy({ ask }: Pick<PolicyTest, 'ask'>, now: number): Asked {
  const [kind, name = ''] = ask.caller.split(':') as [CallerKind, string?]
  const caller: Caller = {
    ...{ kind, name, id: callerUrn({ kind, name }) },
    ...(ask.address === undefined ? {} : { address: ask.address }),
    ...(kind === 'system' ? {} : { listener: ask.listener ?? 'tls' }),
    ...(kind === 'system' || ask.strength === 'none' ? {} : { strength: ask.strength ?? 'certificate' }),
    ...(needsAdmission(kind) && ask.admitted !== false ? { admittedUntil: ADMITTED_AT_ANY_TIME } : {}),
  }
  return {
    ...{ caller, operation: ask.operation, at: ask.at === undefined ? now : Date.parse(ask.at) },
    uses: ask.usesKey === true ? [{ action: 'sign', keyId: keyId('tested') }] : [],
    facts: Object.fromEntries(Object.entries(ask.facts ?? {}).map(([fact, value]) => [fact, value === '$caller' ? callerUrn(caller) : value])),
  }
}

/** Puts each of the policy's own tests to it. Pure: `now` is the time of tests that name none. */
export function runTests(
  { document, locate }: Policy,
  { resolved, decide, now }: { readonly resolved: ResolvedPolicy; readonly decide: Decide; readonly now: number },
): FailedTest[] {
  const explain = explainer(resolved, decide)
  return document.tests.flatMap((test, at): FailedTest[] => {
    const asked = askedBy(test, now)
    const decision = attempt(decide, asked)
    const { verdict, rule } = test.expect
    if (decision.effect === verdict && (rule === undefined || decision.rule === rule)) return []
    const wanted = `${verdict}${rule === undefined ? '' : ` by ${rule}`}`
    const message = `test "${test.name}": found ${decision.effect} by ${decision.rule}, expected ${wanted}${decision.rule === 'error' ? '' : why(explain(asked), test.expect)}`
    return [{ ...locate(['tests', at, 'expect']), name: test.name, message }]
  })
}

/** An error denies, as in the gate. */
function attempt(decide: Decide, asked: Asked): Pick<Decision, 'effect' | 'rule'> {
  try {
    return decide(asked)
  } catch {
    return { effect: 'deny', rule: 'error' }
  }
}

/** What stopped the rule that was expected; else what stopped the nearest that would have decided so. */
function why({ zones, chain, nearMisses }: Explanation, { verdict, rule }: PolicyTest['expect']): string {
  const place = ` (zones ${zones.join(', ') || 'none'}, chain ${chain ?? 'none'})`
  const miss = nearMisses.find((one) => (rule === undefined ? one.effect === verdict && !one.rule.startsWith('guard:') : one.rule === rule))
  return miss === undefined ? place : `${place}; ${miss.dimension} stopped ${miss.rule}: found ${miss.found}, wanted ${miss.wanted}`
}

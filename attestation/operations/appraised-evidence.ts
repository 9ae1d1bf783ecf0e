import { z } from 'zod'
import type { Permit } from '../../policies/permit.ts'
import { appraise, type BindingState, type EvidenceReason, judge, pairOf, stateOf } from '../appraisal.ts'
import { compare, deviceOf, type Pair, type Standing } from '../binding.ts'
import { type Finding, signResults } from '../signed-result.ts'
import type { Deps } from './deps.ts'
import { type SpendingEvidence, toldReasons } from './evidence-target.ts'
import { found } from '../../core/found.ts'
import { RESULT } from './views.ts'

interface Evaluated extends SpendingEvidence {
  /** Why it is not the card's; empty where it is. */
  readonly reasons: readonly EvidenceReason[]
  readonly pair: Pair
}

export interface AppraisedEvidence {
  readonly pair: Pair
  readonly verdict: 'affirming' | 'warning' | 'contraindicated'
  /** As the log has them. */
  readonly reasons: readonly string[]
  readonly told: readonly string[]
  readonly binding: 'unknown' | BindingState
  readonly token: string
}

export const APPRAISAL = z
  .strictObject({
    verdict: z.enum(['affirming', 'warning', 'contraindicated']).meta({ description: 'affirming: the card proved itself in the device that it is bound to.' }),
    reasons: z.array(z.string()),
    imei: z.string().meta({ description: 'As the evidence says: 14 digits.' }),
    udid: z.string().optional(),
    binding: z
      .enum(['unknown', 'unbound', 'bound', 'conflict', 'contradicted'])
      .meta({ description: 'unknown: the evidence is not the card’s, so it was not compared. contradicted: the card or the device is bound to another.' }),
    result: RESULT,
  })
  .meta({ id: 'Appraisal' })

const VERDICT = { 2: 'affirming', 32: 'warning', 96: 'contraindicated' } as const

/** Verifications under way at once: the event loop gets its turn behind some 2 ms of key making. */
const AT_ONCE = 16

/** sign ROOT_KEYS.result. Evaluates each, compares those that are their cards' with what is bound, and signs what is found, by one statement and one call. In their order. */
export async function appraiseAll(deps: Deps, permit: Permit, items: readonly SpendingEvidence[]): Promise<AppraisedEvidence[]> {
  const evaluated = await evaluate(deps, items)
  const proved = evaluated.filter((one) => one.reasons.length === 0)
  const touching = await deps.bindings.touchingEach(proved.map(({ pair }) => pair))
  const standings = new Map(proved.map((one, at) => [one.pair, compare(one.pair, touching[at] ?? [])]))
  const conclusions = evaluated.map((one) => conclude(one, standings.get(one.pair)))
  const tokens = await signResults(
    deps,
    permit,
    conclusions.map(({ finding }) => finding),
  )
  return conclusions.map(({ appraised }, at) => ({ ...appraised, token: found(tokens[at]) }))
}

/** `standing`: of evidence that is the card's. */
function conclude(
  { challenge, card, pair, reasons }: Evaluated,
  standing: Standing | undefined,
): { readonly appraised: Omit<AppraisedEvidence, 'token'>; readonly finding: Finding } {
  if (standing === undefined) {
    const told = toldReasons(reasons)
    return {
      appraised: { pair, verdict: 'contraindicated', reasons, told, binding: 'unknown' },
      finding: { challenge, card, vector: { 'instance-identity': 96 }, reasons: told },
    }
  }
  const [state, { configuration, reasons: told }] = [stateOf(standing), judge(standing)]
  return {
    appraised: { pair, verdict: VERDICT[configuration], reasons: told, told, binding: state },
    finding: { challenge, card, vector: { 'instance-identity': 2, configuration }, reasons: told, binding: { state, ...deviceOf(pair) } },
  }
}

async function evaluate(deps: Deps, items: readonly SpendingEvidence[]): Promise<Evaluated[]> {
  const evaluated: Evaluated[] = []
  for (let at = 0; at < items.length; at += AT_ONCE) {
    const part = items.slice(at, at + AT_ONCE)
    const reasons = await Promise.all(part.map((item) => appraise(deps, item)))
    evaluated.push(...part.map((item, index) => ({ ...item, reasons: found(reasons[index]), pair: pairOf(item.challenge, item.evidence) })))
  }
  return evaluated
}

/** What the log says of it. */
export const appraisalFacts = ({ verdict, reasons, binding }: AppraisedEvidence): { verdict: string; reasons: readonly string[]; bindingState: string } => ({
  ...{ verdict, reasons, bindingState: binding },
})

export const viewAppraisal = ({ pair: { imei, udid }, verdict, told, binding, token }: AppraisedEvidence): z.infer<typeof APPRAISAL> => ({
  ...{ verdict, reasons: [...told], imei, binding, result: token },
  ...(udid === undefined ? {} : { udid }),
})

import { z } from 'zod'
import { newUuid } from '../../core/ids.ts'
import { digestRow, type RowDigest } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { appraise, judge, pairOf, stateOf } from '../appraisal.ts'
import { type Binding, type BindingConflict, bindingRow, compare, conflictRow, deviceOf, type Pair, type Standing } from '../binding.ts'
import type { BindingStore } from '../binding-store.ts'
import { signResult } from '../signed-result.ts'
import type { Deps } from './deps.ts'
import { admitted, type EvidenceInput, evidenceSteps, type EvidenceTarget, toldReasons } from './evidence-target.ts'
import { BINDING, RESULT, viewBinding } from './views.ts'

/** What is to be written, fixed before the result is signed: a row that has changed since makes the outcome a `conflict`, and the result goes to nobody. */
type Plan =
  | { readonly verdict: 'bound' | 'proved'; readonly binding: Binding }
  | { readonly verdict: 'conflict'; readonly standing: readonly Binding[]; readonly conflicts: readonly BindingConflict[] }
  | { readonly verdict: 'refused' }

interface Result {
  readonly plan: Plan
  /** As the log has them. */
  readonly reasons: readonly string[]
  readonly told: readonly string[]
  readonly token: string
  readonly at: Date
}

const OUTPUT = z
  .strictObject({
    verdict: z.enum(['bound', 'proved', 'conflict', 'refused']).meta({
      description:
        'bound: from now on. proved: it was bound already. conflict: card or device is bound to another; both claims are recorded, nothing is bound.',
    }),
    reasons: z.array(z.string()),
    binding: BINDING.optional(),
    result: RESULT,
  })
  .meta({ id: 'BindAnswer' })

/**
 * Durable effects: the nonce is spent with the intent; the evidence is appraised and the result signed; then binding or conflict with the outcome.
 * A crash before leaves a spent nonce and nothing bound. Of two claims at once the database lets one in: the other is told to ask again, and is a conflict then.
 */
export const bind = (deps: Deps): Operation<EvidenceInput, EvidenceTarget, Result, z.infer<typeof OUTPUT>> =>
  operation({
    name: 'attestation.binding.bind',
    summary: 'Binds a card to the device that its evidence names, where neither is bound; records a conflict where one is bound to another.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/attestation/bindings' },
    output: OUTPUT,
    ...evidenceSteps(deps),
    execute: async (permit, target) => {
      const { challenge, evidence, card } = admitted(target)
      const reasons = await appraise(deps, { evidence, challenge, card })
      const at = await deps.databaseNow()
      if (reasons.length > 0) {
        const told = toldReasons(reasons)
        const token = await signResult(deps, permit, { challenge, card, vector: { 'instance-identity': 96 }, reasons: told })
        return { plan: { verdict: 'refused' }, reasons, told, token, at }
      }
      const pair = pairOf(challenge, evidence)
      const plan = await makePlan(deps.bindings, { pair, evidence: evidence.bytes, by: target.caller, at })
      const standing: Standing = plan.verdict === 'conflict' ? { kind: 'contradicted', by: plan.standing } : { kind: 'same', binding: plan.binding }
      const after = judge(standing)
      const vector = { 'instance-identity': 2, configuration: after.configuration } as const
      const token = await signResult(deps, permit, {
        challenge,
        card,
        vector,
        reasons: after.reasons,
        binding: { state: stateOf(standing), ...deviceOf(pair) },
      })
      return { plan, reasons: after.reasons, told: after.reasons, token, at }
    },
    record: async (tx, _target, { plan, reasons }) => {
      const written = await writePlan(deps.bindings, tx, plan)
      return {
        facts: { public: { verdict: plan.verdict, reasons, ...named(plan) }, rows: written },
      }
    },
    respond: (_target, { plan, told, token, at }) => ({
      ...{ verdict: plan.verdict, reasons: [...told], result: token },
      ...('binding' in plan ? { binding: viewBinding(plan.binding, at) } : {}),
    }),
  })

async function makePlan(
  bindings: BindingStore,
  { pair, evidence, by, at }: { readonly pair: Pair; readonly evidence: Uint8Array; readonly by: string; readonly at: Date },
): Promise<Exclude<Plan, { verdict: 'refused' }>> {
  const standing = compare(pair, await bindings.touching(pair))
  if (standing.kind === 'free') {
    const binding: Binding = { ...pair, id: newUuid(), level: 'L1', state: 'bound', from: at, lastProvedAt: at, evidence, boundBy: by, version: 1 }
    return { verdict: 'bound', binding }
  }
  if (standing.kind === 'same') {
    const { binding } = standing
    return { verdict: 'proved', binding: { ...binding, lastProvedAt: at, evidence, version: binding.version + 1 } }
  }
  return {
    verdict: 'conflict',
    standing: standing.by.map((binding) => ({ ...binding, state: 'conflict', version: binding.version + 1 })),
    conflicts: standing.by.map((binding) => ({
      ...{ ...pair, id: newUuid(), bindingId: binding.id, standingEvidence: binding.evidence, evidence, claimedBy: by, claimedAt: at, version: 1 },
    })),
  }
}

async function writePlan(bindings: BindingStore, tx: Tx, plan: Plan): Promise<RowDigest[]> {
  if (plan.verdict === 'refused') return []
  if (plan.verdict !== 'conflict') {
    await (plan.verdict === 'bound' ? bindings.insert(tx, plan.binding) : bindings.update(tx, plan.binding))
    return [digestRow(bindingRow(plan.binding))]
  }
  for (const binding of plan.standing) await bindings.update(tx, binding)
  for (const conflict of plan.conflicts) await bindings.insertConflict(tx, conflict)
  return [...plan.standing.map((binding) => digestRow(bindingRow(binding))), ...plan.conflicts.map((conflict) => digestRow(conflictRow(conflict)))]
}

function named(plan: Plan): { readonly binding?: string; readonly against?: readonly string[] } {
  if (plan.verdict === 'refused') return {}
  return plan.verdict === 'conflict' ? { against: plan.conflicts.map(({ bindingId }) => bindingId) } : { binding: plan.binding.id }
}

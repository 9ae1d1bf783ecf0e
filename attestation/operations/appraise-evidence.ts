import { z } from 'zod'
import { digestRow } from '../../core/row.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { appraise, type BindingState, judge, pairOf, stateOf } from '../appraisal.ts'
import { compare, deviceOf, type Pair } from '../binding.ts'
import { challengeRow, spent } from '../challenge.ts'
import { signResult } from '../signed-result.ts'
import type { Deps } from './deps.ts'
import {
  EVIDENCE_INPUT,
  EVIDENCE_USES,
  type EvidenceInput,
  type EvidenceTarget,
  evidenceFacts,
  evidenceFault,
  locateEvidence,
  toldReasons,
} from './evidence-target.ts'
import { found } from './found.ts'
import { RESULT } from './views.ts'

interface Result {
  readonly pair: Pair
  readonly verdict: 'affirming' | 'warning' | 'contraindicated'
  /** As the log has them. */
  readonly reasons: readonly string[]
  readonly told: readonly string[]
  readonly binding: 'unknown' | BindingState
  readonly token: string
}

const OUTPUT = z
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

/** Durable effects: as of an answer: the nonce is spent with the intent, before anything is evaluated. Bindings are compared and not changed. */
export const appraiseEvidence = (deps: Deps): Operation<EvidenceInput, EvidenceTarget, Result, z.infer<typeof OUTPUT>> =>
  operation({
    name: 'attestation.evidence.appraise',
    summary: 'Appraises a card’s evidence of the device that it sits in, once, and compares it with what is bound.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/attestation/evidence' },
    input: EVIDENCE_INPUT,
    output: OUTPUT,
    locate: (input, caller) => locateEvidence(deps, input, caller),
    uses: () => EVIDENCE_USES,
    facts: evidenceFacts,
    admit: evidenceFault,
    reserve: async (tx, { challenge }) => deps.challenges.spend(tx, found(challenge)),
    execute: async (permit, target) => {
      const [challenge, evidence, card] = [found(target.challenge), found(target.evidence), found(target.card)]
      const [reasons, pair] = [appraise(deps, { evidence, challenge, card }), pairOf(challenge, evidence)]
      if (reasons.length > 0) {
        const told = toldReasons(reasons)
        const token = await signResult(deps, permit, { challenge, card, vector: { 'instance-identity': 96 }, reasons: told })
        return { pair, verdict: 'contraindicated', reasons, told, binding: 'unknown', token }
      }
      const standing = compare(pair, await deps.bindings.touching(pair))
      const judged = judge(standing)
      const vector = { 'instance-identity': 2, configuration: judged.configuration } as const
      const [state, device] = [stateOf(standing), deviceOf(pair)]
      const token = await signResult(deps, permit, { challenge, card, vector, reasons: judged.reasons, binding: { state, ...device } })
      return { pair, verdict: VERDICT[judged.configuration], reasons: judged.reasons, told: judged.reasons, binding: state, token }
    },
    record: (_tx, { challenge }, { verdict, reasons, binding }) =>
      Promise.resolve({ facts: { public: { verdict, reasons, bindingState: binding }, rows: [digestRow(challengeRow(spent(found(challenge))))] } }),
    respond: (_target, { pair: { imei, udid }, verdict, told, binding, token }) => ({
      ...{ verdict, reasons: [...told], imei, binding, result: token },
      ...(udid === undefined ? {} : { udid }),
    }),
  })

import type { z } from 'zod'
import { type Operation, operation } from '../../policies/operation.ts'
import { APPRAISAL, type AppraisedEvidence, appraisalFacts, appraiseAll, viewAppraisal } from './appraised-evidence.ts'
import type { Deps } from './deps.ts'
import { admitted, type EvidenceInput, evidenceSteps, type EvidenceTarget } from './evidence-target.ts'
import { found } from '../../core/found.ts'

/** Durable effects: as of an answer: the nonce is spent with the intent, before anything is evaluated. Bindings are compared and not changed. */
export const appraiseEvidence = (deps: Deps): Operation<EvidenceInput, EvidenceTarget, AppraisedEvidence, z.infer<typeof APPRAISAL>> =>
  operation({
    name: 'attestation.evidence.appraise',
    summary: 'Appraises a card’s evidence of the device that it sits in, once, and compares it with what is bound.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/attestation/evidence' },
    output: APPRAISAL,
    ...evidenceSteps(deps),
    execute: async (permit, target) => found((await appraiseAll(deps, permit, [admitted(target)]))[0]),
    record: (_tx, _target, appraised) => Promise.resolve({ facts: { public: appraisalFacts(appraised) } }),
    respond: (_target, appraised) => viewAppraisal(appraised),
  })

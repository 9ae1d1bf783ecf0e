import type { z } from 'zod'
import { digestRow } from '../../core/row.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { assertSpent } from '../challenge-store.ts'
import { APPRAISAL, type AppraisedEvidence, appraisalFacts, appraiseAll, viewAppraisal } from './appraised-evidence.ts'
import type { Deps } from './deps.ts'
import { EVIDENCE_INPUT, EVIDENCE_USES, type EvidenceInput, type EvidenceTarget, evidenceFacts, locateEvidence } from './evidence-target.ts'
import { found } from './found.ts'

/** Durable effects: as of an answer: the nonce is spent with the intent, before anything is evaluated. Bindings are compared and not changed. */
export const appraiseEvidence = (deps: Deps): Operation<EvidenceInput, EvidenceTarget, AppraisedEvidence, z.infer<typeof APPRAISAL>> =>
  operation({
    name: 'attestation.evidence.appraise',
    summary: 'Appraises a card’s evidence of the device that it sits in, once, and compares it with what is bound.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/attestation/evidence' },
    input: EVIDENCE_INPUT,
    output: APPRAISAL,
    locate: (input, caller) => locateEvidence(deps, input, caller),
    uses: () => EVIDENCE_USES,
    facts: evidenceFacts,
    admit: ({ problem }) => problem,
    reserve: async (tx, { sealed }) => assertSpent(await deps.challenges.spend(tx, [found(sealed)])),
    execute: async (permit, { challenge, evidence, card }) => {
      const item = { challenge: found(challenge), evidence: found(evidence), card: found(card) }
      return found((await appraiseAll(deps, permit, [item]))[0])
    },
    record: (_tx, { sealed }, appraised) => Promise.resolve({ facts: { public: appraisalFacts(appraised), rows: [digestRow(found(sealed).row)] } }),
    respond: (_target, appraised) => viewAppraisal(appraised),
  })

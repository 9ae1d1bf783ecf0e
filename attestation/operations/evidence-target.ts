import { z } from 'zod'
import { fromBase64 } from '../../core/bytes.ts'
import { Problem } from '../../core/problem.ts'
import { ROOT_KEYS } from '../../pkcs11/index.ts'
import { type Caller, callerUrn } from '../../policies/caller.ts'
import type { Facts } from '../../policies/audit/log.ts'
import type { KeyUse } from '../../policies/permit.ts'
import type { Evidence, EvidenceReason } from '../appraisal.ts'
import type { Challenge } from '../challenge.ts'
import { readEvidence } from '../evidence.ts'
import { type CardHandle, findCard } from '../known-card.ts'
import { challengeFault } from './challenge-fault.ts'
import type { Deps } from './deps.ts'
import { EVIDENCE } from './views.ts'

/** What appraising and binding have in common: evidence comes in, and its nonce says which card it must be of. */
export interface EvidenceInput {
  readonly evidence: string
}
export interface EvidenceTarget {
  readonly caller: string
  /** Absent where the bytes are no evidence; `fault` says why. */
  readonly evidence: Evidence | undefined
  readonly fault: string | undefined
  readonly challenge: Challenge | undefined
  /** Of the challenge; absent where that is not this caller's. */
  readonly card: CardHandle | undefined
}

export const EVIDENCE_INPUT = z.strictObject({ evidence: EVIDENCE })

export async function locateEvidence(deps: Deps, input: EvidenceInput, caller: Caller): Promise<EvidenceTarget> {
  const bytes = fromBase64(input.evidence)
  const read = readEvidence(bytes)
  const urn = callerUrn(caller)
  if (!read.ok) return { caller: urn, evidence: undefined, fault: read.fault, challenge: undefined, card: undefined }
  const { claims, toBeSigned, signature } = read
  const challenge = await deps.challenges.find(claims.nonce)
  const card = challenge?.caller === urn ? await findCard(deps, challenge.iccid) : undefined
  return { caller: urn, evidence: { bytes, claims, toBeSigned, signature }, fault: undefined, challenge, card }
}

export const EVIDENCE_USES: readonly KeyUse[] = [{ action: 'sign', keyId: ROOT_KEYS.result }]

export function evidenceFacts({ evidence, fault, challenge, card }: EvidenceTarget): Facts {
  const personal = {
    ...(challenge === undefined || card === undefined ? {} : { iccid: challenge.iccid }),
    ...(evidence === undefined ? {} : { imei: evidence.claims.imei }),
    ...(evidence?.claims.udid === undefined ? {} : { udid: evidence.claims.udid }),
  }
  return { public: { method: 'evidence', ...(fault === undefined ? {} : { reason: fault }) }, personal }
}

export function evidenceFault({ caller, fault, challenge }: EvidenceTarget): Problem | undefined {
  if (fault !== undefined) {
    return new Problem('request-invalid', 'This is no evidence of a card. See docs/attestation.md.', { faults: [{ pointer: '/evidence', message: fault }] })
  }
  return (
    challengeFault(challenge, caller) ??
    (challenge?.method === 'evidence' ? undefined : new Problem('conflict', `The challenge is of the method ${challenge?.method}: answer it so.`))
  )
}

/** What the caller hears. That a card has no certificate is for the log alone: it would tell the card from one that is not known. */
export const toldReasons = (reasons: readonly EvidenceReason[]): readonly string[] =>
  reasons.map((reason) => (reason === 'certificate-missing' ? 'evidence-signature' : reason))

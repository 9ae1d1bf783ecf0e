import { z } from 'zod'
import type { CardFacts } from '../../core/card-facts.ts'
import { fromBase64 } from '../../core/bytes.ts'
import { Problem } from '../../core/problem.ts'
import { digestRow, type RowDigest } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import { ROOT_KEYS } from '../../pkcs11/index.ts'
import { type Caller, callerUrn } from '../../policies/caller.ts'
import type { Facts } from '../../policies/audit/log.ts'
import type { KeyUse } from '../../policies/permit.ts'
import type { Evidence, EvidenceReason } from '../appraisal.ts'
import { type Challenge, challengeId, spent } from '../challenge.ts'
import { assertSpent, type SealedChallenge } from '../challenge-store.ts'
import { readEvidence } from '../evidence.ts'
import { type CardHandle, findCard } from '../known-card.ts'
import { challengeFault } from './challenge-fault.ts'
import type { Deps } from './deps.ts'
import { found } from '../../core/found.ts'
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
  /** Why this is not evaluated, as far as reads tell. */
  readonly problem: Problem | undefined
  /** The challenge as it is once it is spent; absent where there is a problem. */
  readonly sealed: SealedChallenge | undefined
  /** Of the challenge; absent where that is not this caller's. */
  readonly card: CardHandle | undefined
}

/** Evidence whose challenge is spent: it may be evaluated. */
export interface SpendingEvidence {
  readonly challenge: Challenge
  readonly evidence: Evidence
  readonly card: CardHandle
}

/** INVARIANT: there was no problem. */
export const admitted = ({ challenge, evidence, card }: EvidenceTarget): SpendingEvidence => ({
  ...{ challenge: found(challenge), evidence: found(evidence), card: found(card) },
})

/** The steps up to the key use that one piece of evidence has, whether it is appraised or bound: the nonce is spent with the intent, before anything is evaluated. */
export const evidenceSteps = (deps: Deps) => ({
  input: z.strictObject({ evidence: EVIDENCE }),
  locate: async ({ evidence }: EvidenceInput, caller: Caller): Promise<EvidenceTarget> => found((await locateEvidences(deps, [evidence], caller))[0]),
  uses: () => EVIDENCE_USES,
  facts: evidenceFacts,
  cards: evidenceCards,
  admit: ({ problem }: EvidenceTarget) => problem,
  reserve: async (tx: Tx, { sealed }: EvidenceTarget): Promise<readonly RowDigest[]> => {
    assertSpent(await deps.challenges.spend(tx, [found(sealed)]))
    return [digestRow(found(sealed).row)]
  },
})

/** In their order. What all of them need is read together. */
export async function locateEvidences(deps: Deps, texts: readonly string[], caller: Caller): Promise<EvidenceTarget[]> {
  const urn = callerUrn(caller)
  const read = texts.map(readText)
  const challenges = await deps.challenges.findAll(read.flatMap(({ evidence }) => (evidence === undefined ? [] : [evidence.claims.nonce])))
  const targets = read.map((one) => {
    const challenge = one.evidence && challenges.get(challengeId(one.evidence.claims))
    return { ...one, caller: urn, challenge, problem: problemOf(urn, one.fault, challenge) }
  })
  const answered = [...new Set(targets.flatMap(({ problem, challenge }) => (problem === undefined ? [found(challenge)] : [])))]
  const [sealed, cards] = await Promise.all([
    deps.challenges.seal(answered.map(spent)),
    Promise.all(targets.map(async ({ challenge }) => (challenge?.caller === urn ? findCard(deps, challenge.iccid) : undefined))),
  ])
  const sealedOf = new Map(answered.map((challenge, at) => [challenge, sealed[at]]))
  return targets.map((target, at) => ({ ...target, sealed: target.challenge && sealedOf.get(target.challenge), card: cards[at] }))
}

function readText(text: string): Pick<EvidenceTarget, 'evidence' | 'fault'> {
  const bytes = fromBase64(text)
  const read = readEvidence(bytes)
  if (!read.ok) return { evidence: undefined, fault: read.fault }
  const { claims, toBeSigned, signature } = read
  return { evidence: { bytes, claims, toBeSigned, signature }, fault: undefined }
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

/** Of evidence whose challenge is not this caller's no card is told. */
export const evidenceCards = ({ card }: EvidenceTarget): readonly CardFacts[] => (card === undefined ? [] : [card.facts])

function problemOf(caller: string, fault: string | undefined, challenge: Challenge | undefined): Problem | undefined {
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

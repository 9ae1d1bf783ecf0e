import { z } from 'zod'
import { fromBase64url } from '../../core/bytes.ts'
import { Problem } from '../../core/problem.ts'
import { digestRow } from '../../core/row.ts'
import { callerUrn } from '../../policies/caller.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { type Challenge, spent } from '../challenge.ts'
import { assertSpent, type SealedChallenge } from '../challenge-store.ts'
import { type CardHandle, findCard } from '../known-card.ts'
import { type CardAnswer, type Proof, type ProofReason, prove, usesOf } from '../proof.ts'
import { signResult } from '../signed-result.ts'
import { sequenceRow } from '../sqn.ts'
import { challengeFault } from './challenge-fault.ts'
import type { Deps } from './deps.ts'
import { found } from '../../core/found.ts'
import { bytesOf, CHALLENGE_ID, ICCID, RESULT } from './views.ts'

interface Input {
  readonly iccid: string
  readonly challengeId: string
  readonly mac?: string | undefined
  readonly res?: string | undefined
  readonly auts?: string | undefined
  readonly signature?: string | undefined
}
interface Target {
  readonly iccid: string
  readonly caller: string
  readonly answer: CardAnswer
  readonly challenge: Challenge | undefined
  /** The challenge as it is once it is spent. */
  readonly sealed: readonly SealedChallenge[]
  readonly card: CardHandle
}
interface Result {
  readonly proof: Proof
  /** Absent of a card that was resynchronised: it has proved nothing yet. */
  readonly token: string | undefined
}

const ANSWER_FIELDS = {
  mac: bytesOf(16).optional().meta({ description: 'cmac: AES-CMAC by the card’s authentication key, 16 bytes.' }),
  res: bytesOf(8).optional().meta({ description: 'milenage: RES, 8 bytes.' }),
  auts: bytesOf(14).optional().meta({ description: 'milenage: AUTS, 14 bytes, of a card that has seen a later SQN.' }),
  signature: bytesOf(64).optional().meta({ description: 'signature: ECDSA P-256 with SHA-256, raw r||s, 64 bytes.' }),
}

const OUTPUT = z
  .strictObject({
    verdict: z.enum(['authenticated', 'refused', 'resynchronised']).meta({ description: 'resynchronised: AUTS was right. Ask for a new challenge.' }),
    reason: z.string().optional().meta({ description: 'Why it was refused. A card that is not known is refused like a wrong answer.' }),
    result: RESULT.optional(),
  })
  .meta({ id: 'CardProof' })

/**
 * Durable effects: the nonce is spent with the intent, then the answer is evaluated, then the outcome. A crash between leaves a spent nonce and no answer:
 * the caller asks for a new challenge. So of all answers to a challenge, right or wrong, one is ever evaluated.
 */
export const answerChallenge = (deps: Deps): Operation<Input, Target, Result, z.infer<typeof OUTPUT>> =>
  operation({
    name: 'attestation.card.answer',
    summary: 'Takes a card’s answer to a challenge, once, and says whether it is the card’s.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/attestation/cards/{iccid}/answer' },
    input: z
      .strictObject({ iccid: ICCID, challengeId: CHALLENGE_ID, ...ANSWER_FIELDS })
      .refine(hasOneAnswer, 'exactly one of mac, res, auts and signature answers'),
    output: OUTPUT,
    locate: async (input, caller) => {
      const [challenge, card] = await Promise.all([deps.challenges.find(fromBase64url(input.challengeId)), findCard(deps, input.iccid)])
      const sealed = await deps.challenges.seal(challenge === undefined ? [] : [spent(challenge)])
      return { iccid: input.iccid, caller: callerUrn(caller), answer: answerIn(input), challenge, sealed, card }
    },
    uses: ({ answer, card }) => usesOf(answer.method, card),
    facts: ({ answer, iccid }) => ({ public: { method: answer.method }, personal: { iccid } }),
    cards: ({ card }) => [card.facts],
    admit: ({ challenge, caller, iccid, answer }) =>
      challengeFault(challenge, caller) ??
      (challenge?.iccid === iccid ? undefined : new Problem('not-found', 'The challenge was made for another card.')) ??
      (challenge?.method === answer.method ? undefined : new Problem('conflict', `The challenge is of the method ${challenge?.method}: answer it so.`)),
    reserve: async (tx, { sealed }) => {
      assertSpent(await deps.challenges.spend(tx, sealed))
      return sealed.map(({ row }) => digestRow(row))
    },
    execute: async (permit, target) => {
      const challenge = found(target.challenge)
      const proof = await prove(deps, permit, { ...target, challenge })
      if (proof.verdict === 'resynchronised') return { proof, token: undefined }
      const { reason } = told(proof)
      return {
        proof,
        token: await signResult(deps, permit, {
          challenge,
          card: target.card,
          vector: { 'instance-identity': proof.verdict === 'authenticated' ? 2 : 96 },
          reasons: reason === undefined ? [] : [reason],
        }),
      }
    },
    record: async (tx, { answer, card }, { proof }) => {
      const moved = proof.verdict === 'resynchronised' ? [digestRow(sequenceRow(await deps.sequences.raise(tx, card.sequenceId, proof.seq)))] : []
      const why = proof.verdict === 'refused' ? { reason: proof.reason } : {}
      return {
        facts: {
          public: { method: answer.method, verdict: proof.verdict, ...why },
          rows: moved,
        },
      }
    },
    respond: (_target, { proof, token }) => ({ ...told(proof), ...(token === undefined ? {} : { result: token }) }),
  })

/** What the caller hears. That a card has no certificate is for the log alone: it would tell the card from one that is not known. */
function told(proof: Proof): { readonly verdict: Proof['verdict']; readonly reason?: ProofReason } {
  if (proof.verdict !== 'refused') return { verdict: proof.verdict }
  return { verdict: 'refused', reason: proof.reason === 'certificate-missing' ? 'signature-wrong' : proof.reason }
}

type AnswerFields = Pick<Input, 'mac' | 'res' | 'auts' | 'signature'>

function hasOneAnswer({ mac, res, auts, signature }: AnswerFields): boolean {
  return [mac, res, auts, signature].filter((answer) => answer !== undefined).length === 1
}

/** INVARIANT: the input was found to have one. */
function answerIn({ mac, res, auts, signature }: AnswerFields): CardAnswer {
  if (mac !== undefined) return { method: 'cmac', mac: fromBase64url(mac) }
  if (res !== undefined) return { method: 'milenage', res: fromBase64url(res) }
  if (auts !== undefined) return { method: 'milenage', auts: fromBase64url(auts) }
  return { method: 'signature', signature: fromBase64url(signature ?? '') }
}

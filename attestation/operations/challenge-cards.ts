import { z } from 'zod'
import type { CardFacts } from '../../core/card-facts.ts'
import { found } from '../../core/found.ts'
import { digestRow } from '../../core/row.ts'
import { callerUrn } from '../../policies/caller.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { type Challenge, CHALLENGE_RANDOM_BYTES, challengeId, newChallenge } from '../challenge.ts'
import type { SealedChallenge } from '../challenge-store.ts'
import { findCardFacts } from '../known-card.ts'
import type { Deps } from './deps.ts'
import { CHALLENGE_ID, ICCID, MOST_CARDS, NONCE } from './views.ts'

interface Input {
  readonly iccids: readonly string[]
}
interface Target {
  readonly cards: readonly CardFacts[]
  readonly verifier: string
  readonly challenges: readonly Challenge[]
}
type Result = readonly SealedChallenge[]

const OUTPUT = z
  .strictObject({
    expiresAt: z.string().meta({ description: 'RFC 3339. One answer to each counts until then.' }),
    verifier: z.string().meta({ description: 'The name of who asked.' }),
    challenges: z.array(z.strictObject({ iccid: ICCID, challengeId: CHALLENGE_ID, nonce: NONCE })).meta({ description: 'In the order of the ICCIDs.' }),
  })
  .meta({ id: 'CardChallenges' })

/** Durable effects: all nonces, intent and outcome with an entry for each card, one transaction. A card that is not known gets a challenge like any other, by the same work. */
export const challengeCards = (deps: Deps): Operation<Input, Target, Result, z.infer<typeof OUTPUT>> =>
  operation({
    name: 'attestation.cards.challenge',
    summary: `Makes challenges of the method evidence for 1 to ${MOST_CARDS} cards. Each ends in 150 seconds and with the first answer.`,
    effect: 'durable',
    route: { method: 'POST', path: '/v1/attestation/challenges', status: 201 },
    input: z.strictObject({
      iccids: z
        .array(ICCID)
        .min(1)
        .max(MOST_CARDS)
        .refine((iccids) => new Set(iccids).size === iccids.length, 'an ICCID stands twice')
        .meta({ description: 'Each once.' }),
    }),
    output: OUTPUT,
    locate: async ({ iccids }, caller) => {
      const [issuedAt, cards] = await Promise.all([deps.databaseNearlyNow(), findCardFacts(deps, iccids)])
      const [verifier, random] = [callerUrn(caller), deps.random(CHALLENGE_RANDOM_BYTES * iccids.length)]
      const challenges = iccids.map((iccid, at) => {
        const own = random.subarray(CHALLENGE_RANDOM_BYTES * at, CHALLENGE_RANDOM_BYTES * (at + 1))
        return newChallenge({ random: own, iccid, method: 'evidence', caller: verifier, issuedAt })
      })
      return { verifier, challenges, cards }
    },
    uses: () => [],
    facts: ({ challenges }) => ({ public: { method: 'evidence', count: challenges.length } }),
    cards: ({ cards }) => cards,
    execute: (_permit, { challenges }) => deps.challenges.seal(challenges),
    record: async (tx, { cards }, sealed) => {
      await deps.challenges.insert(tx, sealed)
      return {
        items: sealed.map(({ challenge, row }, at) => ({
          public: { method: challenge.method, ...cards[at] },
          personal: { iccid: challenge.iccid },
          rows: [digestRow(row)],
        })),
      }
    },
    respond: ({ verifier, challenges }) => ({
      ...{ expiresAt: found(challenges[0]).expiresAt.toISOString(), verifier },
      challenges: challenges.map((challenge) => ({ iccid: challenge.iccid, challengeId: challengeId(challenge), nonce: challengeId(challenge) })),
    }),
  })

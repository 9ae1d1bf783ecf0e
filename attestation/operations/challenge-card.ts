import { z } from 'zod'
import { base64url } from '../../core/bytes.ts'
import { Problem } from '../../core/problem.ts'
import { digestRow } from '../../core/row.ts'
import { callerUrn } from '../../policies/caller.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { type Challenge, CHALLENGE_RANDOM_BYTES, challengeId, type Method, newChallenge, randOf } from '../challenge.ts'
import type { SealedChallenge } from '../challenge-store.ts'
import { type CardHandle, findCard } from '../known-card.ts'
import { MAX_SEQ, type SequenceNumber, sequenceRow, sqnOf } from '../sqn.ts'
import type { Deps } from './deps.ts'
import { CHALLENGE_ID, ICCID, METHOD, NONCE } from './views.ts'

interface Input {
  readonly iccid: string
  readonly method: Method
}
interface Target {
  readonly challenge: Challenge
  readonly sealed: readonly SealedChallenge[]
  readonly card: CardHandle
  /** The sequence number that AUTN will have; of Milenage only. */
  readonly sequence: SequenceNumber | undefined
}
/** AUTN, 16 bytes; of Milenage only. */
interface Result {
  readonly autn: Uint8Array | undefined
}

const OUTPUT = z
  .strictObject({
    challengeId: CHALLENGE_ID,
    nonce: NONCE,
    verifier: z.string().meta({ description: 'The name of who asked, which goes into what the card signs or MACs.' }),
    method: METHOD,
    expiresAt: z.string().meta({ description: 'RFC 3339. One answer counts until then.' }),
    rand: z.string().optional().meta({ description: 'RAND, 16 bytes, base64url. milenage only.' }),
    autn: z.string().optional().meta({ description: 'AUTN, 16 bytes, base64url. milenage only.' }),
  })
  .meta({ id: 'CardChallenge' })

/** AMF (TS 33.102 annex H): the separation bit is 0, and nothing else is told. */
const AMF = new Uint8Array(2)

/**
 * Durable effects: nonce, the next SEQ and intent in one transaction; then AUTN is computed; then the outcome. A crash between leaves a nonce that nobody has
 * and a SEQ that is skipped: it is never used twice. A card that is not known gets a challenge like any other, by the same work.
 */
export const challengeCard = (deps: Deps): Operation<Input, Target, Result, z.infer<typeof OUTPUT>> =>
  operation({
    name: 'attestation.card.challenge',
    summary: 'Makes a challenge for a card. It ends in 150 seconds and with the first answer.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/attestation/cards/{iccid}/challenge', status: 201 },
    input: z.strictObject({ iccid: ICCID, method: METHOD }),
    output: OUTPUT,
    locate: async ({ iccid, method }, caller) => {
      const [card, issuedAt] = await Promise.all([findCard(deps, iccid), deps.databaseNearlyNow()])
      const challenge = newChallenge({ random: deps.random(CHALLENGE_RANDOM_BYTES), iccid, method, caller: callerUrn(caller), issuedAt })
      const [sealed, last] = await Promise.all([deps.challenges.seal([challenge]), method === 'milenage' ? deps.sequences.find(card.sequenceId) : undefined])
      return { challenge, sealed, card, sequence: last && after(last) }
    },
    uses: ({ challenge, card }) =>
      challenge.method === 'milenage'
        ? [
            { action: 'authenticate', keyId: card.ki.id },
            { action: 'unwrap', keyId: card.operatorKey.id },
          ]
        : [],
    facts: ({ challenge }) => ({ public: { method: challenge.method }, personal: { iccid: challenge.iccid } }),
    cards: ({ card }) => [card.facts],
    admit: ({ sequence }) =>
      sequence !== undefined && sequence.seq > MAX_SEQ ? new Problem('conflict', 'The card has used all its sequence numbers. Use another method.') : undefined,
    reserve: async (tx, { sealed, sequence }) => {
      await deps.challenges.insert(tx, sealed)
      if (sequence !== undefined) await deps.sequences.advance(tx, sequence)
      return [...sealed.map(({ row }) => row), ...(sequence === undefined ? [] : [sequenceRow(sequence)])].map(digestRow)
    },
    execute: async (permit, { challenge, card: { ki, operatorKey }, sequence }) => {
      if (sequence === undefined) return { autn: undefined }
      return { autn: await deps.hsm.milenageChallenge(permit, { ki, operatorKey, rand: randOf(challenge), sqn: sqnOf(sequence.seq), amf: AMF }) }
    },
    respond: ({ challenge }, { autn }) => ({
      challengeId: challengeId(challenge),
      nonce: base64url(challenge.nonce),
      verifier: challenge.caller,
      method: challenge.method,
      expiresAt: challenge.expiresAt.toISOString(),
      ...(autn === undefined ? {} : { rand: base64url(randOf(challenge)), autn: base64url(autn) }),
    }),
  })

const after = (last: SequenceNumber): SequenceNumber => ({ ...last, seq: last.seq + 1, version: last.version + 1 })

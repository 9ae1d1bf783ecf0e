import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { base64url, fromBase64url } from '../core/bytes.ts'
import { OUR_IND, RECOVERY_JUMP, seqOf, sqnOf } from './sqn.ts'
import { PgSqnStore } from './sqn-store.pg.ts'
import type { ChallengeAnswer, TestCard } from './testing/cards.ts'
import { type Attester, openAttester, terminal } from './testing/attester.ts'
import { readAutn } from './testing/milenage.ts'

let attester: Attester
beforeAll(async () => {
  attester = await openAttester()
})
afterAll(() => attester.db.close())

/** SEQ of a challenge, as the card sees it. */
const seqIn = (card: TestCard, { rand, autn }: ChallengeAnswer): number =>
  seqOf(readAutn(card, fromBase64url(rand ?? ''), fromBase64url(autn ?? '')) ?? new Uint8Array(6))

describe('the sequence number of a card', () => {
  it('has our IND and 43 bits of SEQ', () => {
    expect(Buffer.from(sqnOf(1)).toString('hex')).toBe('00000000003d')
    expect(sqnOf(2 ** 43 - 1)).toHaveLength(6)
    expect(seqOf(sqnOf(2 ** 43 - 1))).toBe(2 ** 43 - 1)
    expect((sqnOf(77)[5] ?? 0) & 31).toBe(OUR_IND)
  })

  it('grows with each challenge, answered or not', async () => {
    const card = attester.cards.make()
    const seqs: number[] = []
    for (let i = 0; i < 5; i++) seqs.push(seqIn(card, await attester.challenge(card.iccid, 'milenage')))
    expect(seqs).toEqual([1, 2, 3, 4, 5])
  })

  it('goes to one of the challenges that come at once; the others are told to ask again', async () => {
    const card = attester.cards.make()
    const ends = await Promise.allSettled(Array.from({ length: 24 }, () => attester.challenge(card.iccid, 'milenage')))
    const seqs = ends.flatMap((end) => (end.status === 'fulfilled' ? [seqIn(card, end.value)] : []))
    expect(seqs.length).toBeGreaterThan(0)
    expect(new Set(seqs).size).toBe(seqs.length)
    for (const end of ends)
      if (end.status === 'rejected') expect(end.reason).toMatchObject({ code: 'conflict', detail: expect.stringMatching(/Ask again/) as string })
    expect(seqIn(card, await attester.challenge(card.iccid, 'milenage'))).toBeGreaterThan(Math.max(...seqs))
  })

  it('that was taken when the token went away is skipped', async () => {
    const card = attester.cards.make()
    expect(seqIn(card, await attester.challenge(card.iccid, 'milenage'))).toBe(1)
    attester.soft.state.isAway = true
    await expect(attester.challenge(card.iccid, 'milenage')).rejects.toMatchObject({ code: 'hsm-unavailable' })
    attester.soft.state.isAway = false
    expect(seqIn(card, await attester.challenge(card.iccid, 'milenage'))).toBe(3)
  })

  it('moves past what the card has seen, by AUTS, and authenticates then', async () => {
    const card = attester.cards.make()
    card.seq = 5000
    const challenge = await attester.challenge(card.iccid, 'milenage')
    const answer = card.milenage(challenge)
    expect(answer).toHaveProperty('auts')
    expect(await attester.answer(card.iccid, challenge, answer)).toEqual({ verdict: 'resynchronised' })
    expect(attester.entries.at(-1)?.facts?.rows).toMatchObject([{ table: 'attestation_sqn', version: 2 }])
    const next = await attester.challenge(card.iccid, 'milenage')
    expect(seqIn(card, next)).toBe(5001)
    expect(await attester.answer(card.iccid, next, card.milenage(next))).toMatchObject({ verdict: 'authenticated' })
  })

  it('never goes back: not by an AUTS of a lower SQN, not by a wrong or replayed one', async () => {
    const card = attester.cards.make()
    card.seq = 3
    const first = await attester.challenge(card.iccid, 'milenage')
    const auts = card.milenage(first)
    for (let i = 0; i < 5; i++) await attester.challenge(card.iccid, 'milenage')
    expect(await attester.answer(card.iccid, first, auts)).toEqual({ verdict: 'resynchronised' })
    const after = await attester.challenge(card.iccid, 'milenage')
    expect(seqIn(card, after)).toBe(7)
    expect(await attester.answer(card.iccid, after, auts)).toMatchObject({ verdict: 'refused', reason: 'auts-wrong' })
    const another = await attester.challenge(card.iccid, 'milenage')
    expect(await attester.answer(card.iccid, another, { auts: base64url(randomBytes(14)) })).toMatchObject({ verdict: 'refused', reason: 'auts-wrong' })
    expect(seqIn(card, await attester.challenge(card.iccid, 'milenage'))).toBe(9)
  })

  it('grows over AUTS and challenges that come together', async () => {
    const card = attester.cards.make()
    const seen: number[] = []
    for (let round = 1; round <= 6; round++) {
      card.seq = round * 100
      const challenge = await attester.challenge(card.iccid, 'milenage')
      seen.push(seqIn(card, challenge))
      const ends = await Promise.allSettled([
        attester.answer(card.iccid, challenge, card.milenage(challenge)),
        ...Array.from({ length: 4 }, async () => void seen.push(seqIn(card, await attester.challenge(card.iccid, 'milenage')))),
      ])
      expect(ends[0]).toMatchObject({ status: 'fulfilled', value: { verdict: 'resynchronised' } })
      const next = seqIn(card, await attester.challenge(card.iccid, 'milenage'))
      expect(next).toBeGreaterThan(Math.max(round * 100, ...seen))
      seen.push(next)
    }
    expect(new Set(seen).size).toBe(seen.length)
  })

  it('of an edited row is refused; the database takes no lower one from the service', async () => {
    const card = attester.cards.make()
    await attester.challenge(card.iccid, 'milenage')
    await attester.db.ownerSql.query('UPDATE attestation_sqn SET seq = 0 WHERE card_id = $1', [card.known?.id])
    expect((await attester.refused(terminal, 'card.challenge', { iccid: card.iccid, method: 'milenage' })).code).toBe('integrity-failed')
  })
})

describe('after a recovery of the log', () => {
  const row = { cardId: 'a-card', version: 0 }
  const storeAfter = (recoveries: number): PgSqnStore => new PgSqnStore({ sql: attester.db.sql, sealer: attester.soft.sealer, recoveries })
  const advance = async (store: PgSqnStore): Promise<number> => {
    const last = await store.find(row.cardId)
    const next = { ...last, seq: last.seq + 1, version: last.version + 1 }
    await attester.db.transact((tx) => store.advance(tx, next))
    return next.seq
  }

  it('is above all that it may have been, once for each, whether the card had one or not', async () => {
    expect(await advance(storeAfter(0))).toBe(1)
    expect(await advance(storeAfter(1))).toBe(1 + RECOVERY_JUMP + 1)
    expect(await advance(storeAfter(1))).toBe(1 + RECOVERY_JUMP + 2)
    expect(await advance(storeAfter(3))).toBe(1 + 3 * RECOVERY_JUMP + 3)
    expect(await storeAfter(2).find('another-card')).toEqual({ cardId: 'another-card', seq: 2 * RECOVERY_JUMP, recoveries: 2, version: 0 })
  })

  it('is taken by a card at once: the jump is less than what it accepts (TS 33.102 C.2.1)', () => {
    expect(255 * RECOVERY_JUMP).toBeLessThan(2 ** 28)
  })

  it('is refused where the database says that it is above more than it is', async () => {
    await attester.db.ownerSql.query(`UPDATE attestation_sqn SET recoveries = 9 WHERE card_id = $1`, [row.cardId])
    await expect(storeAfter(9).find(row.cardId)).rejects.toMatchObject({ code: 'integrity-failed' })
  })
})

import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { base64url, fromBase64url } from '../core/bytes.ts'
import { age } from './testing/age.ts'
import { Attester, openAttester, other, terminal } from './testing/attester.ts'
import type { ChallengeAnswer, TestCard } from './testing/cards.ts'

let attester: Attester
beforeAll(async () => {
  attester = await openAttester()
})
afterAll(() => attester.db.close())

const METHODS: readonly (readonly [string, (card: TestCard, c: ChallengeAnswer) => object, () => object, string])[] = [
  ['cmac', (card, c) => card.mac(c), () => ({ mac: base64url(randomBytes(16)) }), 'mac-wrong'],
  ['milenage', (card, c) => card.milenage(c), () => ({ res: base64url(randomBytes(8)) }), 'res-wrong'],
  ['signature', (card, c) => card.signature(c), () => ({ signature: base64url(randomBytes(64)) }), 'signature-wrong'],
]

describe.each(METHODS)('an answer by %s', (method, right, wrong, reason) => {
  it('that is right authenticates the card, once', async () => {
    const card = attester.cards.make()
    const challenge = await attester.challenge(card.iccid, method)
    expect(challenge).toMatchObject({ method, verifier: 'urn:gridseal:module:terminal', challengeId: challenge.nonce })
    expect(new Date(challenge.expiresAt).getTime() - Date.now()).toBeGreaterThan(140_000)
    const answer = right(card, challenge)
    expect(await attester.answer(card.iccid, challenge, answer)).toEqual({
      verdict: 'authenticated',
      result: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/) as string,
    })
    const outcome = attester.entriesOf('card.answer', 'outcome').at(-1)
    expect(outcome).toMatchObject({ code: 'ok', facts: { public: { method, verdict: 'authenticated' }, personal: { iccid: card.iccid } } })
    const spending = [{ table: 'attestation_nonces', id: challenge.challengeId, version: 2 }]
    expect(attester.entriesOf('card.answer', 'intent').at(-1)?.facts?.rows).toMatchObject(spending)
    const again = await attester.refused(terminal, 'card.answer', { iccid: card.iccid, challengeId: challenge.challengeId, ...answer })
    expect(again).toMatchObject({ code: 'conflict', detail: expect.stringMatching(/answered already/) as string })
  })

  it('that is wrong is refused and burns the challenge', async () => {
    const card = attester.cards.make()
    const challenge = await attester.challenge(card.iccid, method)
    expect(await attester.answer(card.iccid, challenge, wrong())).toMatchObject({ verdict: 'refused', reason })
    const late = await attester.refused(terminal, 'card.answer', { iccid: card.iccid, challengeId: challenge.challengeId, ...right(card, challenge) })
    expect(late.code).toBe('conflict')
  })

  it('comes too late, from another caller, for another card or challenge: it is not evaluated', async () => {
    const [card, another] = [attester.cards.make(), attester.cards.make()]
    const challenge = await attester.challenge(card.iccid, method)
    const body = { iccid: card.iccid, challengeId: challenge.challengeId, ...right(card, challenge) }
    const before = attester.soft.calls.length
    expect((await attester.refused(other, 'card.answer', body)).code).toBe('not-found')
    expect(await attester.refused(terminal, 'card.answer', { ...body, iccid: another.iccid })).toMatchObject({
      code: 'not-found',
      detail: expect.stringMatching(/another card/) as string,
    })
    expect((await attester.refused(terminal, 'card.answer', { ...body, challengeId: base64url(randomBytes(32)) })).code).toBe('not-found')
    await age(attester, challenge.challengeId, 151_000)
    expect(await attester.refused(terminal, 'card.answer', body)).toMatchObject({ code: 'conflict', detail: expect.stringMatching(/has ended/) as string })
    expect(attester.soft.calls).toHaveLength(before)
  })

  it('does not answer a challenge of another method', async () => {
    const card = attester.cards.make()
    for (const [kind] of [...METHODS, ['evidence'] as const].filter(([name]) => name !== method)) {
      const challenge = await attester.challenge(card.iccid, kind)
      const refused = await attester.refused(terminal, 'card.answer', { iccid: card.iccid, challengeId: challenge.challengeId, ...wrong() })
      expect(refused).toMatchObject({ code: 'conflict', detail: expect.stringContaining(`of the method ${kind}`) as string })
    }
  })

  it('by 64 callers at once is evaluated once', async () => {
    const card = attester.cards.make()
    const challenge = await attester.challenge(card.iccid, method)
    const answer = right(card, challenge)
    const before = attester.soft.calls.length
    const ends = await Promise.allSettled(Array.from({ length: 64 }, () => attester.answer(card.iccid, challenge, answer)))
    expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const end of ends) if (end.status === 'rejected') expect(end.reason).toMatchObject({ code: 'conflict' })
    expect(attester.soft.calls.slice(before).filter((call) => call === 'signWithRoot')).toHaveLength(1)
  })

  it('of one card is not that of another', async () => {
    const [card, another] = [attester.cards.make(), attester.cards.make()]
    const [mine, its] = [await attester.challenge(card.iccid, method), await attester.challenge(another.iccid, method)]
    expect(await attester.answer(another.iccid, its, right(card, method === 'milenage' ? mine : its))).toMatchObject({ verdict: 'refused', reason })
  })
})

describe('a request', () => {
  it('with no answer, two, or one of a wrong length is refused', async () => {
    const card = attester.cards.make()
    const { challengeId } = await attester.challenge(card.iccid, 'cmac')
    const [mac, res] = [base64url(randomBytes(16)), base64url(randomBytes(8))]
    for (const answer of [{}, { mac, res }, { mac: res }, { res: mac }, { mac: `${mac}==` }, { sres: res }]) {
      expect((await attester.refused(terminal, 'card.answer', { iccid: card.iccid, challengeId, ...answer })).code).toBe('request-invalid')
    }
    expect((await attester.refused(terminal, 'card.challenge', { iccid: '89860012345600000001', method: 'cmac' })).code).toBe('request-invalid')
  })
})

describe('a token that is away', () => {
  it.each(METHODS)('leaves the challenge spent: nothing is evaluated twice (%s)', async (method, right) => {
    const card = attester.cards.make()
    const challenge = await attester.challenge(card.iccid, method)
    const body = { iccid: card.iccid, challengeId: challenge.challengeId, ...right(card, challenge) }
    attester.soft.state.isAway = true
    expect((await attester.refused(terminal, 'card.answer', body)).code).toBe('hsm-unavailable')
    attester.soft.state.isAway = false
    expect(attester.entries.at(-1)).toMatchObject({ kind: 'outcome', code: 'hsm-unavailable' })
    expect(await attester.refused(terminal, 'card.answer', body)).toMatchObject({ code: 'conflict' })
    const next = await attester.challenge(card.iccid, method)
    expect(await attester.answer(card.iccid, next, right(card, next))).toMatchObject({ verdict: 'authenticated' })
  })
})

describe('a certificate', () => {
  const day = 86_400_000
  it.each([
    ['that is revoked', { state: 'revoked' }, 'certificate-revoked'],
    ['that has ended', { notAfter: new Date(Date.now() - day) }, 'certificate-expired'],
    ['that has not begun', { notBefore: new Date(Date.now() + day) }, 'certificate-expired'],
  ] as const)('%s refuses the right signature; who has not the key hears nothing of it', async (_name, certificate, reason) => {
    const card = attester.cards.make(certificate)
    const challenge = await attester.challenge(card.iccid, 'signature')
    expect(await attester.answer(card.iccid, challenge, card.signature(challenge))).toMatchObject({ verdict: 'refused', reason })
    const next = await attester.challenge(card.iccid, 'signature')
    expect(await attester.answer(card.iccid, next, { signature: base64url(randomBytes(64)) })).toMatchObject({ reason: 'signature-wrong' })
  })

  it('that is missing is told to the log alone', async () => {
    const card = attester.cards.make(null)
    const challenge = await attester.challenge(card.iccid, 'signature')
    expect(await attester.answer(card.iccid, challenge, card.signature(challenge))).toMatchObject({ verdict: 'refused', reason: 'signature-wrong' })
    expect(attester.entries.at(-1)?.facts?.public).toMatchObject({ reason: 'certificate-missing' })
  })
})

describe('a card that is not known', () => {
  it.each(METHODS)('takes the same statements, keys and answers as a known one: %s', async (method, _right, wrong) => {
    const observe = async (iccid: string): Promise<object> => {
      await attester.challenge(iccid, method)
      attester.soft.calls.length = attester.statements.length = attester.entries.length = 0
      const challenge = await attester.challenge(iccid, method)
      const verdict = await attester.answer(iccid, challenge, wrong())
      const { calls } = attester.soft
      return {
        calls: [...calls],
        statements: [...attester.statements],
        fields: Object.keys(challenge),
        verdict: { ...verdict, result: verdict.result?.length },
        entries: attester.entries.map(({ kind, code, facts }) => ({ kind, code, tables: facts?.rows?.map(({ table }) => table) })),
      }
    }
    const known = await observe(attester.cards.make().iccid)
    expect(await observe(attester.cards.iccid())).toEqual(known)
    expect(known).toMatchObject({ calls: expect.arrayContaining(['signWithRoot']) as string[] })
  })

  it('is not proved, even by the key that it would have', async () => {
    const card = attester.cards.unknown()
    const challenge = await attester.challenge(card.iccid, 'cmac')
    expect(await attester.answer(card.iccid, challenge, card.mac(challenge))).toMatchObject({ verdict: 'refused', reason: 'mac-wrong' })
  })
})

describe('a row', () => {
  it('of a challenge that was edited is refused, whatever was edited', async () => {
    const [card, another] = [attester.cards.make(), attester.cards.make()]
    for (const set of [
      `iccid = '${another.iccid}'`,
      `caller = 'urn:gridseal:module:other'`,
      `method = 'signature'`,
      `expires_at = now() + interval '1 year'`,
      'version = 2',
    ]) {
      const challenge = await attester.challenge(card.iccid, 'cmac')
      await attester.db.ownerSql.query(`UPDATE attestation_nonces SET ${set} WHERE nonce = $1`, [fromBase64url(challenge.nonce)])
      const body = { iccid: card.iccid, challengeId: challenge.challengeId, ...card.mac(challenge) }
      expect((await attester.refused(terminal, 'card.answer', body)).code).toBe('integrity-failed')
    }
  })

  it('of the decoy that was edited is refused by the next process, and one decoy is made anew', async () => {
    const { db, soft, cards } = attester
    const nextProcess = (): Attester => new Attester(db, { hsm: soft.hsm, sealer: soft.sealer, cardRows: soft.sealer, cards })
    await db.ownerSql.query('UPDATE attestation_decoys SET wrapped = $1', [randomBytes(24)])
    const next = nextProcess()
    await expect(next.challenge(cards.iccid(), 'milenage')).rejects.toThrow(/integrity-failed/)
    expect(next.entries.at(-1)).toMatchObject({ kind: 'refusal', code: 'integrity-failed' })
    await db.ownerSql.query('DELETE FROM attestation_decoys')
    await Promise.all([nextProcess().feature.establish(), nextProcess().feature.establish()])
    expect(await db.ownerSql.query('SELECT 1 FROM attestation_decoys')).toHaveLength(1)
  })
})

describe('the purge', () => {
  it('deletes what ended over a day ago and nothing else, and says how many', async () => {
    const card = attester.cards.make()
    const [old, young] = [await attester.challenge(card.iccid, 'cmac'), await attester.challenge(card.iccid, 'cmac')]
    await age(attester, old.challengeId, 86_400_000 + 151_000)
    await age(attester, young.challengeId, 86_400_000)
    expect(await attester.call(terminal, 'nonces.purge', {})).toEqual({ deleted: 1 })
    expect(attester.entries.at(-1)?.facts?.public).toEqual({ deleted: 1 })
    const refused = await attester.refused(terminal, 'card.answer', { iccid: card.iccid, challengeId: old.challengeId, ...card.mac(old) })
    expect(refused.code).toBe('not-found')
  })
})

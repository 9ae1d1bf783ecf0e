import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { base64, fromBase64, fromBase64url } from '../core/bytes.ts'
import { verifyResult } from './result.ts'
import { age } from './testing/age.ts'
import { type Attester, openAttester, other, terminal } from './testing/attester.ts'
import { appraiseCard, bindCard, makeDevice } from './testing/devices.ts'

let attester: Attester
beforeAll(async () => {
  attester = await openAttester()
})
afterAll(() => attester.db.close())

const countBindings = async (): Promise<number> => (await attester.db.ownerSql.query('SELECT 1 FROM bindings')).length
const open = (token: string) => verifyResult({ token, keySet: attester.feature.keySet(), at: new Date() })

describe('evidence', () => {
  it('of a card that is bound to nothing is genuine, and warns', async () => {
    const [card, device] = [attester.cards.make(), makeDevice()]
    const answer = await appraiseCard(attester, card, device)
    expect(answer).toMatchObject({ verdict: 'warning', reasons: ['binding-missing'], binding: 'unbound', ...device })
    expect(open(answer.result)).toMatchObject({
      ok: true,
      status: 'warning',
      claims: { submods: { card: { gridseal_level: 'L1', gridseal_binding: { state: 'unbound', ...device } } } },
    })
    expect(await countBindings()).toBe(0)
  })

  it('of the pair that is bound affirms; of another device contradicts; nothing is changed', async () => {
    const [card, device, elsewhere] = [attester.cards.make(), makeDevice(), makeDevice()]
    await bindCard(attester, card, device)
    const rows = await attester.db.ownerSql.query('SELECT * FROM bindings ORDER BY id')
    const right = await appraiseCard(attester, card, device)
    expect(right).toMatchObject({ verdict: 'affirming', reasons: [], binding: 'bound' })
    expect(open(right.result)).toMatchObject({ ok: true, status: 'affirming' })
    expect(await appraiseCard(attester, card, { imei: device.imei })).toMatchObject({ verdict: 'affirming' })
    for (const moved of [elsewhere, { ...device, imei: elsewhere.imei }, { ...device, udid: elsewhere.udid ?? '' }]) {
      const wrong = await appraiseCard(attester, card, moved)
      expect(wrong).toMatchObject({ verdict: 'contraindicated', reasons: ['binding-contradicted'], binding: 'contradicted' })
      expect(open(wrong.result)).toMatchObject({ ok: true, status: 'contraindicated' })
    }
    expect(await attester.db.ownerSql.query('SELECT * FROM bindings ORDER BY id')).toEqual(rows)
  })

  it('is appraised once, by the caller that asked for the challenge, in its time', async () => {
    const [card, device] = [attester.cards.make(), makeDevice()]
    const challenge = await attester.challenge(card.iccid, 'evidence')
    const evidence = card.evidence(challenge, device)
    expect((await attester.refused(other, 'evidence.appraise', evidence)).code).toBe('not-found')
    const ends = await Promise.allSettled(Array.from({ length: 16 }, () => attester.call(terminal, 'evidence.appraise', evidence)))
    expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect((await attester.refused(terminal, 'binding.bind', evidence)).detail).toMatch(/answered already/)
    const late = await attester.challenge(card.iccid, 'evidence')
    await age(attester, late.challengeId, 151_000)
    expect((await attester.refused(terminal, 'evidence.appraise', card.evidence(late, device))).detail).toMatch(/has ended/)
  })

  it.each(['cmac', 'milenage', 'signature'])('does not answer a challenge of the method %s', async (method) => {
    const card = attester.cards.make()
    const challenge = await attester.challenge(card.iccid, method)
    expect(await attester.refused(terminal, 'evidence.appraise', card.evidence(challenge, makeDevice()))).toMatchObject({ code: 'conflict' })
  })

  it.each([
    ['that is garbage', () => base64(randomBytes(64)), 'evidence-malformed'],
    ['that is cut', (good: string) => base64(fromBase64(good).subarray(0, -3)), 'evidence-malformed'],
    ['with bytes behind', (good: string) => base64(Buffer.concat([fromBase64(good), Buffer.from([0])])), 'evidence-malformed'],
  ])('%s is refused, and the challenge stays open', async (_name, spoil, fault) => {
    const card = attester.cards.make()
    const challenge = await attester.challenge(card.iccid, 'evidence')
    const good = card.evidence(challenge, makeDevice())
    const problem = await attester.refused(terminal, 'evidence.appraise', { evidence: spoil(good.evidence) })
    expect(problem).toMatchObject({ code: 'request-invalid', faults: [{ pointer: '/evidence', message: fault }] })
    expect(attester.entries.at(-1)).toMatchObject({ kind: 'refusal', facts: { public: { reason: fault } } })
    expect(await attester.call(terminal, 'evidence.appraise', good)).toMatchObject({ verdict: 'warning' })
  })

  it('with another signature, UEID or time is refused for that reason, and binds nothing', async () => {
    const [card, another, device] = [attester.cards.make(), attester.cards.make(), makeDevice()]
    const before = await countBindings()
    const now = Math.floor(Date.now() / 1000)
    const cases = [
      [{ signature: randomBytes(64) }, ['evidence-signature']],
      [{ ueid: Buffer.concat([Buffer.from([1]), randomBytes(32)]) }, ['evidence-ueid']],
      [{ issuedAt: now - 75 }, ['evidence-time']],
      [{ issuedAt: now + 300 }, ['evidence-time']],
      [{ issuedAt: now - 50 }, ['binding-missing']],
    ] as const
    for (const [more, reasons] of cases) expect(await appraiseCard(attester, card, device, more)).toMatchObject({ reasons })
    const challenge = await attester.challenge(card.iccid, 'evidence')
    const bound = await attester.call(terminal, 'binding.bind', another.evidence(challenge, device))
    expect(bound).toMatchObject({ verdict: 'refused', reasons: ['evidence-signature'] })
    expect(bound).not.toHaveProperty('binding')
    expect(await countBindings()).toBe(before)
  })

  it('of a card whose certificate is revoked, over or missing binds nothing', async () => {
    const before = await countBindings()
    expect(await bindCard(attester, attester.cards.make({ state: 'revoked' }), makeDevice())).toMatchObject({
      verdict: 'refused',
      reasons: ['certificate-revoked'],
    })
    expect(await bindCard(attester, attester.cards.make({ notAfter: new Date(0) }), makeDevice())).toMatchObject({
      verdict: 'refused',
      reasons: ['certificate-expired'],
    })
    expect(await bindCard(attester, attester.cards.make(null), makeDevice())).toMatchObject({ verdict: 'refused', reasons: ['evidence-signature'] })
    expect(await bindCard(attester, attester.cards.unknown(), makeDevice())).toMatchObject({ verdict: 'refused', reasons: ['evidence-signature'] })
    expect(await countBindings()).toBe(before)
  })

  it('of a card that is not known takes the same statements and answers as a wrong one', async () => {
    const observe = async (iccid: string): Promise<object> => {
      attester.soft.calls.length = attester.statements.length = 0
      const challenge = await attester.challenge(iccid, 'evidence')
      const answer = await attester.call<{ result: string }>(
        terminal,
        'evidence.appraise',
        attester.cards.unknown().evidence(challenge, { imei: '35000000000000' }),
      )
      return { ...answer, result: answer.result.length, calls: [...attester.soft.calls], statements: [...attester.statements] }
    }
    expect(await observe(attester.cards.iccid())).toEqual(await observe(attester.cards.make().iccid))
  })
})

describe('what a card made for one purpose', () => {
  it('is refused for the other: an authentication is no evidence, and evidence no authentication', async () => {
    const card = attester.cards.make()
    const asked = await attester.challenge(card.iccid, 'evidence')
    // The card is led to authenticate over the nonce of an evidence challenge.
    const lent = fromBase64url(card.signature(asked).signature)
    expect(await attester.call(terminal, 'evidence.appraise', card.evidence(asked, makeDevice(), { signature: lent }))).toMatchObject({
      reasons: ['evidence-signature'],
    })
    const cmac = await attester.challenge(card.iccid, 'evidence')
    const mac = Buffer.concat([fromBase64url(card.mac(cmac).mac), Buffer.alloc(48)])
    expect(await attester.call(terminal, 'evidence.appraise', card.evidence(cmac, makeDevice(), { signature: mac }))).toMatchObject({
      reasons: ['evidence-signature'],
    })
    // And to sign evidence over the nonce of an authentication.
    const login = await attester.challenge(card.iccid, 'signature')
    const token = fromBase64(card.evidence(login, makeDevice()).evidence)
    expect(await attester.answer(card.iccid, login, { signature: Buffer.from(token.subarray(-64)).toString('base64url') })).toMatchObject({
      verdict: 'refused',
      reason: 'signature-wrong',
    })
  })
})

describe('a result', () => {
  it('is signed for five minutes, with the nonce, and says nothing of the ICCID', async () => {
    const card = attester.cards.make()
    const challenge = await attester.challenge(card.iccid, 'cmac')
    const { result = '' } = await attester.answer(card.iccid, challenge, card.mac(challenge))
    const nonce = fromBase64url(challenge.nonce)
    const keySet = attester.feature.keySet()
    expect(verifyResult({ token: result, keySet, at: new Date(), nonce })).toMatchObject({
      ok: true,
      status: 'affirming',
      claims: { submods: { card: { gridseal_method: 'cmac' } } },
    })
    expect(verifyResult({ token: result, keySet, at: new Date(Date.now() + 301_000), nonce })).toMatchObject({ ok: false })
    expect(Buffer.from(result.split('.')[1] ?? '', 'base64url').toString()).not.toContain(card.iccid)
  })
})

describe('the log', () => {
  it('has ICCID, IMEI and UDID under personal facts and nowhere else', () => {
    const personal = attester.entries.flatMap(({ facts }) => Object.values(facts?.personal ?? {}))
    expect(personal.length).toBeGreaterThan(50)
    const rest = JSON.stringify(attester.entries.map(({ facts, ...entry }) => ({ ...entry, facts: { ...facts, personal: undefined } })))
    expect([...new Set(personal)].filter((value) => rest.includes(value))).toEqual([])
  })
})

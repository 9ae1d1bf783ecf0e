import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { base64url } from '../core/bytes.ts'
import { encodeEfIccid } from '../core/iccid.ts'
import { keyId, newUuid } from '../core/ids.ts'
import { fillFixture, sealed } from '../pkcs11/testing/fill-fixture.ts'
import { type TestToken, testToken } from '../pkcs11/testing/test-token.ts'
import { withTestPermit } from '../policies/testing/memory-gate.ts'
import { testDatabase } from '../server/postgres/test-database.ts'
import type { KnownCard } from './known-card.ts'
import { verifyResult } from './result.ts'
import { Attester, terminal } from './testing/attester.ts'
import { TestCard } from './testing/cards.ts'
import { appraiseCard, bindCard, makeDevice } from './testing/devices.ts'

/** The same with keys that a real token made: what it computes and what a card computes agree. */
let token: TestToken
let attester: Attester
let card: TestCard
const AUTH_TYPE = 0x41

beforeAll(async () => {
  const [opened, db] = await Promise.all([testToken(), testDatabase()])
  token = opened
  const { master, operatorKey, transportKeyId, unwrap } = await fillFixture(token)
  const parts = { master, operatorKey, authType: AUTH_TYPE }
  const known = new Map<string, KnownCard>()
  attester = new Attester(db, {
    ...{ hsm: token.hsm, sealer: token.integrity, cardRows: token.integrity },
    cards: {
      find: (iccid) => Promise.resolve(known.get(iccid)),
      findStanding: (iccid) => Promise.resolve(known.get(iccid)?.standing),
      decoyParts: () => Promise.resolve(parts),
    },
  })
  const iccid = attester.cards.iccid()
  const plan = [
    { purpose: 'ki', source: { kind: 'random' }, kcv: 'aes-cmac' },
    { purpose: 'opc', source: { kind: 'opc', of: 'ki' }, kcv: 'aes-cmac' },
    { purpose: 'auth', source: { kind: 'derived', type: AUTH_TYPE }, kcv: 'aes-cmac' },
  ] as const
  const uses = [
    { action: 'derive', keyId: master.id },
    { action: 'wrap', keyId: transportKeyId },
    { action: 'unwrap', keyId: operatorKey.id },
  ] as const
  const [[ki, opc, auth] = []] = await withTestPermit(uses, (permit) =>
    token.hsm.fillCards(permit, { master, operatorKey, transportKeyId, plan, kdds: [encodeEfIccid(iccid)] }),
  )
  if (ki?.stored === undefined || opc === undefined || auth === undefined) throw new Error('the card was not filled')
  card = new TestCard(iccid, { ki: unwrap(ki.wrapped), opc: unwrap(opc.wrapped), authKey: unwrap(auth.wrapped) })
  const id = keyId(newUuid())
  const certificate = { serial: '01', spki: card.spki, state: 'issued', notBefore: new Date(0), notAfter: new Date(Date.now() + 3_600_000) } as const
  const row = await sealed(token, id, { algorithm: 'aes-128', wrapped: ki.stored })
  known.set(iccid, { id, iccid, ki: { id, sealed: row }, ...parts, certificate, standing: { facts: {}, sealed: [row, row] } })
  await attester.feature.establish()
})
afterAll(async () => {
  await attester.db.close()
  await token.close()
})

it('a card is authenticated by CMAC, Milenage and signature, and a wrong answer is not', async () => {
  for (const [method, answer] of [
    ['cmac', 'mac'],
    ['milenage', 'milenage'],
    ['signature', 'signature'],
  ] as const) {
    const challenge = await attester.challenge(card.iccid, method)
    const { verdict, result = '' } = await attester.answer(card.iccid, challenge, card[answer](challenge))
    expect([method, verdict]).toEqual([method, 'authenticated'])
    expect(verifyResult({ token: result, keySet: attester.feature.keySet(), at: new Date() })).toMatchObject({ ok: true, status: 'affirming' })
  }
  const cmac = await attester.challenge(card.iccid, 'cmac')
  expect(await attester.answer(card.iccid, cmac, { mac: base64url(randomBytes(16)) })).toMatchObject({ verdict: 'refused', reason: 'mac-wrong' })
  const milenage = await attester.challenge(card.iccid, 'milenage')
  expect(await attester.answer(card.iccid, milenage, { res: base64url(randomBytes(8)) })).toMatchObject({ verdict: 'refused', reason: 'res-wrong' })
})

it('a card that has seen a later SQN is resynchronised, and authenticates then', async () => {
  card.seq = 70_000
  const challenge = await attester.challenge(card.iccid, 'milenage')
  expect(await attester.answer(card.iccid, challenge, card.milenage(challenge))).toEqual({ verdict: 'resynchronised' })
  const next = await attester.challenge(card.iccid, 'milenage')
  expect(await attester.answer(card.iccid, next, card.milenage(next))).toMatchObject({ verdict: 'authenticated' })
  expect(card.seq).toBe(70_001)
  const last = await attester.challenge(card.iccid, 'milenage')
  expect(await attester.answer(card.iccid, last, { auts: base64url(randomBytes(14)) })).toMatchObject({ verdict: 'refused', reason: 'auts-wrong' })
})

it('a card that is not known gets a challenge by the decoy, and is refused', async () => {
  const iccid = attester.cards.iccid()
  const challenge = await attester.challenge(iccid, 'milenage')
  expect(challenge.autn).toMatch(/^[\w-]{22}$/)
  expect(await attester.answer(iccid, challenge, { res: base64url(randomBytes(8)) })).toMatchObject({ verdict: 'refused', reason: 'res-wrong' })
})

it('a card is bound to its device and appraised there', async () => {
  const device = makeDevice()
  expect(await bindCard(attester, card, device)).toMatchObject({ verdict: 'bound' })
  expect(await appraiseCard(attester, card, device)).toMatchObject({ verdict: 'affirming' })
  expect(await attester.call(terminal, 'binding.get', { imei: device.imei })).toMatchObject({ iccid: card.iccid })
})

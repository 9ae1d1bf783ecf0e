import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { CardFacts } from '../core/card-facts.ts'
import { fromBase64url } from '../core/bytes.ts'
import type { Asked, Decision } from '../policies/firewall/decide.ts'
import { alice, type Attester, bob, openAttester, terminal } from './testing/attester.ts'
import type { TestCard } from './testing/cards.ts'
import { bindCard, makeDevice } from './testing/devices.ts'

let attester: Attester
const allow = (): Decision => ({ effect: 'allow', rule: 'test', revision: 'test', reason: '' })
beforeAll(async () => {
  attester = await openAttester()
})
afterEach(() => {
  attester.decide = allow
})
afterAll(() => attester.db.close())

const here: CardFacts = { region: '330106', cardState: 'delivered' }
const there: CardFacts = { region: '440305', cardState: 'keyed' }
const cardOf = (facts: CardFacts): TestCard => attester.cards.make({}, facts)

/** Region and state of what was put to the policy by this work. */
async function askedBy(work: () => Promise<unknown>): Promise<(readonly [operation: string, facts: object])[]> {
  const before = attester.asked.length
  await work().catch(() => undefined)
  return attester.asked.slice(before).map(({ operation, facts: { region, cardState } }) => [operation.replace('attestation.', ''), { region, cardState }])
}

describe('every operation on a card puts its region and state to the policy', () => {
  it('challenge and answer, by each method; of an unknown card neither', async () => {
    for (const [card, facts] of [
      [cardOf(here), here],
      [attester.cards.unknown(), {}],
    ] as const) {
      for (const method of ['cmac', 'milenage', 'signature']) {
        const both = { region: facts.region, cardState: facts.cardState }
        expect(
          await askedBy(async () => {
            const challenge = await attester.challenge(card.iccid, method)
            await attester.answer(card.iccid, challenge, card.mac(challenge))
          }),
        ).toEqual([
          ['card.challenge', both],
          ['card.answer', both],
        ])
      }
    }
  })

  it('evidence, binding, its history and its end', async () => {
    const [card, device] = [cardOf(here), makeDevice()]
    expect(
      await askedBy(async () => {
        await bindCard(attester, card, device)
        await attester.call(terminal, 'binding.get', { imei: device.imei })
        await attester.call(terminal, 'binding.get', { iccid: card.iccid })
        await attester.call(terminal, 'binding.history', { udid: device.udid })
        const { requestId } = await attester.call<{ requestId: string }>(alice, 'binding.unbind', { iccid: card.iccid, reason: 'meter replaced' })
        await attester.call(bob, 'binding.approve-unbind', { requestId })
      }),
    ).toEqual(
      ['card.challenge', 'binding.bind', 'binding.get', 'binding.get', 'binding.history', 'binding.unbind', 'binding.approve-unbind'].map((operation) => [
        operation,
        here,
      ]),
    )
    const nothing = { region: undefined, cardState: undefined }
    expect(await askedBy(() => attester.call(bob, 'binding.approve-unbind', { requestId: randomUUID() }))).toEqual([['binding.approve-unbind', nothing]])
    expect(await askedBy(() => attester.call(terminal, 'binding.get', { imei: makeDevice().imei }))).toEqual([['binding.get', nothing]])
  })

  it('of a device that has had cards of two regions its history is asked about for both', async () => {
    const device = makeDevice()
    for (const facts of [here, there]) {
      const card = cardOf(facts)
      await bindCard(attester, card, device)
      const { requestId } = await attester.call<{ requestId: string }>(alice, 'binding.unbind', { iccid: card.iccid, reason: 'meter replaced' })
      await attester.call(bob, 'binding.approve-unbind', { requestId })
    }
    expect(await askedBy(() => attester.call(terminal, 'binding.history', { imei: device.imei }))).toEqual([
      ['binding.history', here],
      ['binding.history', there],
    ])
  })

  it('a batch is asked about for each kind of card in it, and each entry tells its own', async () => {
    const [first, second, unknown] = [cardOf(here), cardOf(there), attester.cards.unknown()]
    const iccids = [first, second, cardOf(here), unknown].map(({ iccid }) => iccid)
    let challenges: { iccid: string; challengeId: string; nonce: string }[] = []
    const nothing = { region: undefined, cardState: undefined }
    expect(
      await askedBy(async () => {
        const made = await attester.call<{ challenges: typeof challenges; verifier: string; expiresAt: string }>(terminal, 'cards.challenge', { iccids })
        challenges = made.challenges
        const evidence = [first, second].map((card, at) => {
          const { challengeId, nonce } = challenges[at] ?? expect.unreachable()
          expect(fromBase64url(nonce)).toHaveLength(32)
          return card.evidence({ challengeId, nonce, method: 'evidence', verifier: made.verifier, expiresAt: made.expiresAt }, makeDevice()).evidence
        })
        await attester.call(terminal, 'evidence.appraise-batch', { evidence })
      }),
    ).toEqual([
      ['cards.challenge', here],
      ['cards.challenge', there],
      ['cards.challenge', nothing],
      ['evidence.appraise-batch', here],
      ['evidence.appraise-batch', there],
    ])
    expect(attester.entriesOf('cards.challenge', 'item').map(({ facts }) => facts?.public)).toMatchObject([here, there, here, {}])
    expect(attester.entriesOf('evidence.appraise-batch', 'item').map(({ facts }) => facts?.public)).toMatchObject([here, there])
  })
})

describe('a policy by region or state', () => {
  const only =
    (region: string) =>
    ({ facts }: Asked): Decision =>
      facts['region'] === region ? allow() : { effect: 'deny', rule: 'default', revision: 'test', reason: 'No rule of the policy allows it.' }

  it('says of a card of another region what it says of one that nobody knows', async () => {
    attester.decide = only('330106')
    await attester.challenge(cardOf(here).iccid, 'cmac')
    const [other, unknown] = await Promise.all(
      [cardOf(there), attester.cards.unknown()].map(({ iccid }) => attester.refused(terminal, 'card.challenge', { iccid, method: 'cmac' })),
    )
    expect([other?.code, other?.detail]).toEqual(['forbidden', unknown?.detail])
  })

  it('lets no card hide in a batch: nothing of it is done', async () => {
    const [mine, theirs] = [cardOf(here), cardOf(there)]
    attester.decide = only('330106')
    const before = await attester.db.ownerSql.query('SELECT 1 FROM attestation_nonces')
    expect((await attester.refused(terminal, 'cards.challenge', { iccids: [mine.iccid, theirs.iccid] })).code).toBe('forbidden')
    expect((await attester.refused(terminal, 'cards.challenge', { iccids: [mine.iccid, attester.cards.iccid()] })).code).toBe('forbidden')
    expect(await attester.db.ownerSql.query('SELECT 1 FROM attestation_nonces')).toHaveLength(before.length)
    await attester.call(terminal, 'cards.challenge', { iccids: [mine.iccid] })
  })

  it('hears nothing of a card whose rows were edited: the request is refused before it is decided', async () => {
    const card = cardOf(here)
    const known = card.known ?? expect.unreachable()
    const [own] = known.standing.sealed
    const edited = { ...own, mac: new Uint8Array(16) }
    Object.assign(known.standing, { sealed: [own, edited] })
    for (const [operation, body] of [
      ['card.challenge', { iccid: card.iccid, method: 'signature' }],
      ['cards.challenge', { iccids: [card.iccid] }],
      ['binding.unbind', { iccid: card.iccid, reason: 'meter replaced' }],
    ] as const) {
      expect(await askedBy(async () => expect((await attester.refused(terminal, operation, body)).code).toBe('integrity-failed'))).toEqual([])
    }
  })
})

it('known and unknown cards take the same statements and the same checks', async () => {
  const checks: number[] = []
  const sealer = attester.soft.sealer
  const { assertRows } = sealer
  Object.assign(sealer, {
    assertRows: (rows: readonly unknown[]) => {
      checks.push(rows.length)
      return assertRows.call(sealer, rows as never)
    },
  })
  const work = async (iccid: string) => {
    const [statements, from] = [attester.statements.length, checks.length]
    await attester.challenge(iccid, 'cmac')
    await attester.call(terminal, 'cards.challenge', { iccids: [iccid] })
    return { statements: attester.statements.slice(statements), checks: checks.slice(from) }
  }
  const known = await work(cardOf(here).iccid)
  expect(await work(attester.cards.iccid())).toEqual(known)
  expect(known.checks).toEqual([2, 2])
  Object.assign(sealer, { assertRows })
})

import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { base64, base64url, fromBase64, fromBase64url } from '../core/bytes.ts'
import type { Problem } from '../core/problem.ts'
import type { Caller } from '../policies/caller.ts'
import { challengeId } from './challenge.ts'
import { readEvidence } from './evidence.ts'
import { verifyResult } from './result.ts'
import { age } from './testing/age.ts'
import { type Attester, openAttester, other, terminal } from './testing/attester.ts'
import type { ChallengeAnswer, TestCard } from './testing/cards.ts'
import { type AppraisalAnswer, bindCard, type Device, makeDevice } from './testing/devices.ts'

let attester: Attester
beforeAll(async () => {
  attester = await openAttester()
})
afterAll(() => attester.db.close())

interface Challenges {
  readonly expiresAt: string
  readonly verifier: string
  readonly challenges: readonly { readonly iccid: string; readonly challengeId: string; readonly nonce: string }[]
}
type ItemAnswer = AppraisalAnswer | { readonly problem: { readonly code: string; readonly detail: string } }

const CHALLENGE = 'cards.challenge'
const APPRAISE = 'evidence.appraise-batch'
const challengeAll = (iccids: readonly string[], caller: Caller = terminal): Promise<Challenges> => attester.call(caller, CHALLENGE, { iccids })
const appraise = async (evidence: readonly string[], caller: Caller = terminal): Promise<readonly ItemAnswer[]> =>
  (await attester.call<{ results: readonly ItemAnswer[] }>(caller, APPRAISE, { evidence })).results
const asProblem = ({ code, detail }: Problem): ItemAnswer => ({ problem: { code, detail } })

/** What a card answers of a challenge that came with others: its own, or that of `iccid`. */
const evidenceFor = (
  card: TestCard,
  { challenges, ...rest }: Challenges,
  device: Device,
  { iccid = card.iccid, ...more }: Parameters<TestCard['evidence']>[2] & { readonly iccid?: string } = {},
): string => {
  const own = challenges.find((challenge) => challenge.iccid === iccid)
  if (own === undefined) throw new Error('no challenge for this card')
  return card.evidence({ ...rest, ...own, method: 'evidence' }, device, more).evidence
}
const makeCards = (count: number): { readonly cards: readonly TestCard[]; readonly devices: readonly Device[] } => ({
  cards: Array.from({ length: count }, () => attester.cards.make()),
  devices: Array.from({ length: count }, (_, at) => makeDevice(at % 2 === 0)),
})
/** Fresh evidence of each card in its device. */
async function freshEvidence({ cards, devices }: ReturnType<typeof makeCards>): Promise<string[]> {
  const made = await challengeAll(cards.map(({ iccid }) => iccid))
  return cards.map((card, at) => evidenceFor(card, made, devices[at] ?? makeDevice()))
}
const nonceOf = (evidence: string): string => {
  const read = readEvidence(fromBase64(evidence))
  if (!read.ok) throw new Error('no evidence')
  return challengeId(read.claims)
}
/** What `work` makes the service do. */
async function observe<Result>(
  work: () => Promise<Result>,
): Promise<{ readonly result: Result; readonly calls: string[]; readonly statements: string[]; readonly entries: Attester['entries'] }> {
  attester.soft.calls.length = attester.statements.length = 0
  const before = attester.entries.length
  const result = await work()
  return { result, calls: [...attester.soft.calls], statements: [...attester.statements], entries: attester.entries.slice(before) }
}

describe('challenges for many cards', () => {
  it('are made by one statement, in the order asked, each with an entry of its own, in one group', async () => {
    const iccids = [...makeCards(5).cards.map(({ iccid }) => iccid), attester.cards.iccid()]
    const { result, statements, entries, calls } = await observe(() => challengeAll(iccids))
    expect(result.verifier).toBe('urn:gridseal:module:terminal')
    expect(new Date(result.expiresAt).getTime() - Date.now()).toBeGreaterThan(140_000)
    expect(result.challenges.map(({ iccid }) => iccid)).toEqual(iccids)
    expect(result.challenges.every(({ nonce, challengeId: id }) => /^[\w-]{43}$/.test(nonce) && id === nonce)).toBe(true)
    expect(new Set(result.challenges.map(({ nonce }) => nonce)).size).toBe(6)
    expect(statements.filter((text) => text.startsWith('INSERT'))).toHaveLength(1)
    expect(calls).toEqual([])
    expect(entries.map(({ kind }) => kind)).toEqual(['intent', ...iccids.map(() => 'item'), 'outcome'])
    expect(entries.slice(1, -1).map(({ facts }) => [facts?.personal, facts?.rows?.map(({ id, version }) => [id, version])])).toEqual(
      result.challenges.map(({ iccid, challengeId: id }) => [{ iccid }, [[id, 1]]]),
    )
    expect(entries.at(-1)).toMatchObject({ code: 'ok', facts: { public: { method: 'evidence', count: 6 } } })
  })

  it('differ in nothing between a card that is known and one that is not', async () => {
    const of = async (iccid: string): Promise<object> => {
      const { result, ...seen } = await observe(() => challengeAll([iccid]))
      return { fields: result.challenges.map(Object.keys), calls: seen.calls, statements: seen.statements, entries: seen.entries.length }
    }
    expect(await of(attester.cards.iccid())).toEqual(await of(attester.cards.make().iccid))
  })

  it('are answered one by one as well: by the single operations, once', async () => {
    const { cards, devices } = makeCards(2)
    const [first = '', second = ''] = await freshEvidence({ cards, devices })
    expect(await attester.call(terminal, 'binding.bind', { evidence: first })).toMatchObject({ verdict: 'bound' })
    expect(await attester.call(terminal, 'evidence.appraise', { evidence: second })).toMatchObject({ verdict: 'warning' })
    expect(await appraise([first, second])).toMatchObject([{ problem: { code: 'conflict' } }, { problem: { code: 'conflict' } }])
  })

  it('are 1 to 256, of ICCIDs that are right and stand once', async () => {
    const iccid = attester.cards.iccid()
    const many = Array.from({ length: 256 }, () => attester.cards.iccid())
    for (const iccids of [[], [iccid, iccid], [...many, iccid], [iccid.slice(0, -1)], [`${iccid.slice(0, -1)}x`]]) {
      expect((await attester.refused(terminal, CHALLENGE, { iccids })).code).toBe('request-invalid')
    }
    expect((await challengeAll(many)).challenges).toHaveLength(256)
  })
})

describe('a batch of evidence', () => {
  it('is appraised in its order, each as it would be alone, by one call that signs', async () => {
    const { cards, devices } = makeCards(6)
    const [bound, moved, lost, forged, late] = cards
    const [home = makeDevice(), away = makeDevice()] = devices
    if (!bound || !moved || !lost || !forged || !late) throw new Error('no cards')
    await bindCard(attester, bound, home)
    await bindCard(attester, moved, away)
    const unknown = attester.cards.unknown()
    const made = await challengeAll([...cards, unknown].map(({ iccid }) => iccid))
    const evidence = [
      evidenceFor(bound, made, home),
      evidenceFor(moved, made, makeDevice()),
      evidenceFor(lost, made, makeDevice()),
      evidenceFor(forged, made, makeDevice(), { signature: randomBytes(64) }),
      evidenceFor(late, made, makeDevice(), { issuedAt: 1 }),
      evidenceFor(unknown, made, makeDevice()),
    ]
    const { result, calls, statements, entries } = await observe(() => appraise(evidence))
    expect(result).toMatchObject([
      { verdict: 'affirming', reasons: [], binding: 'bound', ...home },
      { verdict: 'contraindicated', reasons: ['binding-contradicted'], binding: 'contradicted' },
      { verdict: 'warning', reasons: ['binding-missing'], binding: 'unbound' },
      { verdict: 'contraindicated', reasons: ['evidence-signature'], binding: 'unknown' },
      { verdict: 'contraindicated', reasons: ['evidence-time'], binding: 'unknown' },
      { verdict: 'contraindicated', reasons: ['evidence-signature'], binding: 'unknown' },
    ])
    for (const [at, one] of result.entries()) {
      if (!('result' in one)) throw new Error('no result')
      const nonce = fromBase64(
        nonceOf(evidence[at] ?? '')
          .replaceAll('-', '+')
          .replaceAll('_', '/'),
      )
      expect(verifyResult({ token: one.result, keySet: attester.feature.keySet(), at: new Date(), nonce })).toMatchObject({ ok: true, status: one.verdict })
    }
    expect(calls).toEqual(['signWithRoot'])
    expect(statements.filter((text) => text.startsWith('UPDATE'))).toHaveLength(1)
    expect(statements.filter((text) => text.includes('JOIN bindings'))).toHaveLength(1)
    expect(entries.map(({ kind }) => kind)).toEqual(['intent', ...evidence.map(() => 'item'), 'outcome'])
    expect(entries[1]).toMatchObject({
      facts: {
        public: { verdict: 'affirming', reasons: [], bindingState: 'bound' },
        personal: { iccid: bound.iccid, ...home },
      },
    })
    const spent = evidence.map((one) => ({ table: 'attestation_nonces', id: nonceOf(one), version: 2 }))
    expect(entries[0]?.facts?.rows).toMatchObject(spent)
    expect(entries.at(-1)?.facts?.public).toMatchObject({ count: 6, affirming: 1, warning: 1, contraindicated: 4, problems: 0 })
  })

  it('has a problem for what cannot be evaluated, as it would be alone, and that hinders no other', async () => {
    const { cards, devices } = makeCards(5)
    const [good = '', spent = '', ended = '', next = ''] = await freshEvidence({ cards, devices })
    const card = attester.cards.make()
    const device = makeDevice()
    const foreign = card.evidence(await attester.challenge(card.iccid, 'evidence', other), device).evidence
    const login = card.evidence(await attester.challenge(card.iccid, 'signature'), device).evidence
    const invented = card.evidence({ nonce: base64url(randomBytes(32)) } as ChallengeAnswer, device).evidence
    const garbage = base64(randomBytes(64))
    const cut = base64(fromBase64(next).subarray(0, -3))
    await attester.call(terminal, 'evidence.appraise', { evidence: spent })
    await age(attester, nonceOf(ended), 151_000)
    const bad = [garbage, spent, foreign, cut, ended, login, invented]
    const alone = await Promise.all(bad.map((evidence) => attester.refused(terminal, 'evidence.appraise', { evidence })))
    expect(alone.map(({ code }) => code)).toEqual(['request-invalid', 'conflict', 'not-found', 'request-invalid', 'conflict', 'conflict', 'not-found'])
    expect(new Set(alone.map(({ detail }) => detail)).size).toBe(5)

    const { result, entries } = await observe(() => appraise([good, ...bad, next]))
    expect(result.slice(1, -1)).toEqual(alone.map(asProblem))
    expect([result[0], result.at(-1)]).toMatchObject([{ verdict: 'warning' }, { verdict: 'warning' }])
    const items = entries.filter(({ kind }) => kind === 'item')
    expect(items.map(({ facts }) => facts?.public?.['problem'])).toEqual([undefined, ...alone.map(({ code }) => code), undefined])
    expect(items.map(({ facts }) => facts?.public?.['reason']).filter((reason) => reason !== undefined)).toEqual(['evidence-malformed', 'evidence-malformed'])
    expect(entries[0]?.facts?.rows).toMatchObject([{ id: nonceOf(good) }, { id: nonceOf(next) }])
    expect(entries.at(-1)).toMatchObject({ kind: 'outcome', code: 'ok', facts: { public: { warning: 2, problems: 7 } } })
    // Another caller's challenge, and one of another method, were not spent by it.
    expect(await attester.call(other, 'evidence.appraise', { evidence: foreign })).toMatchObject({ verdict: 'warning' })
  })

  it('with nothing that can be evaluated signs nothing', async () => {
    const { result, calls, entries } = await observe(() => appraise([base64(randomBytes(64)), base64(randomBytes(64))]))
    expect(result).toMatchObject([{ problem: { code: 'request-invalid' } }, { problem: { code: 'request-invalid' } }])
    expect(calls).toEqual([])
    expect(entries.map(({ kind }) => kind)).toEqual(['intent', 'item', 'item', 'outcome'])
  })

  it('that answers a challenge twice is evaluated once: the first counts', async () => {
    const { cards, devices } = makeCards(2)
    const [card] = cards
    if (card === undefined) throw new Error('no card')
    const made = await challengeAll(cards.map(({ iccid }) => iccid))
    const [right, wrong] = [evidenceFor(card, made, devices[0] ?? makeDevice()), evidenceFor(card, made, makeDevice(), { signature: randomBytes(64) })]
    const again = { problem: { code: 'conflict', detail: expect.stringMatching(/answered already/) as string } }
    expect(await appraise([wrong, right, right])).toMatchObject([{ reasons: ['evidence-signature'] }, again, again])
    const ended = evidenceFor(cards[1] ?? card, made, makeDevice())
    await age(attester, nonceOf(ended), 151_000)
    const late = { problem: { code: 'conflict', detail: expect.stringMatching(/has ended/) as string } }
    expect(await appraise([ended, ended])).toMatchObject([late, late])
  })

  it('that eight send at once, each in another order, is evaluated once', async () => {
    const made = makeCards(32)
    const evidence = await freshEvidence(made)
    const [before, intents] = [attester.entriesOf(APPRAISE, 'item').length, attester.entriesOf(APPRAISE, 'intent').length]
    const answers = await Promise.all(
      Array.from({ length: 8 }, async (_, caller) => {
        const turned = [...evidence.slice(4 * caller), ...evidence.slice(0, 4 * caller)]
        const results = await appraise(caller % 2 === 0 ? turned : turned.toReversed())
        return caller % 2 === 0 ? results : results.toReversed()
      }),
    )
    const evaluated = answers.flat().filter((one) => 'verdict' in one)
    expect(evaluated.map(({ imei }) => imei).sort()).toEqual(made.devices.map(({ imei }) => imei).sort())
    expect(answers.flat().filter((one) => 'problem' in one && one.problem.code === 'conflict' && /answered already/.test(one.problem.detail))).toHaveLength(
      7 * 32,
    )
    const items = attester.entriesOf(APPRAISE, 'item').slice(before)
    expect(items).toHaveLength(8 * 32)
    const rows = attester
      .entriesOf(APPRAISE, 'intent')
      .slice(intents)
      .flatMap(({ facts }) => facts?.rows ?? [])
    expect(rows.map(({ id }) => id).sort()).toEqual(evidence.map(nonceOf).sort())
  })

  it('evaluates what was spent in the transaction that stands, not in one that was rolled back', async () => {
    const { cards, devices } = makeCards(3)
    const evidence = await freshEvidence({ cards, devices })
    attester.betweenRuns = () => attester.call(terminal, 'evidence.appraise', { evidence: evidence[1] })
    expect(await appraise(evidence)).toMatchObject([{ verdict: 'warning' }, { problem: { code: 'conflict' } }, { verdict: 'warning' }])
    const [third = ''] = await freshEvidence(makeCards(1))
    attester.betweenRuns = () => Promise.resolve()
    expect(await appraise([third, third])).toMatchObject([{ verdict: 'warning' }, { problem: { code: 'conflict' } }])
  })

  it('whose results cannot be signed has spent its challenges', async () => {
    const evidence = await freshEvidence(makeCards(2))
    attester.soft.state.isAway = true
    const problem = await attester.refused(terminal, APPRAISE, { evidence })
    attester.soft.state.isAway = false
    expect(problem.code).toBe('hsm-unavailable')
    expect(attester.entries.at(-1)).toMatchObject({ kind: 'outcome', code: 'hsm-unavailable' })
    expect(await appraise(evidence)).toMatchObject([{ problem: { code: 'conflict' } }, { problem: { code: 'conflict' } }])
  })

  it('with a challenge whose row was edited is refused whole, and spends nothing', async () => {
    const evidence = await freshEvidence(makeCards(2))
    const nonce = fromBase64url(nonceOf(evidence[0] ?? ''))
    await attester.db.ownerSql.query(`UPDATE attestation_nonces SET expires_at = expires_at + interval '1 hour' WHERE nonce = $1`, [nonce])
    expect((await attester.refused(terminal, APPRAISE, { evidence })).code).toBe('integrity-failed')
    expect(await appraise(evidence.slice(1))).toMatchObject([{ verdict: 'warning' }])
  })

  it('of a card that is not known takes the same statements and calls as a wrong one', async () => {
    const of = async (iccid: string): Promise<object> => {
      const evidence = evidenceFor(attester.cards.unknown(), await challengeAll([iccid]), { imei: '35000000000000' }, { iccid })
      const { result, calls, statements } = await observe(() => appraise([evidence]))
      return { result: result.map((one) => ({ ...one, result: undefined })), calls, statements }
    }
    expect(await of(attester.cards.iccid())).toEqual(await of(attester.cards.make().iccid))
  })

  it('is 1 to 256, in base64', async () => {
    for (const evidence of [[], Array.from({ length: 257 }, () => 'AAAA'), ['AAAA', 'not base64!'], ['']]) {
      expect((await attester.refused(terminal, APPRAISE, { evidence })).code).toBe('request-invalid')
    }
    const full = await freshEvidence(makeCards(256))
    const results = await appraise(full)
    expect(results.filter((one) => 'verdict' in one && one.verdict === 'warning')).toHaveLength(256)
  })
})

describe('the log of batches', () => {
  it('has ICCID, IMEI and UDID under personal facts and nowhere else', () => {
    const personal = attester.entries.flatMap(({ facts }) => Object.values(facts?.personal ?? {}))
    expect(personal.length).toBeGreaterThan(1000)
    const rest = JSON.stringify(attester.entries.map(({ facts, ...entry }) => ({ ...entry, facts: { ...facts, personal: undefined } })))
    expect([...new Set(personal)].filter((value) => rest.includes(value))).toEqual([])
  })
})

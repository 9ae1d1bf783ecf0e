import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { luhnDigit } from '../core/iccid.ts'
import { verifyResult } from './result.ts'
import { alice, type Attester, bob, openAttester, person, terminal } from './testing/attester.ts'
import { appraiseCard, bindCard, makeDevice, unbindCard } from './testing/devices.ts'

let attester: Attester
beforeAll(async () => {
  attester = await openAttester()
})
afterAll(() => attester.db.close())

const get = (query: object): Promise<Record<string, unknown>> => attester.call(terminal, 'binding.get', query)
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5))

describe('a card and a device', () => {
  it('that are free are bound; the same pair is proved again', async () => {
    const [card, device] = [attester.cards.make(), makeDevice()]
    const bound = await bindCard(attester, card, device)
    expect(bound).toMatchObject({ verdict: 'bound', reasons: [], binding: { iccid: card.iccid, ...device, level: 'L1', state: 'bound' } })
    expect(verifyResult({ token: bound.result, keySet: attester.feature.keySet(), at: new Date() })).toMatchObject({ ok: true, status: 'affirming' })
    expect(attester.entries.at(-1)?.facts).toMatchObject({
      public: { verdict: 'bound' },
      rows: [{ table: 'bindings', version: 1 }],
    })
    await pause()
    const proved = await bindCard(attester, card, device)
    expect(proved).toMatchObject({ verdict: 'proved', binding: { bindingId: bound.binding?.bindingId, from: bound.binding?.from } })
    expect(new Date(proved.binding?.lastProvedAt ?? 0).getTime()).toBeGreaterThan(new Date(bound.binding?.lastProvedAt ?? 0).getTime())
    expect(await attester.db.ownerSql.query('SELECT 1 FROM bindings WHERE iccid = $1', [card.iccid])).toHaveLength(1)
  })

  it('of which one is bound to another are a conflict: both claims are kept, nothing is bound', async () => {
    const [card, thief, device, elsewhere] = [attester.cards.make(), attester.cards.make(), makeDevice(), makeDevice()]
    const first = await bindCard(attester, card, device)
    const moved = await bindCard(attester, card, elsewhere)
    expect(moved).toMatchObject({ verdict: 'conflict', reasons: ['binding-contradicted'] })
    expect(moved).not.toHaveProperty('binding')
    expect(verifyResult({ token: moved.result, keySet: attester.feature.keySet(), at: new Date() })).toMatchObject({ ok: true, status: 'contraindicated' })
    expect(await bindCard(attester, thief, device)).toMatchObject({ verdict: 'conflict' })
    expect(await bindCard(attester, thief, { ...makeDevice(), udid: device.udid ?? '' })).toMatchObject({ verdict: 'conflict' })
    const conflicts = await attester.db.ownerSql.query<{ binding_id: string; iccid: string; standing_evidence: Buffer; evidence: Buffer }>(
      'SELECT * FROM binding_conflicts WHERE binding_id = $1 ORDER BY id',
      [first.binding?.bindingId],
    )
    expect(conflicts.map(({ iccid }) => iccid)).toEqual([card.iccid, thief.iccid, thief.iccid])
    for (const { standing_evidence: standing, evidence } of conflicts) expect(standing.equals(evidence)).toBe(false)
    expect(await get({ iccid: card.iccid })).toMatchObject({ state: 'conflict', imei: device.imei })
    await expect(get({ iccid: thief.iccid })).rejects.toMatchObject({ code: 'not-found' })
    // The first pair is still what stands, and is not affirmed until a person has decided.
    expect(await appraiseCard(attester, card, device)).toMatchObject({ verdict: 'warning', reasons: ['binding-conflict'], binding: 'conflict' })
    expect(await bindCard(attester, card, device)).toMatchObject({ verdict: 'proved', reasons: ['binding-conflict'], binding: { state: 'conflict' } })
  })

  it('that touch two bindings are a conflict of both', async () => {
    const [one, two, here, there] = [attester.cards.make(), attester.cards.make(), makeDevice(), makeDevice(false)]
    await bindCard(attester, one, here)
    await bindCard(attester, two, there)
    expect(await bindCard(attester, one, there)).toMatchObject({ verdict: 'conflict' })
    for (const { iccid } of [one, two]) expect(await get({ iccid })).toMatchObject({ state: 'conflict' })
  })

  it('claimed at once by many are bound once: the others are conflicts or told to ask again', async () => {
    const device = makeDevice()
    const cards = Array.from({ length: 12 }, () => attester.cards.make())
    const ends = await Promise.allSettled(cards.map((card) => bindCard(attester, card, device)))
    const verdicts = ends.map((end) => (end.status === 'fulfilled' ? end.value.verdict : (end.reason as { code: string }).code))
    expect(verdicts.filter((verdict) => verdict === 'bound')).toHaveLength(1)
    expect(verdicts.every((verdict) => verdict === 'bound' || verdict === 'conflict')).toBe(true)
    expect(await attester.db.ownerSql.query('SELECT 1 FROM bindings WHERE imei = $1', [device.imei])).toHaveLength(1)
  })
})

describe('unbinding', () => {
  it('needs another person; then both are free, and the history stays', async () => {
    const [card, device, next] = [attester.cards.make(), makeDevice(), makeDevice()]
    await bindCard(attester, card, device)
    await pause()
    const { requestId } = await attester.call<{ requestId: string }>(alice, 'binding.unbind', { iccid: card.iccid, reason: 'meter replaced' })
    for (const self of [alice, person('module', 'alice')]) {
      expect((await attester.refused(self, 'binding.approve-unbind', { requestId })).code).toBe('forbidden')
    }
    expect(await get({ iccid: card.iccid })).toMatchObject({ state: 'bound' })
    expect(await attester.call(bob, 'binding.approve-unbind', { requestId })).toMatchObject({ state: 'ended', until: expect.any(String) as string })
    expect((await attester.refused(bob, 'binding.approve-unbind', { requestId })).detail).toMatch(/approved already/)
    await expect(get({ imei: device.imei })).rejects.toMatchObject({ code: 'not-found' })
    expect(await bindCard(attester, card, next)).toMatchObject({ verdict: 'bound' })
    expect(await bindCard(attester, attester.cards.make(), device)).toMatchObject({ verdict: 'bound' })
    const { bindings } = await attester.call<{ bindings: Record<string, string>[] }>(terminal, 'binding.history', { iccid: card.iccid })
    expect(bindings.map(({ imei, state }) => [imei, state])).toEqual([
      [device.imei, 'ended'],
      [next.imei, 'bound'],
    ])
    expect(await get({ iccid: card.iccid, at: bindings[0]?.['from'] ?? '' })).toMatchObject({ imei: device.imei, asOf: bindings[0]?.['from'] })
  })

  it('ends a conflict', async () => {
    const [card, device, elsewhere] = [attester.cards.make(), makeDevice(), makeDevice()]
    await bindCard(attester, card, device)
    await bindCard(attester, card, elsewhere)
    await unbindCard(attester, card.iccid)
    expect(await bindCard(attester, card, elsewhere)).toMatchObject({ verdict: 'bound' })
  })

  it('approved twice at once ends the binding once; two requests for one binding too', async () => {
    const [card, carol] = [attester.cards.make(), person('officer', 'carol')]
    await bindCard(attester, card, makeDevice())
    const ask = (): Promise<{ requestId: string }> => attester.call(alice, 'binding.unbind', { iccid: card.iccid, reason: 'x' })
    const [one, two] = [await ask(), await ask()]
    const ends = await Promise.allSettled(
      [bob, carol].flatMap((caller) => [one, two].map(({ requestId }) => attester.call(caller, 'binding.approve-unbind', { requestId }))),
    )
    expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('of what is not bound, or a request that is not there, finds nothing', async () => {
    expect((await attester.refused(alice, 'binding.unbind', { iccid: attester.cards.iccid(), reason: 'x' })).code).toBe('not-found')
    expect((await attester.refused(bob, 'binding.approve-unbind', { requestId: randomUUID() })).code).toBe('not-found')
  })
})

describe('a look-up', () => {
  it('finds by ICCID, UDID and IMEI in all its forms, and takes exactly one', async () => {
    const [card, device] = [attester.cards.make(), makeDevice()]
    await bindCard(attester, card, device)
    const { imei, udid } = device
    for (const query of [{ iccid: card.iccid }, { udid }, { imei }, { imei: imei + luhnDigit(imei) }, { imei: `${imei}07` }]) {
      expect(await get(query)).toMatchObject({ iccid: card.iccid, imei, udid })
    }
    for (const query of [{}, { imei, udid }, { imei: '1' }, { iccid: card.iccid, at: 'yesterday' }]) {
      expect((await attester.refused(terminal, 'binding.get', query)).code).toBe('request-invalid')
    }
    await expect(get({ iccid: card.iccid, at: '2020-01-01T00:00:00+02:00' })).rejects.toMatchObject({ code: 'not-found' })
    expect(await attester.call(terminal, 'binding.history', { udid: randomUUID() })).toEqual({ bindings: [] })
  })
})

describe('a row', () => {
  it.each([
    `imei = '35999999999999'`,
    `state = 'conflict'`,
    `valid = tstzrange(lower(valid) - interval '1 day', NULL, '[)')`,
    `last_proved_at = now() + interval '1 day'`,
    `evidence = '\\x00'`,
  ])('of a binding that was edited is refused: %s', async (set) => {
    const [card, device] = [attester.cards.make(), makeDevice()]
    await bindCard(attester, card, device)
    await attester.db.ownerSql.query(`UPDATE bindings SET ${set} WHERE iccid = $1`, [card.iccid])
    expect((await attester.refused(terminal, 'binding.get', { iccid: card.iccid })).code).toBe('integrity-failed')
    await expect(bindCard(attester, card, device)).rejects.toMatchObject({ code: 'integrity-failed' })
    expect((await attester.refused(alice, 'binding.unbind', { iccid: card.iccid, reason: 'x' })).code).toBe('integrity-failed')
    await attester.db.ownerSql.query('DELETE FROM bindings WHERE iccid = $1', [card.iccid])
  })

  it('of a request that was edited is refused', async () => {
    const card = attester.cards.make()
    await bindCard(attester, card, makeDevice())
    const { requestId } = await attester.call<{ requestId: string }>(alice, 'binding.unbind', { iccid: card.iccid, reason: 'x' })
    await attester.db.ownerSql.query(`UPDATE unbind_requests SET requested_by = 'urn:gridseal:officer:mallory' WHERE id = $1`, [requestId])
    expect((await attester.refused(alice, 'binding.approve-unbind', { requestId })).code).toBe('integrity-failed')
  })

  it('is the service’s to add and to end, and not to delete', async () => {
    for (const table of ['bindings', 'binding_conflicts', 'unbind_requests', 'attestation_sqn', 'attestation_decoys']) {
      await expect(attester.db.sql.query(`DELETE FROM ${table}`)).rejects.toMatchObject({ code: '42501' })
    }
    await expect(attester.db.sql.query(`UPDATE bindings SET iccid = 'x'`)).rejects.toMatchObject({ code: '42501' })
    await expect(attester.db.sql.query(`UPDATE attestation_nonces SET expires_at = now()`)).rejects.toMatchObject({ code: '42501' })
  })
})

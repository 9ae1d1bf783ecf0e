import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Problem } from '../core/problem.ts'
import { type Attester, openAttester } from './testing/attester.ts'
import { bindCard, makeDevice, unbindCard } from './testing/devices.ts'

let attester: Attester
beforeAll(async () => {
  attester = await openAttester()
})
afterAll(() => attester.db.close())

const COUNT = 4
const STEP = fc.record({ unbind: fc.integer({ min: 0, max: 9 }).map((n) => n < 4), card: fc.nat(COUNT - 1), device: fc.nat(COUNT - 1) })

/** Pairs of bindings that share a card or a device at some instant, by a query that knows nothing of the constraints. */
const OVERLAPS = `SELECT a.id FROM bindings a JOIN bindings b ON a.id < b.id AND (a.iccid = b.iccid OR a.imei = b.imei OR a.udid = b.udid)
  WHERE lower(a.valid) < coalesce(upper(b.valid), 'infinity') AND lower(b.valid) < coalesce(upper(a.valid), 'infinity')`

it('no device has two cards and no card two devices at any instant, whatever callers do at once', { timeout: 120_000 }, async () => {
  const verdicts = new Map<string, number>()
  await fc.assert(
    fc.asyncProperty(fc.array(STEP, { minLength: 50, maxLength: 50 }), async (steps) => {
      const cards = Array.from({ length: COUNT }, () => attester.cards.make())
      const devices = Array.from({ length: COUNT }, (_, at) => makeDevice(at % 2 === 0))
      const queue = [...steps]
      const caller = async (): Promise<void> => {
        for (let step = queue.shift(); step !== undefined; step = queue.shift()) {
          const [card, device] = [cards[step.card], devices[step.device]]
          if (card === undefined || device === undefined) throw new Error('no such card or device')
          const ended = await (step.unbind
            ? unbindCard(attester, card.iccid).then(() => 'unbound')
            : bindCard(attester, card, device).then(({ verdict }) => verdict)
          ).catch((error: unknown) => {
            if (error instanceof Problem && error.status < 500) return error.code
            throw error
          })
          verdicts.set(ended, (verdicts.get(ended) ?? 0) + 1)
        }
      }
      await Promise.all(Array.from({ length: 8 }, caller))
      expect(await attester.db.ownerSql.query(OVERLAPS)).toEqual([])
    }),
    { numRuns: 4, endOnFailure: true },
  )
  // The operations were of use: each way to end was gone.
  expect([...verdicts.keys()].sort()).toEqual(expect.arrayContaining(['bound', 'conflict', 'not-found', 'unbound']))
  expect([...verdicts.values()].reduce((sum, count) => sum + count)).toBe(200)
})

it('the database itself lets no second binding in', async () => {
  const [row] = await attester.db.ownerSql.query<{ id: string }>('SELECT id FROM bindings WHERE upper_inf(valid) LIMIT 1')
  const columns = 'imei, udid, level, state, valid, last_proved_at, evidence, bound_by, version, mac'
  const twice = attester.db.ownerSql.query(`INSERT INTO bindings (id, iccid, ${columns}) SELECT 'x', '8986', ${columns} FROM bindings WHERE id = $1`, [row?.id])
  await expect(twice).rejects.toMatchObject({ code: '23P01' })
})

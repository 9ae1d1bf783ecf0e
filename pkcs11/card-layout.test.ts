import { describe, expect, it } from 'vitest'
import { assertPlan, cardLayout, readCards } from './card-layout.ts'
import type { CardKeyPlan } from './index.ts'
import { PLAN } from './testing/fill-fixture.ts'

describe('the layout of a card', () => {
  it('gives every part its own bytes, and reads them back in the order of the plan', () => {
    const layout = cardLayout(PLAN)
    // 5 KCVs of 3 bytes and one of 5, 6 wraps and one stored key of 24.
    expect(layout.lengthBytes).toBe(5 * 3 + 5 + 7 * 24)
    const bytes = Buffer.from(Array.from({ length: 2 * layout.lengthBytes }, (_, at) => at % 251))
    const cards = readCards(layout, bytes, 2)
    const parts = cards.flatMap((card) => card.flatMap(({ kcv, wrapped, stored }) => [kcv.value, wrapped, ...(stored ? [stored] : [])]))
    expect(Buffer.concat(parts).equals(bytes)).toBe(true)
    expect(cards[1]?.map(({ purpose, kcv }) => [purpose, kcv.method])).toEqual(PLAN.map(({ purpose, kcv }) => [purpose, kcv]))
    expect(() => readCards(layout, bytes, 3)).toThrow(RangeError)
  })

  it.each<[string, readonly CardKeyPlan[]]>([
    ['a purpose twice', [...PLAN, { purpose: 'ki', source: { kind: 'random' }, kcv: 'aes-gp' }]],
    ['an OPc before its key', [{ purpose: 'opc', source: { kind: 'opc', of: 'ki' }, kcv: 'aes-gp' }, ...PLAN.slice(0, 1)]],
    ['an OPc of a derived key', [...PLAN, { purpose: 'opc-2', source: { kind: 'opc', of: 'gp-enc' }, kcv: 'aes-gp' }]],
    ['type 0', [{ purpose: 'x', source: { kind: 'derived', type: 0 }, kcv: 'aes-gp' }]],
    ['type 256', [{ purpose: 'x', source: { kind: 'derived', type: 256 }, kcv: 'aes-gp' }]],
  ])('refuses %s', (_, plan) => {
    expect(() => assertPlan(plan)).toThrow(RangeError)
  })
})

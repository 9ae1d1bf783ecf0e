import { describe, expect, it } from 'vitest'
import type { CardFacts } from '../core/card-facts.ts'
import { decideForCards } from './card-questions.ts'
import type { Asked, Claims, Decision } from './firewall/decide.ts'

const asked: Asked = {
  ...{ operation: 'attestation.cards.challenge', caller: { kind: 'module', name: 'm', id: 'm' }, uses: [], at: 0 },
  facts: { method: 'evidence' },
}
const quota = (key: string): Claims => ({ quota: { key, amount: 1, most: 10, period: '2026-11' } })

/** A policy by region: what is not listed is denied. */
function ask(regions: Readonly<Record<string, Claims | true>>, cards: readonly CardFacts[]) {
  const questions: Asked[] = []
  const decide = (question: Asked): Decision => {
    questions.push(question)
    const region = String(question.facts['region'])
    const given = regions[region]
    const common = { revision: 'r', reason: '' }
    if (given === undefined) return { effect: 'deny', rule: 'default', ...common }
    return { effect: 'allow', rule: `in-${region}`, ...common, ...(given === true ? {} : { claims: given }) }
  }
  return { ...decideForCards(decide, asked, cards), questions }
}

describe('a request about cards', () => {
  it('is asked once for each kind of card, with the facts of the operation', () => {
    const { questions, decision, question } = ask({ '330106': true, '330100': true }, [
      { region: '330106', cardState: 'keyed' },
      { region: '330106', cardState: 'keyed' },
      { region: '330100', cardState: 'keyed' },
      { region: '330106', cardState: 'delivered' },
    ])
    expect(questions).toHaveLength(3)
    expect(decision).toMatchObject({ effect: 'allow', rule: 'in-330106' })
    expect(question.facts).toEqual({ method: 'evidence', region: '330106', cardState: 'keyed' })
  })

  it('about no card is one question, and one about unknown cards too: without what is not there', () => {
    expect(ask({ undefined: true }, [])).toMatchObject({ decision: { effect: 'allow' }, question: asked })
    expect(ask({ undefined: true }, [{}, {}]).questions).toEqual([asked])
  })

  it.each([
    ['first', [{ region: '440305' }, { region: '330106' }]],
    ['last', [{ region: '330106' }, {}, { region: '440305' }]],
  ])('is denied where one of them is, wherever it stands: %s', (_where, cards) => {
    const { decision, question } = ask({ '330106': true, undefined: true }, cards)
    expect(decision).toMatchObject({ effect: 'deny', rule: 'default' })
    expect(question.facts['region']).toBe('440305')
  })

  it('takes from the limits of the rule that has some, and is denied where two have', () => {
    const cards = [{ region: '330106' }, { region: '440305' }, { region: '440306' }]
    expect(ask({ '330106': true, '440305': quota('a'), '440306': true }, cards)).toMatchObject({
      decision: { effect: 'allow', rule: 'in-440305', claims: quota('a') },
      question: { facts: { region: '440305' } },
    })
    const apart = ask({ '330106': quota('b'), '440305': quota('a'), '440306': true }, cards).decision
    expect(apart).toMatchObject({ effect: 'deny', rule: 'cards-apart', revision: 'r' })
    expect(apart.reason).toMatch(/in-330106 and in-440305/)
    expect(apart).not.toHaveProperty('claims')
  })
})

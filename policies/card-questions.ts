import type { CardFacts } from '../core/card-facts.ts'
import type { Asked, Decision } from './firewall/decide.ts'

/** What decisions name in place of a rule where two rules with limits of their own would have to decide. */
export const CARDS_APART = 'cards-apart'

/** What was put to the policy, and what it said. */
export interface Decided {
  readonly question: Asked
  readonly decision: Decision
}

/**
 * Puts a request to the policy once for each kind of card (region and state) among those that it concerns, and answers what counts for all of it: a denial before
 * anything else, so that a card hides behind no other; then the one with limits, approvals among them. Two rules with limits of their own are a denial: nobody
 * could settle both. A request about no card is one question.
 */
export function decideForCards(decide: (asked: Asked) => Decision, asked: Asked, cards: readonly CardFacts[]): Decided {
  const kinds = new Map(cards.map((card) => [`${card.region ?? ''} ${card.cardState ?? ''}`, card]))
  const [first, ...others] = [...kinds.values()].map((card): Decided => ask(decide, { ...asked, facts: { ...asked.facts, ...card } }))
  if (first === undefined) return ask(decide, asked)
  const all = [first, ...others]
  const denied = all.find(({ decision }) => decision.effect === 'deny')
  if (denied !== undefined) return denied
  const limited = all.filter(({ decision }) => decision.claims !== undefined)
  const [one = first] = limited
  const another = limited.find(({ decision }) => decision.rule !== one.decision.rule)
  return another === undefined ? one : { ...one, decision: apart(one.decision, another.decision) }
}

const ask = (decide: (asked: Asked) => Decision, question: Asked): Decided => ({ question, decision: decide(question) })

const apart = ({ rule, revision }: Decision, another: Decision): Decision => ({
  ...{ effect: 'deny', rule: CARDS_APART, revision },
  reason: `The rules ${rule} and ${another.rule} allow it for some of its cards each, within limits of their own. Ask for those cards apart.`,
})

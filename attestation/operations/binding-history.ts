import { z } from 'zod'
import { type Operation, operation } from '../../policies/operation.ts'
import type { CardFacts } from '../../core/card-facts.ts'
import type { Binding } from '../binding.ts'
import type { BindingName } from '../binding-store.ts'
import { cardsNamed, hasOneName, NAME_FIELDS, nameFacts, nameIn, type NameInput, ONE_NAME } from './binding-name.ts'
import { type CardDeps, findCardFacts } from '../known-card.ts'
import type { Deps } from './deps.ts'
import { BINDING, viewBinding } from './views.ts'

interface Target {
  readonly cards: readonly CardFacts[]
  readonly name: BindingName
  readonly asOf: Date
  readonly all: readonly Binding[]
}

const OUTPUT = z.strictObject({ bindings: z.array(BINDING).meta({ description: 'The oldest first, 1,000 at most.' }) }).meta({ id: 'BindingHistory' })

export const bindingHistory = (
  deps: Pick<Deps, 'bindings' | 'databaseNow' | keyof CardDeps>,
): Operation<NameInput, Target, readonly Binding[], z.infer<typeof OUTPUT>> =>
  operation({
    name: 'attestation.binding.history',
    summary: 'Reads all bindings that a card or a device ever had.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/attestation/bindings/history' },
    input: z.strictObject(NAME_FIELDS).refine(hasOneName, ONE_NAME),
    output: OUTPUT,
    locate: async (input) => {
      const name = nameIn(input)
      const [all, asOf] = await Promise.all([deps.bindings.history(name), deps.databaseNow()])
      return { name, all, asOf, cards: await findCardFacts(deps, cardsNamed(name, all)) }
    },
    uses: () => [],
    facts: ({ name }) => nameFacts(name),
    cards: ({ cards }) => cards,
    execute: (_permit, { all }) => Promise.resolve(all),
    respond: ({ asOf }, all) => ({ bindings: all.map((binding) => viewBinding(binding, asOf)) }),
  })

import { z } from 'zod'
import { Problem } from '../../core/problem.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import type { CardFacts } from '../../core/card-facts.ts'
import type { Binding } from '../binding.ts'
import type { BindingName } from '../binding-store.ts'
import { cardsNamed, hasOneName, NAME_FIELDS, nameFacts, nameIn, type NameInput, ONE_NAME, TIME } from './binding-name.ts'
import { type CardDeps, findCardFacts } from '../known-card.ts'
import type { Deps } from './deps.ts'
import { found } from '../../core/found.ts'
import { BINDING, type BindingView, viewBinding } from './views.ts'

interface Input extends NameInput {
  readonly at?: string | undefined
}
interface Target {
  readonly cards: readonly CardFacts[]
  readonly name: BindingName
  readonly asOf: Date
  readonly binding: Binding | undefined
}

export const getBinding = (deps: Pick<Deps, 'bindings' | 'databaseNow' | keyof CardDeps>): Operation<Input, Target, Binding, BindingView> =>
  operation({
    name: 'attestation.binding.get',
    summary: 'Reads which device a card is bound to, or which card a device, now or at another time.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/attestation/bindings' },
    input: z.strictObject({ ...NAME_FIELDS, at: TIME.optional() }).refine(hasOneName, ONE_NAME),
    output: BINDING,
    locate: async (input) => {
      const name = nameIn(input)
      const asOf = input.at === undefined ? await deps.databaseNow() : new Date(input.at)
      const binding = await deps.bindings.findAt(name, asOf)
      return { name, asOf, binding, cards: await findCardFacts(deps, cardsNamed(name, binding === undefined ? [] : [binding])) }
    },
    uses: () => [],
    facts: ({ name }) => nameFacts(name),
    cards: ({ cards }) => cards,
    admit: ({ binding }) => (binding === undefined ? new Problem('not-found', 'It was not bound at that time.') : undefined),
    execute: (_permit, { binding }) => Promise.resolve(found(binding)),
    respond: ({ asOf }, binding) => viewBinding(binding, asOf),
  })

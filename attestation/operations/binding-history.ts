import { z } from 'zod'
import { type Operation, operation } from '../../policies/operation.ts'
import type { Binding } from '../binding.ts'
import type { BindingName } from '../binding-store.ts'
import { hasOneName, NAME_FIELDS, nameFacts, nameIn, type NameInput, ONE_NAME } from './binding-name.ts'
import type { Deps } from './deps.ts'
import { BINDING, viewBinding } from './views.ts'

interface Target {
  readonly name: BindingName
  readonly asOf: Date
  readonly all: readonly Binding[]
}

const OUTPUT = z.strictObject({ bindings: z.array(BINDING).meta({ description: 'The oldest first, 1,000 at most.' }) }).meta({ id: 'BindingHistory' })

export const bindingHistory = ({
  bindings,
  databaseNow,
}: Pick<Deps, 'bindings' | 'databaseNow'>): Operation<NameInput, Target, readonly Binding[], z.infer<typeof OUTPUT>> =>
  operation({
    name: 'attestation.binding.history',
    summary: 'Reads all bindings that a card or a device ever had.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/attestation/bindings/history' },
    input: z.strictObject(NAME_FIELDS).refine(hasOneName, ONE_NAME),
    output: OUTPUT,
    locate: async (input) => {
      const name = nameIn(input)
      return { name, all: await bindings.history(name), asOf: await databaseNow() }
    },
    uses: () => [],
    facts: ({ name }) => nameFacts(name),
    execute: (_permit, { all }) => Promise.resolve(all),
    respond: ({ asOf }, all) => ({ bindings: all.map((binding) => viewBinding(binding, asOf)) }),
  })

import { z } from 'zod'
import { type Operation, operation } from '../../operation.ts'
import type { Deps } from '../deps.ts'
import { PERSON, PERSON_ID, type PersonView, viewPerson } from '../view.ts'

interface Input {
  readonly after?: string | undefined
  readonly limit: number
}

export const listPersons = ({
  persons,
  callers,
  credentials,
}: Pick<Deps, 'persons' | 'callers' | 'credentials'>): Operation<Input, Input, PersonView[], { persons: PersonView[] }> =>
  operation({
    name: 'policies.person.list',
    summary: 'Lists the persons with their registrations, in the order of their names.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/persons' },
    input: z.strictObject({
      after: PERSON_ID.optional().meta({ description: 'The last id of the page before.' }),
      limit: z.coerce.number().int().min(1).max(1000).default(100).meta({ description: 'How many at most.' }),
    }),
    output: z.strictObject({ persons: z.array(PERSON) }),
    locate: (input) => Promise.resolve(input),
    uses: () => [],
    facts: () => ({}),
    execute: async (_permit, { after, limit }) => {
      const found = await persons.list({ ...(after === undefined ? {} : { after }), limit })
      const ids = found.map(({ id }) => id)
      const [registrations, passwords] = await Promise.all([callers.listOf(ids), credentials.findPasswords(ids)])
      return found.map((person) =>
        viewPerson(
          person,
          registrations.filter(({ personId }) => personId === person.id),
          passwords.find(({ personId }) => personId === person.id),
        ),
      )
    },
    respond: (_target, views) => ({ persons: views }),
  })

import { z } from 'zod'
import { newUuid } from '../../../core/ids.ts'
import { digestRow } from '../../../core/row.ts'
import { callerUrn } from '../../caller.ts'
import { CALLER_NAME } from '../../callers/view.ts'
import { type Operation, operation } from '../../operation.ts'
import type { Deps } from '../deps.ts'
import { type Person, personRow } from '../person.ts'
import { PERSON, type PersonView, viewPerson } from '../view.ts'

export const registerPerson = ({ persons, now }: Pick<Deps, 'persons' | 'now'>): Operation<{ name: string }, Person, Person, PersonView> =>
  operation({
    name: 'policies.person.register',
    summary: 'Registers a person. What they are (officer, auditor, business person) is registered afterwards, as theirs.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/policies/persons', status: 201 },
    input: z.strictObject({ name: CALLER_NAME }),
    output: PERSON,
    locate: ({ name }, caller) =>
      Promise.resolve({ id: newUuid(), name, state: 'active' as const, registeredBy: callerUrn(caller), registeredAt: now().toISOString(), version: 1 }),
    uses: () => [],
    facts: ({ id, name }) => ({ public: { personId: id, subject: callerUrn({ kind: 'person', name }) } }),
    execute: (_permit, person) => Promise.resolve(person),
    record: async (tx, person) => {
      await persons.insert(tx, person)
      return { facts: { rows: [digestRow(personRow(person))] } }
    },
    respond: (person) => viewPerson(person, [], undefined),
  })

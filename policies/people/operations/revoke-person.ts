import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import type { Registration } from '../../callers/caller-store.ts'
import { type Operation, operation } from '../../operation.ts'
import type { Deps } from '../deps.ts'
import { type Person, personRow } from '../person.ts'
import { PERSON, PERSON_ID, type PersonView, viewPerson } from '../view.ts'

interface Target {
  readonly personId: string
  readonly person: Person | undefined
  readonly registrations: readonly Registration[]
  readonly isSelf: boolean
}

export const revokePerson = ({ persons, callers }: Pick<Deps, 'persons' | 'callers'>): Operation<{ personId: string }, Target, Person, PersonView> =>
  operation({
    name: 'policies.person.revoke',
    summary: 'Revokes a person for good: all certificates and sessions of all their registrations stop working within 5 seconds, on open connections too.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/policies/persons/{personId}/revoke' },
    input: z.strictObject({ personId: PERSON_ID }),
    output: PERSON,
    locate: async ({ personId }, caller) => ({
      personId,
      person: await persons.find(personId),
      registrations: await callers.listOf([personId]),
      isSelf: caller.person?.id === personId,
    }),
    uses: () => [],
    facts: ({ personId }) => ({ public: { personId } }),
    admit: ({ person, isSelf }) => {
      if (person === undefined) return new Problem('not-found', 'There is no person of this id.')
      if (person.state === 'revoked') return new Problem('conflict', 'The person is revoked already.')
      return isSelf ? new Problem('conflict', 'Nobody revokes themselves: ask another officer.') : undefined
    },
    execute: (_permit, target) => {
      const person = found(target.person)
      return Promise.resolve({ ...person, state: 'revoked' as const, version: person.version + 1 })
    },
    record: async (tx, _target, revoked) => {
      await persons.update(tx, revoked)
      return { facts: { rows: [digestRow(personRow(revoked))] } }
    },
    respond: ({ registrations }, revoked) => viewPerson(revoked, registrations, undefined),
  })

import { z } from 'zod'
import { newUuid } from '../../../core/ids.ts'
import { digestRow } from '../../../core/row.ts'
import { callerUrn } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import { type Person, personRow } from '../../people/person.ts'
import type { PersonStore } from '../../people/person-store.ts'
import { type Bootstrap, bootstrapRow, type CallerStore, type Registration, registrationRow } from '../caller-store.ts'
import { CALLER_NAME, REGISTRATION, type RegistrationView, viewRegistration } from '../view.ts'

type Output = { officers: RegistrationView[] }
interface Enrolled {
  readonly officer: Registration
  readonly person: Person
}

/** The one way in before anyone is in: exactly two officers, who are two persons, once. Only `gridseal init` performs it. */
export const enrolFirstOfficers = ({
  callers,
  persons,
  bootstrap,
  now,
}: {
  readonly callers: CallerStore
  readonly persons: PersonStore
  readonly bootstrap: Bootstrap
  readonly now: () => Date
}): Operation<{ names: string[] }, Enrolled[], Enrolled[], Output> =>
  operation({
    name: 'policies.bootstrap.enrol',
    summary: 'Enrols the first two officers, and burns itself.',
    effect: 'durable',
    input: z.strictObject({
      names: z
        .array(CALLER_NAME)
        .length(2, 'exactly two officers are enrolled first')
        .refine(([a, b]) => a !== b, 'the two officers are two persons'),
    }),
    output: z.strictObject({ officers: z.array(REGISTRATION) }),
    locate: ({ names }, caller) =>
      Promise.resolve(
        names.map((name) => {
          const made = { name, state: 'active' as const, registeredBy: callerUrn(caller), registeredAt: now().toISOString(), version: 1 }
          const person = { id: newUuid(), ...made }
          return { person, officer: { id: newUuid(), kind: 'officer' as const, ...made, personId: person.id } }
        }),
      ),
    uses: () => [],
    facts: (enrolled) => ({ public: { officers: enrolled.map(({ officer }) => callerUrn(officer)) } }),
    execute: (_permit, enrolled) => Promise.resolve(enrolled),
    record: async (tx, enrolled) => {
      const ids = enrolled.map(({ officer }) => officer.id)
      await bootstrap.burn(tx, ids)
      for (const { person, officer } of enrolled) {
        await persons.insert(tx, person)
        await callers.insert(tx, officer)
      }
      const rows = [bootstrapRow(ids), ...enrolled.flatMap(({ person, officer }) => [personRow(person), registrationRow(officer)])]
      return { facts: { rows: rows.map(digestRow) } }
    },
    respond: (_target, enrolled) => ({ officers: enrolled.map(({ officer }) => viewRegistration(officer)) }),
  })

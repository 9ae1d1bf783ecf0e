import { z } from 'zod'
import { newUuid } from '../../../core/ids.ts'
import { digestRow } from '../../../core/row.ts'
import { callerUrn } from '../../caller.ts'
import { type Registration, registrationRow } from '../../callers/caller-store.ts'
import { type Operation, operation } from '../../operation.ts'
import type { Deps } from '../deps.ts'
import { type Person, personRow } from '../person.ts'

interface Adopted {
  readonly person: Person
  readonly registration: Registration
}

/** Registrations of people from before there were persons: each gets one of its own. A name that is taken gets its kind behind it. */
export const adoptRegistrations = ({
  persons,
  callers,
  now,
}: Pick<Deps, 'persons' | 'callers' | 'now'>): Operation<object, readonly Adopted[], readonly Adopted[], { adopted: number }> =>
  operation({
    name: 'policies.person.adopt',
    summary: 'Makes a person for each officer and auditor that was registered before there were persons.',
    effect: 'durable',
    input: z.strictObject({}),
    output: z.strictObject({ adopted: z.number().int() }),
    locate: async (_input, caller) => {
      const taken = new Set<string>()
      const adopted: Adopted[] = []
      for (const registration of await callers.listUnowned()) {
        const free = async (name: string): Promise<boolean> => !taken.has(name) && (await persons.findByName(name)) === undefined
        const name = (await free(registration.name)) ? registration.name : `${registration.name}.${registration.kind}`.slice(0, 56)
        taken.add(name)
        const person = { id: newUuid(), name, state: 'active' as const, registeredBy: callerUrn(caller), registeredAt: now().toISOString(), version: 1 }
        adopted.push({ person, registration: { ...registration, personId: person.id, version: registration.version + 1 } })
      }
      return adopted
    },
    uses: () => [],
    facts: (adopted) => ({ public: { adopted: adopted.map(({ registration }) => callerUrn(registration)) } }),
    execute: (_permit, adopted) => Promise.resolve(adopted),
    record: async (tx, adopted) => {
      for (const { person, registration } of adopted) {
        await persons.insert(tx, person)
        await callers.update(tx, registration)
      }
      return { facts: { rows: adopted.flatMap(({ person, registration }) => [personRow(person), registrationRow(registration)]).map(digestRow) } }
    },
    respond: (_target, adopted) => ({ adopted: adopted.length }),
  })

import { z } from 'zod'
import { newUuid } from '../../../core/ids.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { type Caller, callerUrn, REGISTERED_KINDS } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import { conflictingRole, isHuman, type Person, personRow } from '../../people/person.ts'
import type { PersonStore } from '../../people/person-store.ts'
import { type CallerStore, type Registration, registrationRow } from '../caller-store.ts'
import { CALLER_NAME, REGISTRATION, type RegistrationView, viewRegistration } from '../view.ts'

interface Input {
  readonly kind: Registration['kind']
  readonly name: string
  readonly person?: string | undefined
}
interface Target {
  readonly registration: Registration
  readonly asked: Input
  /** Whom it is made theirs of: as they are then. Undefined: nobody, or nobody of that name. */
  readonly person: Person | undefined
  /** Kinds of the registrations that they have now. */
  readonly held: readonly string[]
}

/**
 * A registration of a human kind belongs to a person: a new one of the same name, or one that is named. That person's version grows with it, so that of two
 * registrations at once, whose roles exclude each other, one is refused.
 */
export const registerCaller = ({
  callers,
  persons,
  now,
}: {
  readonly callers: CallerStore
  readonly persons: PersonStore
  readonly now: () => Date
}): Operation<Input, Target, Target, RegistrationView> =>
  operation({
    name: 'policies.caller.register',
    summary:
      'Registers a caller: a vendor, a module, or a person as officer, auditor or business person. Its client certificate is issued to the registration.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/policies/callers', status: 201 },
    input: z.strictObject({
      kind: z.enum(REGISTERED_KINDS),
      name: CALLER_NAME,
      person: CALLER_NAME.optional().meta({
        description:
          'Of officers, auditors and business persons: the name of the person it belongs to, who is registered already. Absent: a new one of the same name.',
      }),
    }),
    output: REGISTRATION,
    locate: async (asked, caller: Caller) => {
      const { kind, name } = asked
      const made = { registeredBy: callerUrn(caller), registeredAt: now().toISOString() }
      const registration = { id: newUuid(), kind, name, state: 'active' as const, ...made, version: 1 }
      if (!isHuman(kind)) return { registration, asked, person: undefined, held: [] }
      const known = asked.person === undefined ? undefined : await persons.findByName(asked.person)
      const held = known === undefined ? [] : (await callers.listOf([known.id])).filter(({ state }) => state === 'active').map((one) => one.kind)
      const person =
        asked.person === undefined ? { id: newUuid(), name, state: 'active' as const, ...made, version: 1 } : known && { ...known, version: known.version + 1 }
      return { registration: { ...registration, ...(person === undefined ? {} : { personId: person.id }) }, asked, person, held }
    },
    uses: () => [],
    facts: ({ registration, person }) => ({
      public: { subject: callerUrn(registration), callerId: registration.id, ...(person === undefined ? {} : { personId: person.id }) },
    }),
    admit: ({ asked: { kind, person: wanted }, person, held }) => {
      if (!isHuman(kind)) return wanted === undefined ? undefined : new Problem('conflict', `No person stands behind a ${kind}.`)
      if (person === undefined) return new Problem('not-found', 'There is no person of that name.')
      if (person.state === 'revoked') return new Problem('conflict', 'The person is revoked.')
      const other = conflictingRole(kind, held)
      return other === undefined
        ? undefined
        : new Problem(
            'conflict',
            `The person is registered as ${other}, which nobody is who is registered as ${kind}. Revoke that one, or choose another person.`,
          )
    },
    execute: (_permit, target) => Promise.resolve(target),
    record: async (tx, { person }, { registration }) => {
      if (person !== undefined) await (person.version === 1 ? persons.insert(tx, person) : persons.update(tx, person))
      await callers.insert(tx, registration)
      return { facts: { rows: [...(person === undefined ? [] : [personRow(person)]), registrationRow(registration)].map(digestRow) } }
    },
    respond: (_target, { registration }) => viewRegistration(registration),
  })

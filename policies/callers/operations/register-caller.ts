import { z } from 'zod'
import { newUuid } from '../../../core/ids.ts'
import { digestRow } from '../../../core/row.ts'
import { CALLER_KINDS, type Caller, callerUrn } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import { type CallerStore, type Registration, registrationRow } from '../caller-store.ts'
import { CALLER_NAME, REGISTRATION, type RegistrationView, viewRegistration } from '../view.ts'

interface Input {
  readonly kind: Registration['kind']
  readonly name: string
}

export const registerCaller = ({
  callers,
  now,
}: {
  readonly callers: CallerStore
  readonly now: () => Date
}): Operation<Input, Registration, Registration, RegistrationView> =>
  operation({
    name: 'policies.caller.register',
    summary: 'Registers a caller: a vendor, a module, an officer or an auditor. Its client certificate is issued to the registration afterwards.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/policies/callers', status: 201 },
    input: z.strictObject({ kind: z.enum(CALLER_KINDS), name: CALLER_NAME }),
    output: REGISTRATION,
    locate: ({ kind, name }, caller: Caller) =>
      Promise.resolve({ id: newUuid(), kind, name, state: 'active' as const, registeredBy: callerUrn(caller), registeredAt: now().toISOString(), version: 1 }),
    uses: () => [],
    facts: (registration) => ({ public: { subject: callerUrn(registration), callerId: registration.id } }),
    execute: (_permit, registration) => Promise.resolve(registration),
    record: async (tx, registration) => {
      await callers.insert(tx, registration)
      return { facts: { rows: [digestRow(registrationRow(registration))] } }
    },
    respond: (_target, registration) => viewRegistration(registration),
  })

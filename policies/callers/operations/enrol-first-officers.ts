import { z } from 'zod'
import { newUuid } from '../../../core/ids.ts'
import { digestRow } from '../../../core/row.ts'
import { callerUrn } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import { type Bootstrap, bootstrapRow, type CallerStore, type Registration, registrationRow } from '../caller-store.ts'
import { CALLER_NAME, REGISTRATION, type RegistrationView, viewRegistration } from '../view.ts'

type Output = { officers: RegistrationView[] }

/** The one way in before anyone is in: exactly two officers, once. Only `gridseal init` performs it. */
export const enrolFirstOfficers = ({
  callers,
  bootstrap,
  now,
}: {
  readonly callers: CallerStore
  readonly bootstrap: Bootstrap
  readonly now: () => Date
}): Operation<{ names: string[] }, Registration[], Registration[], Output> =>
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
        names.map((name) => ({
          id: newUuid(),
          kind: 'officer' as const,
          name,
          state: 'active' as const,
          registeredBy: callerUrn(caller),
          registeredAt: now().toISOString(),
          version: 1,
        })),
      ),
    uses: () => [],
    facts: (officers) => ({ public: { officers: officers.map(callerUrn) } }),
    execute: (_permit, officers) => Promise.resolve(officers),
    record: async (tx, officers) => {
      const ids = officers.map(({ id }) => id)
      await bootstrap.burn(tx, ids)
      for (const officer of officers) await callers.insert(tx, officer)
      return { facts: { rows: [bootstrapRow(ids), ...officers.map(registrationRow)].map(digestRow) } }
    },
    respond: (_target, officers) => ({ officers: officers.map(viewRegistration) }),
  })

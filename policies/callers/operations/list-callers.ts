import { z } from 'zod'
import { type Operation, operation } from '../../operation.ts'
import type { CallerStore, Registration } from '../caller-store.ts'
import { CALLER_ID, REGISTRATION, type RegistrationView, viewRegistration } from '../view.ts'

interface Input {
  readonly after?: string | undefined
  readonly limit: number
}

export const listCallers = ({ callers }: { readonly callers: CallerStore }): Operation<Input, Input, Registration[], { callers: RegistrationView[] }> =>
  operation({
    name: 'policies.caller.list',
    summary: 'Lists the callers, in the order of kind and name.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/callers' },
    input: z.strictObject({
      after: CALLER_ID.optional().meta({ description: 'The last id of the page before.' }),
      limit: z.coerce.number().int().min(1).max(1000).default(100).meta({ description: 'How many at most.' }),
    }),
    output: z.strictObject({ callers: z.array(REGISTRATION) }),
    locate: (input) => Promise.resolve(input),
    uses: () => [],
    facts: () => ({}),
    execute: (_permit, { after, limit }) => callers.list({ ...(after === undefined ? {} : { after }), limit }),
    respond: (_target, found) => ({ callers: found.map(viewRegistration) }),
  })

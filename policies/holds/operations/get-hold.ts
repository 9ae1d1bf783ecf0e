import { z } from 'zod'
import { base64url } from '../../../core/bytes.ts'
import { found } from '../../../core/found.ts'
import { type Operation, operation } from '../../operation.ts'
import { HOLD, viewHold } from '../view.ts'
import type { Deps } from './deps.ts'
import { HOLD_ID, holdFacts, type HoldTarget, locateHold, noSuchHold, readInput, readUses, ROUTE } from './steps.ts'

const OUTPUT = HOLD.extend({
  input: z.unknown().optional().meta({ description: 'What was sent, while it waits.' }),
  salt: z.string().optional().meta({ description: 'With the input it gives the digest; 16 bytes, base64url, while it waits.' }),
}).meta({ id: 'HeldRequest' })
type View = z.infer<typeof OUTPUT>

/** What approvers look at before they approve: the input itself, and the digest that they approve. */
export const getHold = (deps: Deps): Operation<{ holdId: string }, HoldTarget, { input: unknown }, View> =>
  operation({
    name: 'policies.hold.get',
    summary: 'Shows a held request with its input, as long as it waits.',
    effect: 'transient',
    route: { method: 'GET', path: ROUTE },
    input: z.strictObject({ holdId: HOLD_ID }),
    output: OUTPUT,
    locate: ({ holdId }, caller) => locateHold(deps, holdId, caller),
    uses: readUses,
    facts: holdFacts,
    admit: ({ hold }) => (hold === undefined ? noSuchHold() : undefined),
    execute: async (permit, target) => ({ input: target.input === undefined ? undefined : await readInput(deps, permit, target) }),
    respond: ({ hold, approvals, now }, { input }) => {
      const { salt } = found(hold)
      return { ...viewHold(found(hold), approvals, now), ...(input === undefined || salt === undefined ? {} : { input, salt: base64url(salt) }) }
    },
  })

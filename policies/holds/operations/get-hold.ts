import { z } from 'zod'
import { base64url } from '../../../core/bytes.ts'
import { found } from '../../../core/found.ts'
import type { Caller } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import type { Hold } from '../hold.ts'
import { HOLD, viewHold } from '../view.ts'
import type { Deps } from './deps.ts'
import { HOLD_ID, holdFacts, type HoldTarget, locateHold, noSuchHold, readInput, readUses, ROUTE } from './steps.ts'

const OUTPUT = HOLD.extend({
  input: z.unknown().optional().meta({ description: 'What was sent, while it waits.' }),
  salt: z.string().optional().meta({ description: 'With the input it gives the digest; 16 bytes, base64url, while it waits.' }),
}).meta({ id: 'HeldRequest' })
type View = z.infer<typeof OUTPUT>

/** The guard lets auditors use one key: that of what they asked for themselves (policies/firewall/guard.ts). */
const isKeptFrom = ({ kind, id }: Caller, { requester }: Hold): boolean => kind === 'auditor' && requester.id !== id

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
    admit: ({ hold, caller }) => (hold === undefined || isKeptFrom(caller, hold) ? noSuchHold() : undefined),
    execute: async (permit, target) => ({ input: target.input === undefined ? undefined : await readInput(deps, permit, target) }),
    respond: ({ hold, approvals, now }, { input }) => {
      const { salt } = found(hold)
      return { ...viewHold(found(hold), approvals, now), ...(input === undefined || salt === undefined ? {} : { input, salt: base64url(salt) }) }
    },
  })

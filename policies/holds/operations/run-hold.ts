import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { operationId, type OperationId } from '../../../core/ids.ts'
import { Problem } from '../../../core/problem.ts'
import type { Caller } from '../../caller.ts'
import { type Download, type Operation, operation } from '../../operation.ts'
import type { Hold } from '../hold.ts'
import type { Deps } from './deps.ts'
import { admitOpen, HOLD_ID, holdFacts, type HoldTarget, locateHold, noneOfYours, readInput, readUses, ROUTE } from './steps.ts'

/** Performs an operation by its name with a hold of its own, nested: it is decided anew, and takes the hold in the transaction of its intent. */
export type RunHeld = (run: {
  readonly parent: OperationId
  readonly hold: Hold
  readonly caller: Caller
  readonly body: unknown
}) => Promise<object | Download>

/**
 * The service does what was held, for who asked and with what they sent. It is decided again: by the policy and the circumstances of now. Once it has begun, the
 * hold is used up, whatever comes of it.
 */
export const runHold = (deps: Deps, run: RunHeld): Operation<{ holdId: string }, HoldTarget, object | Download, object> =>
  operation({
    name: 'policies.hold.run',
    summary: 'Does what was held and is approved, as who asked for it. Its answer is that of the operation.',
    effect: 'transient',
    route: { method: 'POST', path: `${ROUTE}/run` },
    input: z.strictObject({ holdId: HOLD_ID }),
    output: z.looseObject({}),
    locate: ({ holdId }, caller) => locateHold(deps, holdId, caller),
    uses: readUses,
    facts: holdFacts,
    admit: (target) => {
      if (target.hold?.requester.id !== target.caller.id) return noneOfYours()
      const obstacle = admitOpen(target)
      if (obstacle !== undefined) return obstacle
      return target.input === undefined ? new Problem('conflict', 'The request has ended just now.') : undefined
    },
    execute: async (permit, target) =>
      run({ parent: operationId(target.holdId), hold: found(target.hold), caller: target.caller, body: await readInput(deps, permit, target) }),
    respond: (_target, output) => output,
  })

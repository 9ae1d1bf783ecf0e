import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { type Operation, operation } from '../../operation.ts'
import { REASON } from '../../reason.ts'
import { endOf } from '../desk.ts'
import { type Hold, personKey } from '../hold.ts'
import { HOLD, type HoldView, viewHold } from '../view.ts'
import { obstacleToVoice } from './approve-hold.ts'
import type { Deps } from './deps.ts'
import { admitOpen, HOLD_ID, holdFacts, type HoldTarget, locateHold, noneOfYours, noSuchHold, ROUTE } from './steps.ts'

/** Hold, input and key end in the transaction of the outcome, or nothing does. */
const ending = <Target extends HoldTarget>(deps: Deps) => ({
  output: HOLD,
  effect: 'durable' as const,
  uses: () => [],
  facts: (target: Target) => holdFacts(target),
  record: async (tx: Parameters<Deps['holds']['end']>[0], _target: Target, ended: Hold) => ({
    facts: { rows: await deps.holds.end(tx, ended) },
  }),
  respond: ({ approvals, now }: Target, ended: Hold) => viewHold(ended, approvals, now),
})

export const refuseHold = (deps: Deps): Operation<{ holdId: string; reason: string }, HoldTarget & { reason: string }, Hold, HoldView> =>
  operation({
    ...ending<HoldTarget & { reason: string }>(deps),
    name: 'policies.hold.refuse',
    summary: 'Refuses a held request for good, as somebody who could have approved it.',
    route: { method: 'POST', path: `${ROUTE}/refuse` },
    input: z.strictObject({ holdId: HOLD_ID, reason: REASON }),
    locate: async ({ holdId, reason }, caller) => ({ ...(await locateHold(deps, holdId, caller)), reason }),
    admit: (target) => admitOpen(target) ?? obstacleToVoice(target),
    execute: (_permit, { hold, caller, reason }) => Promise.resolve({ ...endOf(found(hold), 'refused', caller), reason }),
  })

export const withdrawHold = (deps: Deps): Operation<{ holdId: string }, HoldTarget, Hold, HoldView> =>
  operation({
    ...ending(deps),
    name: 'policies.hold.withdraw',
    summary: 'Withdraws a held request, as who asked for it.',
    route: { method: 'POST', path: `${ROUTE}/withdraw` },
    input: z.strictObject({ holdId: HOLD_ID }),
    locate: ({ holdId }, caller) => locateHold(deps, holdId, caller),
    admit: (target) => {
      if (target.hold?.requester.person !== personKey(target.caller)) return noneOfYours()
      return admitOpen(target)
    },
    execute: (_permit, { hold, caller }) => Promise.resolve(endOf(found(hold), 'withdrawn', caller)),
  })

/** By the service itself, once the time for approvals is over. */
export const expireHold = (deps: Deps): Operation<{ holdId: string }, HoldTarget, Hold, HoldView> =>
  operation({
    ...ending(deps),
    name: 'policies.hold.expire',
    summary: 'Ends a held request that was not approved in time, and deletes its input.',
    input: z.strictObject({ holdId: HOLD_ID }),
    locate: ({ holdId }, caller) => locateHold(deps, holdId, caller),
    admit: ({ hold, now }) => {
      if (hold === undefined) return noSuchHold()
      if (hold.state !== 'waiting') return new Problem('conflict', 'It has ended already.')
      return now < hold.deadline ? new Problem('conflict', 'Its time is not over.') : undefined
    },
    execute: (_permit, { hold, caller }) => Promise.resolve(endOf(found(hold), 'expired', caller)),
  })

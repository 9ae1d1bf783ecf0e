import { z } from 'zod'
import { UUID_PATTERN } from '../../../core/ids.ts'
import { type Caller, callerUrn } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import type { Approval, Hold } from '../hold.ts'
import { HOLD, type HoldView, viewHold } from '../view.ts'
import type { Deps } from './deps.ts'

interface Input {
  readonly mine: boolean
  readonly state?: Hold['state'] | undefined
  readonly before?: string | undefined
  readonly limit: number
}
interface Target extends Input {
  readonly caller: Caller
}
interface Result {
  readonly page: readonly { readonly hold: Hold; readonly approvals: readonly Approval[] }[]
  readonly now: Date
}

export const listHolds = ({ holds, databaseNow }: Deps): Operation<Input, Target, Result, { holds: HoldView[] }> =>
  operation({
    name: 'policies.hold.list',
    summary: 'Lists held requests, the newest first.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/holds' },
    input: z.strictObject({
      mine: z
        .enum(['true', 'false'])
        .default('false')
        .transform((text) => text === 'true')
        .meta({ description: 'Only what the caller asked for.' }),
      state: z.enum(['waiting', 'run', 'refused', 'withdrawn', 'expired']).optional(),
      before: z.string().regex(UUID_PATTERN, 'an id is a UUID in lower case').optional().meta({ description: 'The last id of the page before.' }),
      limit: z.coerce.number().int().min(1).max(100).default(50),
    }),
    output: z.strictObject({ holds: z.array(HOLD) }),
    locate: (input, caller) => Promise.resolve({ ...input, caller }),
    uses: () => [],
    // Rules let people list what is their own by `requester: $caller`.
    facts: ({ mine, caller }) => ({ public: mine ? { requester: callerUrn(caller) } : {} }),
    execute: async (_permit, { mine, caller, state, before, limit }) => {
      const page = await holds.list({
        ...{ limit, ...(mine ? { requesterId: caller.id } : {}), ...(state === undefined ? {} : { state }) },
        ...(before === undefined ? {} : { before }),
      })
      return { page: await Promise.all(page.map(async (hold) => ({ hold, approvals: await holds.approvals(hold.id) }))), now: await databaseNow() }
    },
    outcomeFacts: (_target, { page }) => ({ public: { count: page.length } }),
    respond: (_target, { page, now }) => ({ holds: page.map(({ hold, approvals }) => viewHold(hold, approvals, now)) }),
  })

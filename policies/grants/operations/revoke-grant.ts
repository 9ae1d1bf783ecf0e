import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { callerUrn } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import { REASON } from '../../reason.ts'
import { type Grant, grantRule } from '../grant.ts'
import { GRANT, GRANT_ID, type GrantView, stateOf, viewGrant } from '../view.ts'
import { type Deps, type GrantTarget, locateGrant, noGrant, ONE } from './deps.ts'

const INPUT = z.strictObject({ grantId: GRANT_ID, reason: REASON })
interface Target extends GrantTarget {
  readonly reason: string
}

/** Ends a grant at once, by one officer: every node has heard of it, or decides nothing, within 5 seconds. */
export const revokeGrant = (deps: Deps): Operation<z.infer<typeof INPUT>, Target, Grant, GrantView> =>
  operation<z.infer<typeof INPUT>, Target, Grant, GrantView>({
    name: 'policies.grant.revoke',
    summary: 'Revokes a grant at once: within 5 seconds it allows nothing on any node.',
    effect: 'durable',
    route: { method: 'POST', path: `${ONE}/revoke` },
    input: INPUT,
    output: GRANT,
    locate: async ({ grantId, reason }, caller) => ({ ...(await locateGrant(deps, grantId, caller)), reason }),
    uses: () => [],
    facts: ({ grantId, grant, reason }) => ({
      public: { grant: grantRule({ id: grantId }), reason, ...(grant === undefined ? {} : { callers: grant.callers }) },
    }),
    admit: ({ grant, now }) => {
      if (grant === undefined) return noGrant()
      const state = stateOf(grant, now)
      return state === 'revoked' || state === 'over' ? new Problem('conflict', `The grant is ${state} already.`) : undefined
    },
    execute: (_permit, { grant, by, now, reason }) =>
      Promise.resolve({ ...found(grant), revoked: { by: callerUrn(by), at: now, reason }, version: found(grant).version + 1 }),
    record: async (tx, _target, grant) => ({ facts: { rows: [digestRow(await deps.grants.revoke(tx, grant))] } }),
    respond: ({ now }, grant) => viewGrant(grant, now),
  })

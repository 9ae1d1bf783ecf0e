import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { type Operation, operation } from '../../operation.ts'
import { type Grant, grantRule } from '../grant.ts'
import { GRANT, GRANT_ID, type GrantView, viewGrant } from '../view.ts'
import { type Deps, type GrantTarget, locateGrant, noGrant, ONE, ROUTE } from './deps.ts'

export const getGrant = (deps: Deps): Operation<{ grantId: string }, GrantTarget, Grant, GrantView> =>
  operation({
    name: 'policies.grant.get',
    summary: 'Shows a grant.',
    effect: 'transient',
    route: { method: 'GET', path: ONE },
    input: z.strictObject({ grantId: GRANT_ID }),
    output: GRANT,
    locate: ({ grantId }, caller) => locateGrant(deps, grantId, caller),
    uses: () => [],
    facts: ({ grantId }) => ({ public: { grant: grantRule({ id: grantId }) } }),
    admit: ({ grant }) => (grant === undefined ? noGrant() : undefined),
    execute: (_permit, { grant }) => Promise.resolve(found(grant)),
    respond: ({ now }, grant) => viewGrant(grant, now),
  })

interface Page {
  readonly live: boolean
  readonly before?: string | undefined
  readonly limit: number
}

export const listGrants = ({ grants, now }: Deps): Operation<Page, Page, Grant[], { grants: GrantView[] }> =>
  operation({
    name: 'policies.grant.list',
    summary: 'Lists grants, the newest first.',
    effect: 'transient',
    route: { method: 'GET', path: ROUTE },
    input: z.strictObject({
      live: z
        .enum(['true', 'false'])
        .default('false')
        .transform((text) => text === 'true')
        .meta({ description: 'Only those that count, now or later.' }),
      before: GRANT_ID.optional().meta({ description: 'The last id of the page before.' }),
      limit: z.coerce.number().int().min(1).max(100).default(50),
    }),
    output: z.strictObject({ grants: z.array(GRANT) }),
    locate: (page) => Promise.resolve(page),
    uses: () => [],
    facts: () => ({}),
    execute: (_permit, { live, before, limit }) => grants.list({ live, limit, ...(before === undefined ? {} : { before }) }),
    outcomeFacts: (_target, page) => ({ public: { count: page.length } }),
    respond: (_target, page) => ({ grants: page.map((grant) => viewGrant(grant, now())) }),
  })

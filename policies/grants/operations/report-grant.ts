import { z } from 'zod'
import { found } from '../../../core/found.ts'
import type { FoundEntry } from '../../audit/reader.ts'
import { callerUrn } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import { grantRule } from '../grant.ts'
import { GRANT, GRANT_ID, viewGrant } from '../view.ts'
import { type Deps, type GrantTarget, locateGrant, noGrant, ONE } from './deps.ts'

const INPUT = z.strictObject({
  grantId: GRANT_ID,
  from: z.coerce
    .number()
    .int()
    .min(0)
    .max(Number.MAX_SAFE_INTEGER)
    .default(0)
    .meta({ description: 'The index of the log to start at. For the next page: the last index and one.' }),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
})
type Input = z.infer<typeof INPUT>
interface Target extends GrantTarget {
  readonly page: Input
}

const USE = z
  .strictObject({
    index: z.number().int().meta({ description: 'Its place in the log.' }),
    operationId: z.string(),
    time: z.string(),
    kind: z.string().meta({ description: '`intent`, `outcome` or `refusal`, as in the log.' }),
    operation: z.string(),
    caller: z.string(),
    address: z.string().optional(),
    code: z.string().optional(),
    facts: z.record(z.string(), z.unknown()).optional(),
  })
  .meta({ id: 'GrantUse' })
const REPORT = z.strictObject({ grant: GRANT, uses: z.array(USE) }).meta({ id: 'GrantReport' })

const viewUse = ({ index, entry }: FoundEntry): z.infer<typeof USE> => ({
  ...{ index, operationId: entry.id, time: entry.time, kind: entry.kind, operation: entry.operation, caller: callerUrn(entry.caller) },
  ...(entry.caller.address === undefined ? {} : { address: entry.caller.address }),
  ...(entry.code === undefined ? {} : { code: entry.code }),
  ...(entry.facts === undefined ? {} : { facts: entry.facts }),
})

/** What was done under a grant: every entry of the log whose decision it made. */
export const reportGrant = (deps: Deps): Operation<Input, Target, FoundEntry[], z.infer<typeof REPORT>> =>
  operation<Input, Target, FoundEntry[], z.infer<typeof REPORT>>({
    name: 'policies.grant.report',
    summary: 'Reports what was done under a grant, from the log. What was just done is there within a second or so.',
    effect: 'transient',
    route: { method: 'GET', path: `${ONE}/report` },
    input: INPUT,
    output: REPORT,
    locate: async (page, caller) => ({ ...(await locateGrant(deps, page.grantId, caller)), page }),
    uses: () => [],
    facts: ({ grantId }) => ({ public: { grant: grantRule({ id: grantId }) } }),
    admit: ({ grant }) => (grant === undefined ? noGrant() : undefined),
    execute: async (_permit, { grantId, page: { from, limit } }) => {
      const query = await deps.searcher.prepare({ field: 'rule', is: [grantRule({ id: grantId })] })
      return [...(await deps.searcher.search(query, { order: 'oldest', from, limit })).entries]
    },
    outcomeFacts: (_target, uses) => ({ public: { found: uses.length } }),
    respond: ({ grant, now }, uses) => ({ grant: viewGrant(found(grant), now), uses: uses.map(viewUse) }),
  })

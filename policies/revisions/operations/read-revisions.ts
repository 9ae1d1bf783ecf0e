import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import { type Operation, operation } from '../../operation.ts'
import type { Activation } from '../activation.ts'
import type { PolicyNode, RuleHits } from '../activation-store.ts'
import { ACTIVATION, type ActivationView, REVISION, viewActivation } from '../view.ts'
import type { Deps } from './deps.ts'

interface Page {
  readonly before?: number | undefined
  readonly limit: number
}
interface Listed {
  readonly activations: readonly Activation[]
  readonly nodes: readonly PolicyNode[]
  readonly now: Date
}

const NODE = z
  .strictObject({ node: z.string(), number: z.number().int(), renewedAt: z.string() })
  .meta({ id: 'PolicyNode', description: 'A process of the service, and the activation that it decides by. It refuses 5 s after it last renewed its lease.' })

export const listRevisions = ({
  activations,
  databaseNow,
}: Deps): Operation<Page, Page, Listed, { activations: ActivationView[]; nodes: z.infer<typeof NODE>[] }> =>
  operation({
    name: 'policies.revision.list',
    summary: 'Lists the policies that were put to work, the newest first, and what each node runs.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/revisions' },
    input: z.strictObject({
      before: z.coerce.number().int().min(1).max(2_147_483_647).optional().meta({ description: 'The last number of the page before.' }),
      limit: z.coerce.number().int().min(1).max(100).default(20),
    }),
    output: z.strictObject({ activations: z.array(ACTIVATION), nodes: z.array(NODE) }),
    locate: (page) => Promise.resolve(page),
    uses: () => [],
    facts: () => ({}),
    execute: async (_permit, { before, limit }) => {
      const [page, nodes, now] = await Promise.all([
        activations.list({ limit, ...(before === undefined ? {} : { before }) }),
        activations.nodes(),
        databaseNow(),
      ])
      return { activations: page, nodes, now }
    },
    respond: (_target, { activations: page, nodes, now }) => ({
      activations: page.map((one) => viewActivation(one, now)),
      nodes: nodes.map(({ node, number, renewedAt }) => ({ node, number, renewedAt: renewedAt.toISOString() })),
    }),
  })

interface Target {
  readonly revision: string
  readonly activation: Activation | undefined
  readonly now: Date
}
const HITS = z
  .strictObject({ rule: z.string(), hits: z.number().int(), firstAt: z.string(), lastAt: z.string() })
  .meta({ id: 'RuleHits', description: 'How often a rule decided, on all nodes. Some seconds behind.' })
const OUTPUT = z.strictObject({ activation: ACTIVATION, text: z.string(), hits: z.array(HITS) }).meta({ id: 'PolicyRevision' })

export const getRevision = ({
  activations,
  databaseNow,
}: Deps): Operation<{ revision: string }, Target, { hits: readonly RuleHits[] }, z.infer<typeof OUTPUT>> =>
  operation({
    name: 'policies.revision.get',
    summary: 'Shows a policy that was put to work: its text, and how often its rules decided.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/revisions/{revision}' },
    input: z.strictObject({
      revision: REVISION,
    }),
    output: OUTPUT,
    locate: async ({ revision }) => ({ revision, activation: await activations.findRevision(revision), now: await databaseNow() }),
    uses: () => [],
    facts: ({ revision }) => ({ public: { revision } }),
    admit: ({ activation }) => (activation === undefined ? new Problem('not-found', 'No policy of that revision was ever put to work.') : undefined),
    execute: async (_permit, { revision }) => ({ hits: await activations.hits(revision) }),
    respond: ({ activation, now }, { hits }) => ({
      activation: viewActivation(found(activation), now),
      text: found(activation).text,
      hits: hits.map(({ rule, hits: count, firstAt, lastAt }) => ({ rule, hits: count, firstAt: firstAt.toISOString(), lastAt: lastAt.toISOString() })),
    }),
  })

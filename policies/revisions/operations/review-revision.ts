import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { Problem } from '../../../core/problem.ts'
import type { Difference, OperationFacts } from '../../firewall/index.ts'
import { type Operation, operation } from '../../operation.ts'
import { type Activation, revisionOf } from '../activation.ts'
import type { Review } from '../review.ts'
import type { Reviewer, Unreviewed } from '../reviewer.ts'
import { POLICY_TEXT, REVISION } from '../view.ts'
import type { Deps } from './deps.ts'

interface ReviewDeps extends Pick<Deps, 'activations' | 'databaseNow'> {
  readonly reviewer: Pick<Reviewer, 'review'>
  /** All operations. */
  readonly operations: () => readonly OperationFacts[]
}

const UNDECIDED = z.array(z.string()).meta({ description: 'Why there may be more than is told. Empty: it is all.' })
const MAX_BODY_BYTES = 2 * 1024 * 1024

const FINDING = z
  .strictObject({
    anomaly: z.enum(['unreachable', 'shadowed', 'redundant', 'correlated', 'generalised', 'expired', 'never-hit', 'undecided']),
    rule: z.string(),
    by: z.array(z.string()).meta({ description: 'The other rules that make it so. Of many, the first.' }),
    message: z.string(),
  })
  .meta({ id: 'PolicyFinding', description: 'docs/policy.md, "Rules of no use".' })
const FAULT = z.strictObject({ name: z.string(), message: z.string(), line: z.number().int().optional(), column: z.number().int().optional() })
const ANALYSIS = z
  .strictObject({
    revision: REVISION,
    rules: z.number().int(),
    tests: z.number().int(),
    failed: z.array(FAULT).meta({ description: 'Tests of its own that it fails, 100 at most.' }),
    findings: z.array(FINDING).meta({ description: 'Of a kind 1,000 at most.' }),
    more: z.record(z.string(), z.number().int()).meta({ description: 'How many more of a kind there are.' }),
    undecided: UNDECIDED,
  })
  .meta({ id: 'PolicyAnalysis' })
type AnalysisView = z.infer<typeof ANALYSIS>

interface AnalyseInput {
  readonly text: string
}
interface AnalyseTarget extends AnalyseInput {
  readonly revision: string
  /** Of a policy that has run: how often its rules decided. */
  readonly hits: ReadonlyMap<string, number> | undefined
  readonly now: Date
}

export const analyseRevision = ({
  activations,
  databaseNow,
  reviewer,
  operations,
}: ReviewDeps): Operation<AnalyseInput, AnalyseTarget, Review | Unreviewed, AnalysisView> =>
  operation({
    name: 'policies.revision.analyse',
    summary: 'Looks at a policy before it is put to work: its tests, and rules that are of no use.',
    effect: 'transient',
    route: { method: 'POST', path: '/v1/policies/revisions/analyse', maxBodyBytes: MAX_BODY_BYTES },
    input: z.strictObject({ text: POLICY_TEXT }),
    output: ANALYSIS,
    locate: async ({ text }) => {
      const [revision, now] = [revisionOf(text), await databaseNow()]
      const hasRun = (await activations.findRevision(revision)) !== undefined
      return { text, revision, now, hits: hasRun ? new Map((await activations.hits(revision)).map(({ rule, hits }) => [rule, hits])) : undefined }
    },
    uses: () => [],
    facts: ({ revision }) => ({ public: { revision } }),
    execute: async (_permit, { text, hits, now }) =>
      readable(await reviewer.review({ kind: 'analyse', text, operations: operations(), at: now.getTime(), ...(hits === undefined ? {} : { hits }) })),
    respond: ({ revision }, reviewed) => {
      const nothing = { rules: 0, tests: 0, failed: [], findings: [], more: {} }
      if (reviewed.ok !== true) return { revision, ...nothing, undecided: undecidedOf(reviewed) }
      const { findings, more, failed, rules, tests } = found(reviewed.analysis)
      return {
        ...{ revision, rules, tests, more: { ...more }, undecided: [] },
        findings: findings.map((one) => ({ ...one, by: [...one.by] })),
        failed: failed.map(({ name, message, line, column }) => ({
          ...{ name, message },
          ...(line === undefined ? {} : { line }),
          ...(column === undefined ? {} : { column }),
        })),
      }
    },
  })

const END = z.strictObject({ effect: z.enum(['allow', 'deny', 'hold']), rule: z.string() })
const REGION = z
  .strictObject({
    change: z.enum(['newly-allowed', 'newly-denied', 'newly-held', 'changed-terms']),
    before: END,
    after: END,
    where: z.array(z.string()).meta({ description: 'What part of all requests the example is of.' }),
    example: z
      .strictObject({
        caller: z.string(),
        operation: z.string(),
        address: z.string().optional(),
        listener: z.string().optional(),
        strength: z.string().optional(),
        usesKey: z.boolean(),
        facts: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
        at: z.string(),
      })
      .meta({ description: 'A request that the two do decide so. An explanation can be asked for it.' }),
  })
  .meta({ id: 'PolicyRegion' })
const DIFFERENCE = z
  .strictObject({
    base: REVISION,
    revision: REVISION,
    regions: z.array(REGION).meta({ description: 'What is decided differently, 500 at most.' }),
    undecided: UNDECIDED,
  })
  .meta({ id: 'PolicyDifference' })
type DifferenceView = z.infer<typeof DIFFERENCE>

interface CompareInput {
  readonly text: string
  readonly base?: string | undefined
}
interface CompareTarget {
  readonly text: string
  readonly revision: string
  readonly base: Activation | undefined
  readonly now: Date
}

export const compareRevision = ({
  activations,
  databaseNow,
  reviewer,
  operations,
}: ReviewDeps): Operation<CompareInput, CompareTarget, Review | Unreviewed, DifferenceView> =>
  operation({
    name: 'policies.revision.compare',
    summary: 'Tells what a policy would decide otherwise than the one in force, or than one of before, each with a request.',
    effect: 'transient',
    route: { method: 'POST', path: '/v1/policies/revisions/compare', maxBodyBytes: MAX_BODY_BYTES },
    input: z.strictObject({ text: POLICY_TEXT, base: REVISION.optional().meta({ description: 'Default: the one that was put to work last.' }) }),
    output: DIFFERENCE,
    locate: async ({ text, base }) => ({
      ...{ text, revision: revisionOf(text), now: await databaseNow() },
      base: base === undefined ? await activations.latest() : await activations.findRevision(base),
    }),
    uses: () => [],
    facts: ({ revision, base }) => ({ public: { revision, ...(base === undefined ? {} : { base: base.revision }) } }),
    admit: ({ base }) => (base === undefined ? new Problem('not-found', 'No policy of that revision was ever put to work.') : undefined),
    execute: async (_permit, { text, base, now }) =>
      readable(await reviewer.review({ kind: 'compare', text, base: found(base).text, operations: operations(), at: now.getTime() })),
    respond: ({ revision, base }, reviewed) => {
      const ends = { base: found(base).revision, revision }
      if (reviewed.ok !== true) return { ...ends, regions: [], undecided: undecidedOf(reviewed) }
      const { regions, undecided } = found(reviewed.difference)
      return { ...ends, regions: regions.map(viewRegion), undecided: [...undecided] }
    },
  })

type Region = Difference['regions'][number]

const viewRegion = ({ change, before, after, where, example }: Region): z.infer<typeof REGION> => {
  const { caller, operation: name, uses, facts, at } = example
  return {
    ...{ change, before, after, where: [...where] },
    example: {
      ...{ caller: `${caller.kind}:${caller.name}`, operation: name, usesKey: uses.length > 0, at: new Date(at).toISOString() },
      ...(caller.address === undefined ? {} : { address: caller.address }),
      ...(caller.listener === undefined ? {} : { listener: caller.listener }),
      ...(caller.strength === undefined ? {} : { strength: caller.strength }),
      facts: Object.fromEntries(Object.entries(facts).filter((fact): fact is [string, string | number | boolean] => !Array.isArray(fact[1]))),
    },
  }
}

/** Throws where one of the two is no policy that this version of the service can use. */
function readable(reviewed: Review | Unreviewed): Review | Unreviewed {
  if (reviewed.ok !== false) return reviewed
  if (reviewed.of === 'text') throw new Problem('request-invalid', 'The policy cannot be used. See `faults`.', { faults: reviewed.faults.slice(0, 101) })
  throw new Problem('conflict', 'The policy that it is to be compared with names what this version of the service has not. See `faults`.', {
    faults: reviewed.faults.slice(0, 101),
  })
}

const undecidedOf = (reviewed: Exclude<Review | Unreviewed, { ok: true }>): string[] => (reviewed.ok === 'undecided' ? [reviewed.reason] : [])

import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { UUID_PATTERN } from '../../../core/ids.ts'
import { Problem } from '../../../core/problem.ts'
import type { Entry } from '../../audit/entry.ts'
import type { LogReader } from '../../audit/reader.ts'
import { CARDS_APART } from '../../card-questions.ts'
import { ADMITTED_AT_ANY_TIME, CALLER_KINDS, type CallerKind, LISTENERS, needsAdmission, STRENGTHS } from '../../caller.ts'
import { type Asked, type Decision, PolicyError } from '../../firewall/index.ts'
import type { Explanation } from '../../firewall/explain.ts'
import { decideWithGrants, type Grant, grantIdOf } from '../../grants/grant.ts'
import type { GrantStore } from '../../grants/grant-store.ts'
import { type Operation, operation } from '../../operation.ts'
import type { Activation } from '../activation.ts'
import { LEASE_MS, LEASE_RULE } from '../keeper.ts'
import type { PastPolicies, PastPolicy } from '../past-policies.ts'
import { REVISION } from '../view.ts'
import { questionOf } from '../past-question.ts'
import { RECOVERY_RULE } from '../recovery.ts'
import type { Deps } from './deps.ts'

interface ExplainDeps extends Pick<Deps, 'activations'> {
  readonly reader: LogReader
  readonly grants: Pick<GrantStore, 'find' | 'countingAt'>
  readonly policies: PastPolicies
}

const OPERATION_ID = z.string().regex(UUID_PATTERN, 'an id is a UUID in lower case').meta({ description: 'Of the operation.' })

/** The first entry of an operation that tells a decision. */
async function findDecided(reader: LogReader, operationId: string): Promise<Entry | undefined> {
  const entries = await reader.search({ from: 0, limit: 10, operationId })
  return entries.map(({ entry }) => entry).find(({ decision }) => decision !== undefined)
}

/** The grant that decided, where one did. Its node may have heard of its revocation as late as its lease let it. */
async function findGranted(grants: ExplainDeps['grants'], entry: Entry | undefined): Promise<readonly Grant[]> {
  const id = entry?.decision && grantIdOf(entry.decision.rule)
  const grant = id === undefined ? undefined : await grants.find(id)
  return grant === undefined ? [] : [grant]
}

const noDecision = (): Problem =>
  new Problem(
    'not-found',
    'The log has no decision of this operation. One that has just ended is there within a second or so; an old one may be in the archive of the log alone.',
  )

const EXPLANATION = z
  .strictObject({
    effect: z.enum(['allow', 'deny', 'hold']),
    rule: z.string(),
    revision: z.string(),
    reason: z.string(),
    zones: z.array(z.string()).meta({ description: 'The zones that the request comes from.' }),
    chain: z.string().nullable().meta({ description: 'The chain that it enters.' }),
    nearMisses: z.array(
      z
        .strictObject({
          rule: z.string(),
          effect: z.enum(['allow', 'deny', 'hold']),
          dimension: z.string().meta({ description: 'The first condition that stopped it.' }),
          found: z.string(),
          wanted: z.string(),
          stops: z.number().int().meta({ description: 'How many conditions stopped it.' }),
        })
        .meta({ id: 'NearMiss' }),
    ),
    more: z.number().int().meta({ description: 'How many more near misses there are.' }),
  })
  .meta({ id: 'Explanation' })
type ExplanationView = z.infer<typeof EXPLANATION>

const viewExplanation = ({ effect, rule, revision, reason, zones, chain, nearMisses, more }: Explanation): ExplanationView => ({
  ...{ effect, rule, revision, reason, zones: [...zones], chain, nearMisses: [...nearMisses], more },
})

const SCALAR = z.union([z.string().max(256), z.number(), z.boolean()])
const IMAGINED = z
  .strictObject({
    caller: z
      .string()
      .regex(new RegExp(`^(${CALLER_KINDS.join('|')}|system):[a-z0-9][a-z0-9._-]{0,63}$`), 'a caller is written kind:name')
      .meta({ description: '`module:billing`' }),
    operation: z.string().max(128).meta({ description: '`kms.key.sign`' }),
    address: z.union([z.ipv4(), z.ipv6()]).optional(),
    listener: z.enum(LISTENERS).optional().meta({ description: 'Default `tls`.' }),
    strength: z.enum(STRENGTHS).optional().meta({ description: 'Default `certificate`.' }),
    admitted: z.boolean().optional().meta({ description: 'Whether a vendor or module is admitted. Default: yes.' }),
    usesKey: z.boolean().optional(),
    facts: z.record(z.string().max(64), SCALAR).optional(),
    at: z.iso.datetime({ offset: true }).optional().meta({ description: 'RFC 3339. Default: now.' }),
  })
  .meta({ id: 'ImaginedRequest' })
interface ExplainInput {
  readonly operationId?: string | undefined
  readonly request?: z.infer<typeof IMAGINED> | undefined
  readonly revision?: string | undefined
}
interface Target {
  readonly question: Asked | undefined
  readonly activation: Activation | undefined
  readonly granted: readonly Grant[]
  readonly input: ExplainInput
}

/** Why a request was, or would be, decided as it is. Of one that was made: by the policy of then. */
export const explainDecision = ({ activations, reader, grants, policies }: ExplainDeps): Operation<ExplainInput, Target, Explanation, ExplanationView> =>
  operation({
    name: 'policies.decision.explain',
    summary: 'Explains the decision of a request, made or imagined: the rule, and what stopped the others.',
    effect: 'transient',
    route: { method: 'POST', path: '/v1/policies/explain' },
    input: z
      .strictObject({
        operationId: OPERATION_ID.optional(),
        request: IMAGINED.optional(),
        revision: REVISION.optional().meta({ description: 'Of an imagined request. Default: what is in force.' }),
      })
      .refine(
        ({ operationId, request, revision }) => (operationId === undefined) !== (request === undefined) && (request !== undefined || revision === undefined),
        {
          message: 'either operationId, or request and perhaps revision',
        },
      ),
    output: EXPLANATION,
    locate: async (input): Promise<Target> => {
      if (input.request !== undefined) {
        const activation = input.revision === undefined ? await activations.latest() : await activations.findRevision(input.revision)
        const question = imagined(input.request)
        return { input, question, activation, granted: await grants.countingAt(new Date(question.at)) }
      }
      const entry = await findDecided(reader, found(input.operationId))
      const question = entry && questionOf(entry)
      const activation = entry?.decision && (await activations.findRevision(entry.decision.revision))
      return { input, question, activation, granted: await findGranted(grants, entry) }
    },
    uses: () => [],
    facts: ({ input: { operationId, request } }) => ({ public: operationId === undefined ? { asked: found(request).operation } : { operationId } }),
    admit: ({ question, activation }) => {
      if (question === undefined) return noDecision()
      return activation === undefined ? new Problem('not-found', 'That revision was never put to work.') : undefined
    },
    execute: (_permit, { input, question, activation, granted }) => {
      const explanation = readyPolicy(policies, activation).explain(found(question))
      const { effect, rule, reason } = decideWithGrants(explanation, found(question), granted, input.request === undefined ? LEASE_MS : 0)
      return Promise.resolve({ ...explanation, effect, rule, reason })
    },
    respond: (_target, explanation) => viewExplanation(explanation),
  })

function imagined({
  caller,
  operation: name,
  address,
  listener = 'tls',
  strength = 'certificate',
  admitted = true,
  usesKey = false,
  facts = {},
  at,
}: z.infer<typeof IMAGINED>): Asked {
  const [kind = '', called = ''] = caller.split(':')
  const from = kind === 'system' ? {} : { listener, strength, ...(address === undefined ? {} : { address }) }
  return {
    ...{ operation: name, facts, at: at === undefined ? Date.now() : Date.parse(at) },
    caller: {
      kind: kind as CallerKind,
      name: called,
      id: 'imagined',
      ...from,
      ...(admitted && needsAdmission(kind) ? { admittedUntil: ADMITTED_AT_ANY_TIME } : {}),
    },
    uses: usesKey ? [{ action: 'sign', keyId: 'imagined' as never }] : [],
  }
}

function readyPolicy(policies: PastPolicies, activation: Activation | undefined): PastPolicy {
  try {
    return policies.of(found(activation))
  } catch (error) {
    if (error instanceof PolicyError)
      throw new Problem('conflict', 'The policy of then names operations that this version of the service has not: ask one of that version.')
    throw error
  }
}

interface RerunTarget {
  readonly operationId: string
  readonly entry: Entry | undefined
  readonly activation: Activation | undefined
  readonly granted: readonly Grant[]
}
interface Rerun {
  readonly effect: 'allow' | 'deny' | 'hold'
  readonly rule: string
}
const RERUN = z
  .strictObject({
    operationId: z.string(),
    revision: z.string(),
    recorded: z.strictObject({ effect: z.enum(['allow', 'deny']), rule: z.string(), code: z.string().optional() }),
    rerun: z.strictObject({ effect: z.enum(['allow', 'deny', 'hold']), rule: z.string() }),
    agrees: z.boolean(),
  })
  .meta({ id: 'DecisionRerun' })

/** Codes of refusals for a claim of the rule (a rate, a quota, approvals) that a decision alone does not see. */
const CLAIMED: ReadonlySet<string | undefined> = new Set(['rate-exceeded', 'quota-exceeded', 'held'])

/** Rules that no policy has: the node had no lease on one, or the one in force was of no use to it. */
const WITHOUT_POLICY: ReadonlySet<string | undefined> = new Set([LEASE_RULE, RECOVERY_RULE])

/** Makes a decision of the past again, from its entry and the policy of then. */
export const rerunDecision = ({
  activations,
  reader,
  grants,
  policies,
}: ExplainDeps): Operation<{ operationId: string }, RerunTarget, Rerun, z.infer<typeof RERUN>> =>
  operation({
    name: 'policies.decision.rerun',
    summary: 'Makes a decision of the past again, from its entry in the log and the policy of then.',
    effect: 'transient',
    route: { method: 'GET', path: '/v1/policies/decisions/{operationId}/rerun' },
    input: z.strictObject({ operationId: OPERATION_ID }),
    output: RERUN,
    locate: async ({ operationId }) => {
      const entry = await findDecided(reader, operationId)
      const activation = entry?.decision && (await activations.findRevision(entry.decision.revision))
      return { operationId, entry, activation, granted: await findGranted(grants, entry) }
    },
    uses: () => [],
    facts: ({ operationId }) => ({ public: { operationId } }),
    admit: ({ entry, activation }) => {
      if (entry === undefined || questionOf(entry) === undefined) return noDecision()
      return activation === undefined || WITHOUT_POLICY.has(found(entry).decision?.rule)
        ? new Problem('conflict', `No policy decided this: ${String(entry.decision?.rule)} did, before any policy was asked or because none could be.`)
        : undefined
    },
    execute: (_permit, { entry, activation, granted }) => {
      const question = found(questionOf(found(entry)))
      const { effect, rule } = decideWithGrants(decideOr(readyPolicy(policies, activation), question), question, granted, LEASE_MS)
      return Promise.resolve({ effect, rule })
    },
    outcomeFacts: (target, rerun) => ({ public: { agrees: agrees(found(target.entry), rerun) } }),
    respond: ({ operationId, entry }, rerun) => {
      const { decision, code } = found(entry)
      const { effect, rule, revision } = found(decision)
      return { operationId, revision, recorded: { effect, rule, ...(code === undefined ? {} : { code }) }, rerun, agrees: agrees(found(entry), rerun) }
    },
  })

/** An error in deciding was a denial. */
function decideOr(policy: PastPolicy, question: Asked): Decision {
  try {
    return policy.decide(question)
  } catch {
    return { effect: 'deny', rule: 'error', revision: 'unknown', reason: '' }
  }
}

/** A rule whose claim could not be settled, and what was held, are recorded as denied; what was held and then run as allowed. */
function agrees({ decision, code }: Entry, { effect, rule }: Rerun): boolean {
  // It is of one kind of card among several, and that kind was allowed.
  if (decision?.rule === CARDS_APART) return effect !== 'deny'
  if (decision?.rule !== rule) return false
  return (effect === 'deny') === (decision.effect === 'deny' && !CLAIMED.has(code))
}

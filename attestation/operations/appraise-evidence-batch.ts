import { z } from 'zod'
import { base64url, frame, fromBase64, sha256 } from '../../core/bytes.ts'
import type { Problem } from '../../core/problem.ts'
import { digestRow } from '../../core/row.ts'
import type { Facts } from '../../policies/audit/log.ts'
import { type Operation, operation } from '../../policies/operation.ts'
import { challengeId } from '../challenge.ts'
import { type SealedChallenge, spentAlready } from '../challenge-store.ts'
import { APPRAISAL, type AppraisedEvidence, appraisalFacts, appraiseAll, viewAppraisal } from './appraised-evidence.ts'
import type { Deps } from './deps.ts'
import { admitted, EVIDENCE_USES, evidenceCards, type EvidenceTarget, evidenceFacts, locateEvidences } from './evidence-target.ts'
import { found } from '../../core/found.ts'
import { EVIDENCE, MOST_CARDS } from './views.ts'

interface Input {
  readonly evidence: readonly string[]
}
interface Item extends EvidenceTarget {
  /** An earlier one of the batch answers the same challenge, and counts. */
  readonly isRepeated: boolean
}
interface Target {
  readonly items: readonly Item[]
  /** SHA-256 of all evidence, framed, base64url: which it was. */
  readonly evidenceDigest: string
  /** By challenge id, why it was not spent. INVARIANT: each run of `reserve` sets it anew, and the last one counts. */
  unspent: ReadonlyMap<string, Problem> | undefined
}
/** In the order of the batch. */
type Result = readonly (AppraisedEvidence | Problem)[]

const OUTPUT = z
  .strictObject({
    results: z
      .array(
        z.union([
          APPRAISAL,
          z
            .strictObject({ problem: z.strictObject({ code: z.string(), detail: z.string() }) })
            .meta({ id: 'EvidenceProblem', description: 'Why this evidence was not evaluated: code and detail of the problem that it would be alone.' }),
        ]),
      )
      .meta({ description: 'In the order of the evidence.' }),
  })
  .meta({ id: 'Appraisals' })

/**
 * Durable effects: as of one evidence: all nonces are spent with the intent, by one statement, before anything is evaluated; then the results; then the outcome
 * with an entry for each evidence. A crash between leaves spent nonces and no verdicts. Evidence that is not evaluated hinders no other.
 */
export const appraiseEvidenceBatch = (deps: Deps): Operation<Input, Target, Result, z.infer<typeof OUTPUT>> =>
  operation({
    name: 'attestation.evidence.appraise-batch',
    summary: `Appraises the evidence of many cards, 1 to ${MOST_CARDS} in a batch, each as if it came alone.`,
    effect: 'durable',
    route: { method: 'POST', path: '/v1/attestation/evidence/batch', maxBodyBytes: 2 * 1024 * 1024 },
    input: z.strictObject({ evidence: z.array(EVIDENCE).min(1).max(MOST_CARDS) }),
    output: OUTPUT,
    locate: async ({ evidence }, caller): Promise<Target> => ({
      items: itemsOf(await locateEvidences(deps, evidence, caller)),
      evidenceDigest: base64url(sha256(frame(evidence.map(fromBase64)))),
      unspent: undefined,
    }),
    uses: () => EVIDENCE_USES,
    facts: ({ items, evidenceDigest }) => ({ public: { method: 'evidence', count: items.length, evidenceDigest } }),
    cards: ({ items }) => items.flatMap(evidenceCards),
    reserve: async (tx, target) => {
      const challenges = challengesOf(target.items)
      const unspent = await deps.challenges.spend(tx, challenges)
      target.unspent = unspent
      return challenges.filter(({ challenge }) => !unspent.has(challengeId(challenge))).map(({ row }) => digestRow(row))
    },
    execute: async (permit, { items, unspent }) => {
      const problems = items.map((item) => problemOf(item, found(unspent)))
      const open = items.filter((_, at) => problems[at] === undefined)
      const appraised = await appraiseAll(deps, permit, open.map(admitted))
      const appraisedOf = new Map(open.map((item, at) => [item, appraised[at]]))
      return items.map((item, at) => problems[at] ?? found(appraisedOf.get(item)))
    },
    record: (_tx, { items }, results) =>
      Promise.resolve({ facts: { public: countsOf(results) }, items: items.map((item, at) => itemFacts(item, found(results[at]))) }),
    respond: (_target, results) => ({
      results: results.map((one) => ('token' in one ? viewAppraisal(one) : { problem: { code: one.code, detail: one.detail } })),
    }),
  })

function itemsOf(targets: readonly EvidenceTarget[]): Item[] {
  const answered = new Set<SealedChallenge>()
  return targets.map((target) => {
    const isRepeated = target.sealed !== undefined && answered.has(target.sealed)
    if (target.sealed !== undefined) answered.add(target.sealed)
    return { ...target, isRepeated }
  })
}

/** Those to spend, each once. */
const challengesOf = (items: readonly Item[]): SealedChallenge[] =>
  items.flatMap(({ isRepeated, sealed }) => (sealed === undefined || isRepeated ? [] : [sealed]))

/** Why it is not evaluated, once it is known which challenges were spent. */
function problemOf({ problem, isRepeated, challenge }: Item, unspent: ReadonlyMap<string, Problem>): Problem | undefined {
  return problem ?? unspent.get(challengeId(found(challenge))) ?? (isRepeated ? spentAlready() : undefined)
}

function countsOf(results: Result): Readonly<Record<string, number>> {
  const counts = { affirming: 0, warning: 0, contraindicated: 0, problems: 0 }
  for (const one of results) counts['token' in one ? one.verdict : 'problems']++
  return counts
}

function itemFacts(item: Item, result: AppraisedEvidence | Problem): Facts {
  const { public: stated = {}, personal = {} } = evidenceFacts(item)
  const told = { ...stated, ...item.card?.facts }
  if (!('token' in result)) return { public: { ...told, problem: result.code }, personal }
  return { public: { ...told, ...appraisalFacts(result) }, personal }
}

import { type KeyObject, randomUUID } from 'node:crypto'
import { databaseClock } from '../../core/database-clock.pg.ts'
import { isEcdsaSignature } from '../../core/ecdsa.ts'
import { Problem } from '../../core/problem.ts'
import type { RowSealer } from '../../core/row.ts'
import type { Sql } from '../../core/tx.ts'
import type { LogReader } from '../audit/reader.ts'
import { type Caller, systemCaller } from '../caller.ts'
import { compilePolicyText, loadPolicy, type LoadedPolicy, type OperationFacts } from '../firewall/index.ts'
import { type Gate, perform } from '../gate.ts'
import type { GrantStore } from '../grants/grant-store.ts'
import type { AnyOperation } from '../operation.ts'
import { type Activation, activationMessage } from './activation.ts'
import { activationTables, PgActivationStore } from './activation-store.pg.ts'
import { PolicyKeeper } from './keeper.ts'
import { activateRevision } from './operations/activate-revision.ts'
import type { Deps, PolicySigner } from './operations/deps.ts'
import { explainDecision, rerunDecision } from './operations/explain-decision.ts'
import { PastPolicies } from './past-policies.ts'
import { confirmRevision, endTrial, rollBackRevision } from './operations/end-trial.ts'
import { establishPolicy } from './operations/establish-policy.ts'
import { getRevision, listRevisions } from './operations/read-revisions.ts'
import { analyseRevision, compareRevision } from './operations/review-revision.ts'
import { readyPolicy } from './recovery.ts'
import { Reviewer } from './reviewer.ts'

export { revisionOf } from './activation.ts'
export type { PolicySigner } from './operations/deps.ts'

export interface RevisionParts {
  readonly sql: Sql
  readonly sealer: RowSealer
  readonly gate: Gate
  readonly reader: LogReader
  readonly signer: PolicySigner
  readonly grants: Pick<GrantStore, 'find' | 'live' | 'countingAt'>
  /** Of the token's policy key. */
  readonly publicKey: KeyObject
  /** All operations, known once everything is put together. */
  readonly operations: () => readonly OperationFacts[]
  readonly officersLike: (caller: Caller) => Promise<readonly Caller[]>
  /** `recovery`: why it is not wholly of use to this version of the service. */
  readonly onChange: (activation: Activation, recovery: string | undefined) => void
  readonly onFailure: (problem: Problem) => void
  /** How long a review of a policy may take. Default: see reviewer.ts. */
  readonly reviewMs?: number
}

/** Which policy runs: changed by two people, on trial first, the same on all nodes. */
export function revisionFeature({
  sql,
  sealer,
  gate,
  reader,
  grants,
  signer,
  publicKey,
  operations,
  officersLike,
  onChange,
  onFailure,
  reviewMs,
}: RevisionParts) {
  const databaseNow = databaseClock(sql)
  const activations = new PgActivationStore({ sql, sealer })
  const load = (text: string): LoadedPolicy => loadPolicy(text, { operations: operations(), now: Date.now() })
  const ready = (text: string): LoadedPolicy => compilePolicyText(text, operations())
  const explaining = { activations, reader, grants, policies: new PastPolicies(ready) }
  const reviewing = { activations, databaseNow, operations, reviewer: new Reviewer({ deadlineMs: reviewMs }) }
  const deps: Deps = { activations, signer, load, officersLike, databaseNow }
  const [system, runOut, establish] = [systemCaller('policies'), endTrial(deps), establishPolicy(deps)]
  const assertSigned = async (activation: Activation): Promise<void> => {
    if (await isEcdsaSignature(publicKey, activationMessage(activation), activation.signature)) return
    throw new Problem('integrity-failed', `The policy activation ${String(activation.number)} is not signed by the token. It was not used.`)
  }
  const keeper = new PolicyKeeper({
    ...{ node: randomUUID(), store: activations, liveGrants: () => grants.live(), onChange, onFailure },
    // Without its tests: they were put to it when it was asked for, and may look at the clock.
    compile: (text) => readyPolicy(text, operations()),
    assertSigned,
    rollBack: async (number) => {
      await perform(gate, runOut, { caller: system, body: { number } })
    },
  })
  const own: readonly AnyOperation[] = [
    ...[listRevisions(deps), getRevision(deps), activateRevision(deps), confirmRevision(deps), rollBackRevision(deps), runOut, establish],
    ...[analyseRevision(reviewing), compareRevision(reviewing)],
    ...[explainDecision(explaining), rerunDecision(explaining)],
  ]
  /** The last activation of a revision, once its signature is found right. */
  const findSigned = async (revision: string): Promise<Activation | undefined> => {
    const activation = await activations.findRevision(revision)
    if (activation !== undefined) await assertSigned(activation)
    return activation
  }
  return { keeper, establish, activations, findSigned, operations: own, sealedTables: activationTables(sql) }
}

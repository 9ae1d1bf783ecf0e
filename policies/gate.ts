import type { z } from 'zod'
import { type Faults, noFaults } from '../core/fault-point.ts'
import { newOperationId, type OperationId } from '../core/ids.ts'
import { asProblem, type Fault, Problem } from '../core/problem.ts'
import type { RowDigest } from '../core/row.ts'
import type { Tx } from '../core/tx.ts'
import { decideForCards } from './card-questions.ts'
import { type ClaimDesks, holdAtLeast, settleClaims, settleRate, type SettlingStep } from './claims.ts'
import type { AuditLog, DecisionRecord, EntryDraft, Facts, LogTx } from './audit/log.ts'
import { type Caller, needsAdmission } from './caller.ts'
import type { Asked, Decision } from './firewall/decide.ts'
import type { Download, Operation, Recorded } from './operation.ts'
import { expirePermit, type KeyUse, newPermit, type Permit } from './permit.ts'

export interface Gate extends ClaimDesks {
  /** Pure. Whatever it throws is a denial. */
  readonly decide: (asked: Asked) => Decision
  readonly log: AuditLog
  readonly faults?: Faults
  /** The time that decisions are for, in milliseconds. Default the system's. */
  readonly now?: () => number
  /** Why this node cannot decide now by its clock: asked before whatever changes something or uses a key. */
  readonly clock?: () => Problem | undefined
  /** Told of each operation that begins; what it answers is called when the operation has ended, however that was. */
  readonly onBegin?: () => () => void
}

export interface Request {
  readonly id?: OperationId
  /** The operation that this one is nested in. */
  readonly parent?: OperationId
  readonly caller: Caller
  /** Body, path and query as one object, not yet checked. */
  readonly body: unknown
  /** The hold that this is the run of: see policies/holds/. */
  readonly holdId?: string
}

/** What is asked for and was decided: what all its entries begin with. */
type Matter = Omit<EntryDraft, 'kind' | 'code' | 'facts'> & {
  readonly decision: DecisionRecord
  /** As the policy saw them. */
  readonly stated: Facts
}

type Outcome<Result> = { readonly ok: true; readonly value: Result } | { readonly ok: false; readonly problem: Problem }

/**
 * The pipeline, the only way to a key: decision, key use, audit record.
 *
 * What a decision claims (rate, approvals, quota) is settled before anything else is done: claims.ts.
 *
 * Order of durable effects of a durable operation, and what a crash after each leaves:
 * 1. reservations + intent, one transaction: an open intent that names its ids, and no key used;
 * 2. the key use: the same, and a result that nobody has and no row names;
 * 3. rows + outcome, one transaction that also closes the intent: all of it, the caller asks again by id.
 * One that uses no key has nothing to announce: all of it is one transaction, or nothing.
 * A transient operation uses the key, then commits its outcome, then answers: a crash between leaves a result that nobody received.
 *
 * Throws the {@link Problem} of a refusal or of a failed outcome, after its entry is committed; `log-unavailable` when it could not be.
 */
export async function perform<Input, Target, Result, Output>(
  gate: Gate,
  op: Operation<Input, Target, Result, Output>,
  request: Request,
): Promise<Output | Download> {
  const end = gate.onBegin?.()
  try {
    return await run(gate, op, request)
  } finally {
    end?.()
  }
}

async function run<Input, Target, Result, Output>(
  gate: Gate,
  op: Operation<Input, Target, Result, Output>,
  { id = newOperationId(), parent, caller, body, holdId }: Request,
): Promise<Output | Download> {
  const input = parse(op.input, body)
  const target = await locate(gate, op, input, { id, operation: op.name, caller })
  const uses = op.uses(target)
  const told = op.facts(target)
  const asked: Asked = { operation: op.name, caller, uses, facts: told.public ?? {}, at: (gate.now ?? Date.now)() }
  const { question, decision: decided } = decideForCards((one) => decide(gate, one), asked, op.cards?.(target) ?? [])
  const stated = { ...told, public: question.facts }
  const decision = holdAtLeast(decided, op.leastHold?.(target))
  const matter: Matter = { id, ...(parent === undefined ? {} : { parent }), operation: op.name, caller, uses, decision: trace(decision, question), stated }
  const facts = decision.record === undefined ? stated : merge(stated, { public: decision.record })

  if (decision.effect === 'deny') return refuse(gate, withFacts(matter, facts), new Problem('forbidden', decision.reason))
  const unreliable = op.effect === 'durable' || uses.length > 0 ? gate.clock?.() : undefined
  if (unreliable !== undefined) return refuse(gate, withFacts(denied(matter), facts), unreliable)
  const exceeded = settleRate(gate, decision)
  if (exceeded !== undefined) return refuse(gate, withFacts(denied(matter), facts), exceeded)
  const obstacle = op.admit?.(target)
  if (obstacle !== undefined) return refuse(gate, withFacts(matter, facts), obstacle)
  const claiming = { id, operation: op.name, effect: op.effect, caller, body, facts: facts.public ?? {}, decision, holdId }
  const claims = await settle(() => settleClaims(gate, claiming))
  if (!claims.ok) {
    if (!isRefusal(claims.problem)) throw claims.problem
    return refuse(gate, withFacts(denied(matter), facts), claims.problem)
  }
  return carryOut(gate, op, matter, target, facts, claims.value)
}

/** What is allowed, and settled but for the steps that belong into its transaction. */
async function carryOut<Input, Target, Result, Output>(
  gate: Gate,
  op: Operation<Input, Target, Result, Output>,
  matter: Matter,
  target: Target,
  facts: Facts,
  steps: readonly SettlingStep[],
): Promise<Output | Download> {
  const uses = matter.uses ?? []
  const faults = gate.faults ?? noFaults

  if (op.effect === 'transient' && steps.length === 0) {
    const outcome = await settle(() => withPermit(uses, (permit) => op.execute(permit, target)))
    const after = outcome.ok && op.outcomeFacts ? merge(facts, op.outcomeFacts(target, outcome.value)) : facts
    await gate.log.append({ ...withFacts(matter, after), kind: 'outcome', code: codeOf(outcome) })
    return answer(op, target, outcome)
  }

  if (uses.length === 0) return performAtOnce(gate, op, matter, target, facts, steps)

  const reserved = await settle(() =>
    gate.log.transact(async ({ tx, append }) => {
      const settled = await settleIn(tx, steps)
      announce(append, matter, merge(facts, settled), (await op.reserve?.(tx, target)) ?? [])
    }),
  )
  if (!reserved.ok) {
    if (!isRefusal(reserved.problem)) throw reserved.problem
    return refuse(gate, withFacts(matter, facts), reserved.problem)
  }
  faults('gate.intent-committed', op.name)
  const outcome = await settle(() => withPermit(uses, (permit) => op.execute(permit, target)))
  faults('gate.executed', op.name)
  const recorded = await record(gate, op, matter, target, outcome, facts)
  faults('gate.outcome-committed', op.name)
  return answer(op, target, recorded)
}

/** A durable operation that uses no key. What keeps it from being done is a refusal: nothing of it stands. */
async function performAtOnce<Input, Target, Result, Output>(
  gate: Gate,
  op: Operation<Input, Target, Result, Output>,
  matter: Matter,
  target: Target,
  facts: Facts,
  steps: readonly SettlingStep[],
): Promise<Output | Download> {
  const done = await settle(async () => {
    const value = await withPermit([], (permit) => op.execute(permit, target))
    gate.faults?.('gate.executed', op.name)
    await gate.log.transact(async (log) => {
      const settled = await settleIn(log.tx, steps)
      announce(log.append, matter, merge(facts, settled), (await op.reserve?.(log.tx, target)) ?? [])
      await write(gate, op, matter, target, { ok: true, value }, facts, log)
    })
    return value
  })
  if (!done.ok) {
    if (done.problem.code === 'log-unavailable' || done.problem.code === 'database-unavailable') throw done.problem
    return refuse(gate, withFacts(matter, facts), done.problem)
  }
  gate.faults?.('gate.outcome-committed', op.name)
  return op.respond(target, done.value)
}

/** Reads. A row that is not what the service wrote is no caller's matter: finding it is recorded. */
async function locate<Input, Target, Result, Output>(
  gate: Gate,
  op: Operation<Input, Target, Result, Output>,
  input: Input,
  entry: Pick<EntryDraft, 'id' | 'operation' | 'caller'>,
): Promise<Target> {
  const located = await settle(() => op.locate(input, entry.caller))
  if (located.ok) return located.value
  if (located.problem.code === 'integrity-failed') return refuse(gate, { ...entry, facts: { public: { found: located.problem.detail } } }, located.problem)
  throw located.problem
}

/** Rows and outcome in one transaction. When the rows cannot be written for a reason of the state (a lost race), the failure is recorded instead. When the log fails, reconciliation closes the intent once it can. */
async function record<Input, Target, Result, Output>(
  gate: Gate,
  op: Operation<Input, Target, Result, Output>,
  matter: Matter,
  target: Target,
  outcome: Outcome<Result>,
  facts: Facts,
): Promise<Outcome<Result>> {
  const written = await settle(() => gate.log.transact((log) => write(gate, op, matter, target, outcome, facts, log)))
  if (written.ok) return outcome
  if (outcome.ok && isRefusal(written.problem)) return record(gate, op, matter, target, { ok: false, problem: written.problem }, facts)
  gate.log.giveUp(matter.id)
  throw written.problem
}

/** Rows that an entry names at most: it has 65,535 bytes. */
const ROWS_OF_AN_ENTRY = 200

/** The intent, which names the rows that the reservation wrote; with items where they are too many for one entry. */
function announce(append: LogTx['append'], matter: Matter, facts: Facts, reserved: readonly RowDigest[]): void {
  const { id, operation, caller } = matter
  append({ ...withFacts(matter, merge(facts, { rows: reserved.slice(0, ROWS_OF_AN_ENTRY) })), kind: 'intent' })
  for (let at = ROWS_OF_AN_ENTRY; at < reserved.length; at += ROWS_OF_AN_ENTRY)
    append({ id, operation, caller, kind: 'item', code: 'ok', facts: { rows: reserved.slice(at, at + ROWS_OF_AN_ENTRY) } })
}

/** Rows, an entry of each item, and the outcome's. */
async function write<Input, Target, Result, Output>(
  gate: Gate,
  op: Operation<Input, Target, Result, Output>,
  matter: Matter,
  target: Target,
  outcome: Outcome<Result>,
  facts: Facts,
  { tx, append }: LogTx,
): Promise<void> {
  const recorded: Recorded = outcome.ok
    ? ((await op.record?.(tx, target, outcome.value)) ?? { facts: op.outcomeFacts?.(target, outcome.value) ?? {} })
    : { facts: { rows: (await op.recordFailure?.(tx, target, outcome.problem)) ?? [] } }
  for (const item of recorded.items ?? []) append({ id: matter.id, operation: matter.operation, caller: matter.caller, kind: 'item', code: 'ok', facts: item })
  append({ ...withFacts(matter, recorded.facts ? merge(facts, recorded.facts) : facts), kind: 'outcome', code: codeOf(outcome) })
  gate.faults?.('gate.outcome-written', op.name)
}

/** Commits the refusal, then throws it. */
async function refuse(gate: Gate, entry: Omit<EntryDraft, 'kind' | 'code'>, problem: Problem): Promise<never> {
  await gate.log.append({ ...entry, kind: 'refusal', code: problem.code })
  throw problem
}

/** An error in deciding is a denial. */
function decide(gate: Gate, asked: Asked): Decision {
  try {
    return gate.decide(asked)
  } catch {
    return { effect: 'deny', rule: 'error', revision: 'unknown', reason: 'The policy could not be decided, so the answer is no.' }
  }
}

/** In their order, in the transaction of the intent. */
async function settleIn(tx: Tx, steps: readonly SettlingStep[]): Promise<Facts> {
  let settled: Facts = {}
  for (const step of steps) settled = merge(settled, await step(tx))
  return settled
}

async function withPermit<Result>(uses: readonly KeyUse[], work: (permit: Permit) => Promise<Result>): Promise<Result> {
  const permit = newPermit(uses)
  try {
    return await work(permit)
  } finally {
    expirePermit(permit)
  }
}

async function settle<Result>(work: () => Promise<Result>): Promise<Outcome<Result>> {
  try {
    return { ok: true, value: await work() }
  } catch (error) {
    return { ok: false, problem: asProblem(error) }
  }
}

function answer<Input, Target, Result, Output>(op: Operation<Input, Target, Result, Output>, target: Target, outcome: Outcome<Result>): Output | Download {
  if (!outcome.ok) throw outcome.problem
  return op.respond(target, outcome.value)
}

/** Whether the state said no (the caller's matter), rather than the service failing. */
const isRefusal = (problem: Problem): boolean => problem.status < 500

const codeOf = (outcome: Outcome<unknown>): string => (outcome.ok ? 'ok' : outcome.problem.code)

/** Entries know two effects: what a rule holds is not denied; that it was not done says the code `held`, and {@link denied}. */
const trace = ({ effect, rule, revision, origin }: Decision, { at, caller: { kind, listener, strength, admittedUntil } }: Asked): DecisionRecord => ({
  ...{ effect: effect === 'deny' ? 'deny' : 'allow', rule, revision, at },
  ...(listener === undefined ? {} : { listener }),
  ...(strength === undefined ? {} : { strength }),
  ...(needsAdmission(kind) ? { admittedUntil: admittedUntil ?? 0 } : {}),
  ...(origin === undefined || origin.zones.length === 0 ? {} : { zones: origin.zones }),
})

/** A rule whose claim cannot be settled does not allow. */
const denied = (matter: Matter): Matter => ({ ...matter, decision: { ...matter.decision, effect: 'deny' } })

/** An entry of the matter with these facts; it tells which of them the policy did not see. */
function withFacts({ stated, ...entry }: Matter, facts: Facts): Omit<EntryDraft, 'kind'> {
  const seen = stated.public ?? {}
  return { ...entry, facts, decision: { ...entry.decision, added: Object.keys(facts.public ?? {}).filter((name) => !Object.hasOwn(seen, name)) } }
}

const merge = (a: Facts, b: Facts): Facts => ({
  public: { ...a.public, ...b.public },
  personal: { ...a.personal, ...b.personal },
  rows: [...(a.rows ?? []), ...(b.rows ?? [])],
})

/** The most faults that are told of one request. */
const MOST_FAULTS = 100

/** The input, checked. Throws `request-invalid` with a JSON pointer for each fault. */
function parse<Input>(schema: z.ZodType<Input>, body: unknown): Input {
  const result = schema.safeParse(body)
  if (result.success) return result.data
  const faults: Fault[] = result.error.issues.slice(0, MOST_FAULTS).map((issue) => ({
    message: issue.message,
    pointer: issue.path.map((step) => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join(''),
  }))
  throw new Problem('request-invalid', 'The request has fields that are missing, unknown or not of the right form. See `faults`, and /openapi.json.', {
    faults,
  })
}

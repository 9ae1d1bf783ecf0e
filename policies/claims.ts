import type { OperationId } from '../core/ids.ts'
import { Problem } from '../core/problem.ts'
import type { Tx } from '../core/tx.ts'
import type { Facts, FactValue } from './audit/log.ts'
import type { Caller } from './caller.ts'
import type { Decision, HoldClaim } from './firewall/decide.ts'
import type { RateTable } from './firewall/rates.ts'
import type { HoldDesk } from './holds/desk.ts'
import type { QuotaDesk } from './quotas/desk.ts'

/** Who settles what decisions claim. A claim that nobody here settles is a refusal: a rule without its limits is another rule. */
export interface ClaimDesks {
  readonly rates?: RateTable
  readonly quotas?: QuotaDesk
  readonly holds?: HoldDesk
}

/** A decision that is not a denial, and the request that it is about. */
export interface Claiming {
  readonly id: OperationId
  readonly operation: string
  readonly effect: 'durable' | 'transient'
  readonly caller: Caller
  readonly body: unknown
  readonly facts: Readonly<Record<string, FactValue>>
  readonly decision: Decision
  /** Of the hold that this request is the run of. */
  readonly holdId: string | undefined
}

/** Done in the transaction before the key use, all or none; what it answers stands in the entry of the intent. A Problem thrown here is a refusal. */
export type SettlingStep = (tx: Tx) => Promise<Facts>

/** The decision with the approvals that an operation needs whatever the policy says. */
export function holdAtLeast(decision: Decision, least: HoldClaim | undefined): Decision {
  if (least === undefined || decision.effect === 'deny') return decision
  const asked = decision.claims?.hold ?? least
  const hold = { ...asked, approvals: Math.max(asked.approvals, least.approvals), withinMs: Math.min(asked.withinMs, least.withinMs) }
  return { ...decision, effect: 'hold', claims: { ...decision.claims, hold } }
}

/** The first claim, before anything is looked at: who asks too often for what is not there uses up their rate too. Undefined where nothing is against it. */
export function settleRate({ rates }: ClaimDesks, { claims, rule, revision }: Decision): Problem | undefined {
  if (claims?.rate === undefined) return undefined
  if (rates === undefined) return unsettled('rate', rule)
  const waitMs = rates.take(claims.rate)
  if (waitMs === undefined) return undefined
  const retryAfterSeconds = Math.ceil(waitMs / 1000)
  return new Problem(
    'rate-exceeded',
    `Rule ${rule} of the policy allows it less often (revision ${revision}). Try again after ${String(retryAfterSeconds)} s.`,
    {
      retryAfterSeconds,
    },
  )
}

/**
 * Hold and quota. What the policy holds is parked, unless this is its run: then the approvals are looked at. A durable operation takes its quota with its intent,
 * a transient one from what the node has leased. Throws the Problem of a refusal; `held` once the request is parked.
 */
export async function settleClaims(desks: ClaimDesks, claiming: Claiming): Promise<readonly SettlingStep[]> {
  const steps = [await settleHold(desks, claiming), await settleQuota(desks, claiming)]
  return steps.filter((step) => step !== undefined)
}

const NO_APPROVALS = { approvals: 0, of: [], withinMs: 0 } as const

async function settleHold({ holds }: ClaimDesks, claiming: Claiming): Promise<SettlingStep | undefined> {
  const { decision, holdId } = claiming
  const asked = decision.claims?.hold
  if (asked === undefined && decision.effect !== 'hold' && holdId === undefined) return undefined
  // What the policy of now does not hold any more uses up its hold all the same.
  const claim = asked ?? (decision.effect === 'allow' ? NO_APPROVALS : undefined)
  if (holds === undefined || claim === undefined) throw unsettled('hold', decision.rule)
  if (holdId === undefined) {
    await holds.park({ ...claiming, claim })
    throw held(claiming, claim)
  }
  const taken = await holds.take(holdId, { ...claiming, claim })
  if (taken instanceof Problem) throw taken
  return taken
}

const held = ({ id, decision }: Claiming, { approvals, of }: { readonly approvals: number; readonly of: readonly string[] }): Problem =>
  new Problem(
    'held',
    `Rule ${decision.rule} of the policy holds this request until ${String(approvals)} of ${of.join(', ')} have approved it. It is kept as ${id}: see GET /v1/policies/holds/${id}, and when it is approved run it with POST /v1/policies/holds/${id}/run.`,
  )

async function settleQuota({ quotas }: ClaimDesks, { decision, effect }: Claiming): Promise<SettlingStep | undefined> {
  const claim = decision.claims?.quota
  if (claim === undefined) return undefined
  if (quotas === undefined) throw unsettled('quota', decision.rule)
  if (effect === 'durable') return (tx) => quotas.take(tx, claim)
  await quotas.takeLeased(claim)
  return undefined
}

const unsettled = (claim: string, rule: string): Problem =>
  new Problem('forbidden', `Rule ${rule} of the policy has a ${claim}, which cannot be enforced here.`)

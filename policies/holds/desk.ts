import { randomBytes } from 'node:crypto'
import { equalBytes } from '../../core/bytes.ts'
import type { OperationId } from '../../core/ids.ts'
import { Problem } from '../../core/problem.ts'
import type { Tx } from '../../core/tx.ts'
import type { Facts, FactValue } from '../audit/log.ts'
import { type Caller, type CallerKind, callerUrn } from '../caller.ts'
import type { Decision, HoldClaim } from '../firewall/decide.ts'
import { type Approval, digestOf, type Hold, isOver, namesCaller, personKey } from './hold.ts'
import type { HoldStore } from './hold-store.ts'

/** A request as the gate has it when the policy says hold. */
export interface HeldRequest {
  readonly id: OperationId
  readonly operation: string
  readonly caller: Caller
  /** As it came. */
  readonly body: unknown
  readonly facts: Readonly<Record<string, FactValue>>
  readonly decision: Decision
  readonly claim: HoldClaim
}

/** A hold that was made, before it is parked. */
export interface NewHold {
  readonly hold: Hold
  readonly body: unknown
}

/** What the gate asks of holds. */
export interface HoldDesk {
  /** Parks it: durable when it returns. */
  park(request: HeldRequest): Promise<void>
  /** What lets the request be done now, to be called in the transaction before it is: it takes the hold, once. A Problem where the request may not be done. */
  take(holdId: string, request: HeldRequest): Promise<((tx: Tx) => Promise<Facts>) | Problem>
}

export interface DeskParts {
  readonly holds: HoldStore
  readonly databaseNow: () => Promise<Date>
  /** Performs `policies.hold.park` as the service itself, nested in the request. */
  readonly park: (parent: OperationId, hold: NewHold) => Promise<void>
  /** Whether the registration and its person are still active: a yes of who was revoked since does not count. */
  readonly isActive: (callerId: string) => Promise<boolean>
}

/** What cannot wait for others: nothing of it is parked. */
const UNHELD: Readonly<Partial<Record<CallerKind, string>>> = {
  system: 'the service’s own jobs do not come again to run it.',
  anonymous: 'a login has a password in it, which is kept nowhere.',
  person: 'their own sessions and password are nobody else’s matter.',
}

export function holdDesk({ holds, databaseNow, park, isActive }: DeskParts): HoldDesk {
  return {
    park: async ({ id, operation, caller, body, facts, decision, claim }) => {
      const why = UNHELD[caller.kind]
      if (why !== undefined)
        throw new Problem('forbidden', `The policy holds what cannot be held: ${why} Whoever keeps the policy is to change the rule ${decision.rule}.`)
      const [salt, askedAt] = [randomBytes(16), await databaseNow()]
      const { kind, name } = caller
      await park(id, {
        body,
        hold: {
          ...{
            id,
            operation,
            requester: { kind, name, id: caller.id, person: personKey(caller) },
            digest: digestOf(salt, body),
            salt,
            facts: JSON.stringify(facts),
          },
          ...{ rule: decision.rule, revision: decision.revision, approvals: claim.approvals, of: claim.of, askedAt, state: 'waiting', version: 1 },
          deadline: new Date(askedAt.getTime() + claim.withinMs),
        },
      })
    },

    take: async (holdId, { id, operation, caller, body, claim }) => {
      const hold = await holds.find(holdId)
      if (hold === undefined || hold.requester.id !== caller.id || hold.operation !== operation)
        return new Problem('not-found', 'You have no held request of that id.')
      const obstacle = obstacleTo(hold, await databaseNow())
      if (obstacle !== undefined) return obstacle
      if (hold.salt === undefined || !equalBytes(hold.digest, digestOf(hold.salt, body))) return new Problem('forbidden', 'This is not what was approved.')
      const approvals = await countedApprovals(hold, claim)
      if (approvals.length < claim.approvals) return new Problem('forbidden', waitsFor(hold, claim, approvals.length))
      return async (tx) => {
        const rows = await holds.end(tx, { ...endOf(hold, 'run', caller), runBy: id })
        return { public: { hold: hold.id, approvers: approvals.map(({ approver }) => callerUrn(approver)) }, rows }
      }
    },
  }

  /** Those that the rule of now counts: by other people, of this input, by who may approve and is still there. */
  async function countedApprovals(hold: Hold, { of }: HoldClaim): Promise<Approval[]> {
    const counted: Approval[] = []
    for (const approval of await holds.approvals(hold.id)) {
      const { approver, digest } = approval
      if (approver.person === hold.requester.person || !equalBytes(digest, hold.digest)) continue
      if (of.some((pattern) => namesCaller(pattern, approver)) && (await isActive(approver.id))) counted.push(approval)
    }
    return counted
  }
}

/** Why nothing can be done with a hold any more. */
export function obstacleTo(hold: Hold, now: Date): Problem | undefined {
  if (hold.state !== 'waiting') return new Problem('conflict', `The request does not wait any more: it was ${hold.state}.`)
  return isOver(hold, now) ? new Problem('conflict', 'The time for approvals is over. Ask for it again.') : undefined
}

/** The hold as it is when it has ended. */
export function endOf(hold: Hold, state: Exclude<Hold['state'], 'waiting'>, by: Caller): Hold {
  const { salt: _, ...rest } = hold
  return { ...rest, state, endedBy: callerUrn(by), version: hold.version + 1 }
}

const waitsFor = ({ id }: Hold, { approvals, of }: HoldClaim, have: number): string =>
  `The policy holds this request: ${String(approvals)} of ${of.join(', ')} must approve ${id}, and ${String(have)} did. When they have, run it: POST /v1/policies/holds/${id}/run.`

import { type Caller, callerUrn } from '../caller.ts'
import type { Asked, Decide, Decision } from '../firewall/index.ts'

/** What a change of the policy takes: one asks and confirms, another looks and approves. */
const ASKING = ['policies.revision.activate', 'policies.hold.run', 'policies.revision.confirm'] as const
const APPROVING = ['policies.hold.get', 'policies.hold.approve'] as const

/**
 * Whether nobody could change this policy again: no two of the officers could, from where the requester is, as the one who asks and the one who approves.
 * The proof: who could not do what, and which rule is in the way. Undefined where two can.
 */
export function lockOut({ decide, officers, at }: { readonly decide: Decide; readonly officers: readonly Caller[]; readonly at: number }): string | undefined {
  const allowed = (caller: Caller, operation: string): Decision => decideOr(decide, { operation, caller, uses: [], facts: {}, at })
  const can = (caller: Caller, operations: readonly string[]): boolean => operations.every((operation) => allowed(caller, operation).effect !== 'deny')
  const asking = officers.filter((officer) => can(officer, ASKING))
  const approving = officers.filter((officer) => can(officer, APPROVING))
  const isPair = asking.some((one) => approving.some((other) => other.person?.id !== one.person?.id))
  if (isPair) return undefined
  const proof = officers.map((officer) => {
    const denied = [...ASKING, ...APPROVING]
      .map((operation) => ({ operation, decision: allowed(officer, operation) }))
      .filter(({ decision }) => decision.effect === 'deny')
    const told =
      denied.length === 0
        ? 'could do all of it, and nobody else could approve'
        : denied.map(({ operation, decision }) => `not ${operation} (${decision.rule})`).join(', ')
    return `${callerUrn(officer)}${officer.address === undefined ? '' : ` from ${officer.address}`}: ${told}`
  })
  return `Under this policy no two officers could change it again. ${proof.length === 0 ? 'There is no officer.' : proof.join('; ')}.`
}

/** An error in deciding is a denial. */
function decideOr(decide: Decide, asked: Asked): Decision {
  try {
    return decide(asked)
  } catch {
    return { effect: 'deny', rule: 'error', revision: 'unknown', reason: '' }
  }
}

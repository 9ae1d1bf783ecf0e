import type { Row } from '../../core/row.ts'
import { callerUrn } from '../caller.ts'
import type { FactValue } from '../audit/log.ts'
import type { Asked, Decision } from '../firewall/decide.ts'
import { parseAddress, parseNetwork } from '../firewall/network.ts'
import { covers } from '../firewall/references.ts'

/** Emergency or temporary access: for a while, these callers may do what no rule allows them. It stands beside the policy, and against no rule of it. */
export interface Grant {
  readonly id: string
  readonly reason: string
  /** URNs. */
  readonly callers: readonly string[]
  /** Names or patterns: `kms.key.sign`, `kms.key.*`. */
  readonly operations: readonly string[]
  /** Zones that it is used from, by the names of the policy of then; none: any zone. */
  readonly zones: readonly string[]
  /** CIDR; none: any address. */
  readonly networks: readonly string[]
  readonly from: Date
  /** Not part of it. */
  readonly until: Date
  /** URN of who asked for it. Who approved it stands in the log. */
  readonly issuedBy: string
  readonly issuedAt: Date
  readonly revoked?: { readonly by: string; readonly at: Date; readonly reason: string }
  readonly version: number
}

export const grantRow = (g: Grant): Row => ({
  table: 'grants',
  schema: 1,
  id: g.id,
  version: g.version,
  columns: {
    reason: g.reason,
    // No member of these lists has a blank.
    callers: g.callers.join(' '),
    operations: g.operations.join(' '),
    zones: g.zones.join(' '),
    networks: g.networks.join(' '),
    from_at: g.from.toISOString(),
    until_at: g.until.toISOString(),
    issued_by: g.issuedBy,
    issued_at: g.issuedAt.toISOString(),
    revoked_by: g.revoked?.by,
    revoked_at: g.revoked?.at.toISOString(),
    revoked_for: g.revoked?.reason,
  },
})

const PREFIX = 'grant:'
/** The name that decisions and entries have it by, as if it were a rule. */
export const grantRule = ({ id }: Pick<Grant, 'id'>): string => `${PREFIX}${id}`
/** The id of the grant that a rule's name is of; undefined for what is none. */
export const grantIdOf = (rule: string): string | undefined => (rule.startsWith(PREFIX) ? rule.slice(PREFIX.length) : undefined)

/**
 * What the policy decided, and, where it is a denial because no rule allows it, what one of the grants makes of that. Neither the guard nor a rule that denies is
 * lifted, nor is a caller let in who comes from no zone, nor does anybody administer keys from the internet or the extranet. `lateMs`: how long after its revocation a grant may have counted, where a node had not heard of it. Pure.
 */
export function decideWithGrants(decision: Decision, asked: Asked, grants: readonly Grant[], lateMs = 0): Decision {
  if (grants.length === 0 || decision.effect !== 'deny' || decision.rule !== 'default') return decision
  const { zones, isOutside } = decision.origin ?? { zones: [], isOutside: true }
  if (zones.length === 0 || (isOutside && isKeyAdministration(asked.operation))) return decision
  const grant = grants.find((one) => isLive(one, asked.at, lateMs) && isOf(one, asked, zones))
  if (grant === undefined) return decision
  return {
    ...{ effect: 'allow', rule: grantRule(grant), revision: decision.revision, reason: `The grant ${grant.id} allows it until ${grant.until.toISOString()}.` },
    record: recordOf(grant, asked, zones),
    origin: { zones, isOutside },
  }
}

/** What makes, shows or ends keys, certificates, callers and those who get keys; and what decides about that. */
const KEY_ADMINISTRATION = [
  ...['kms.key.*', 'kms.certificate.*', 'kms.authority.establish', 'kms.service-certificate.issue', 'kms.root-key.*'],
  ...[
    'policies.caller.*',
    'policies.admission.*',
    'policies.person.*',
    'policies.revision.*',
    'policies.grant.*',
    'policies.hold.approve',
    'policies.hold.refuse',
  ],
  ...['card-personalization.vendor.*', 'card-personalization.transport-key.make', 'card-personalization.order.approve'],
]
const isKeyAdministration = (operation: string): boolean => KEY_ADMINISTRATION.some((pattern) => covers(pattern, operation))

const isLive = ({ from, until, revoked }: Grant, at: number, lateMs: number): boolean =>
  at >= from.getTime() && at < until.getTime() && (revoked === undefined || at < revoked.at.getTime() + lateMs)

const isOf = ({ callers, operations, zones, networks }: Grant, { caller, operation }: Asked, inside: readonly string[]): boolean =>
  callers.includes(callerUrn(caller)) &&
  operations.some((pattern) => covers(pattern, operation)) &&
  (zones.length === 0 || zones.some((zone) => inside.includes(zone))) &&
  (networks.length === 0 || networks.some((network) => holds(network, caller.address)))

function holds(text: string, address: string | undefined): boolean {
  const [network, place] = [parseNetwork(text), address === undefined ? undefined : parseAddress(address)]
  return network !== undefined && place !== undefined && place >= network.first && place <= network.last
}

/** As of a rule with `log: full`. */
const recordOf = ({ issuedBy, reason, until }: Grant, { caller: { strength } }: Asked, zones: readonly string[]): Readonly<Record<string, FactValue>> => ({
  ...{ 'policy.owner': issuedBy, 'policy.reason': reason, 'policy.zones': zones, 'policy.expires': until.toISOString() },
  ...(strength === undefined ? {} : { 'policy.strength': strength }),
})

import type { Row } from '../../core/row.ts'
import type { RegisteredKind } from '../caller.ts'

/** Somebody, whatever they are registered as. The unit of "another": who asked for something and who approves it are two persons. */
export interface Person {
  readonly id: string
  /** Unique, and never given twice. What they log in by. */
  readonly name: string
  /** `revoked`: whatever they are registered as, nothing lets them in. */
  readonly state: 'active' | 'revoked'
  /** URN of who registered them. */
  readonly registeredBy: string
  /** RFC 3339. */
  readonly registeredAt: string
  readonly version: number
}

/** What of a person is sealed. */
export const personRow = (p: Person): Row => ({
  table: 'persons',
  schema: 1,
  id: p.id,
  version: p.version,
  columns: { name: p.name, state: p.state, registered_by: p.registeredBy, registered_at: p.registeredAt },
})

/** The kinds of registrations behind which a person stands. */
export const HUMAN_KINDS = ['officer', 'auditor', 'business'] as const satisfies readonly RegisteredKind[]
export type HumanKind = (typeof HUMAN_KINDS)[number]
export const isHuman = (kind: string): kind is HumanKind => (HUMAN_KINDS as readonly string[]).includes(kind)

/** The kinds that a person may come in as by password and one-time code. System administrators come by certificate alone. */
export const PASSWORD_KINDS = ['business', 'auditor'] as const satisfies readonly HumanKind[]
export const mayUsePassword = (kind: string): boolean => (PASSWORD_KINDS as readonly string[]).includes(kind)

/**
 * Roles that one person may not have at the same time. Who audits does nothing that is audited. That who writes a policy does not approve it is no matter of roles:
 * both are officers, and each change compares the persons.
 */
export const DISJOINT_ROLES: readonly (readonly [HumanKind, HumanKind])[] = [
  ['auditor', 'officer'],
  ['auditor', 'business'],
]

/** The role among `held` that keeps a person from having `wanted` too. */
export const conflictingRole = (wanted: HumanKind, held: readonly string[]): string | undefined =>
  DISJOINT_ROLES.flatMap(([a, b]) => (a === wanted ? [b] : b === wanted ? [a] : [])).find((other) => held.includes(other))

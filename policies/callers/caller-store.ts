import type { Row } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { RegisteredKind } from '../caller.ts'

/** A caller as registered. Kind and name are what its certificates say, what policies match, and what the log names. */
export interface Registration {
  readonly id: string
  readonly kind: RegisteredKind
  readonly name: string
  readonly state: 'active' | 'revoked'
  /** URN of who registered it. */
  readonly registeredBy: string
  /** RFC 3339. */
  readonly registeredAt: string
  /** Id of the person it belongs to, for good. Vendors and modules have none. */
  readonly personId?: string
  readonly version: number
}

/** The callers. Trusted for nothing: each row is sealed, and one that was edited is refused with `integrity-failed`. Reads see what is committed. */
export interface CallerStore {
  find(id: string): Promise<Registration | undefined>
  findByName(kind: RegisteredKind, name: string): Promise<Registration | undefined>
  /** All that were ever made of these persons. */
  listOf(personIds: readonly string[]): Promise<Registration[]>
  /** Of people, from before there were persons: they belong to nobody yet. */
  listUnowned(): Promise<Registration[]>
  /** In the order of kind and name, after `after` (an id). */
  list(page: { readonly after?: string; readonly limit: number }): Promise<Registration[]>
  /** Throws `conflict` when kind and name are taken, by a revoked caller too, or the person has a live registration of this kind. */
  insert(tx: Tx, registration: Registration): Promise<void>
  /** Replaces version - 1. Throws `conflict` when that is not what stands. */
  update(tx: Tx, registration: Registration): Promise<void>
}

/** The one mark that the two first officers are enrolled. Throws `conflict` the second time, for ever. */
export interface Bootstrap {
  /** Ids of the officers that were enrolled, or undefined before. */
  find(): Promise<{ readonly officers: readonly string[] } | undefined>
  burn(tx: Tx, officers: readonly string[]): Promise<void>
}

/** What of a registration is sealed. One that belongs to nobody is sealed as it was before there were persons. */
export const registrationRow = (r: Registration): Row => ({
  table: 'callers',
  schema: r.personId === undefined ? 1 : 2,
  id: r.id,
  version: r.version,
  columns: { kind: r.kind, name: r.name, state: r.state, registered_by: r.registeredBy, registered_at: r.registeredAt, person_id: r.personId },
})

export const bootstrapRow = (officers: readonly string[]): Row => ({
  table: 'bootstrap',
  schema: 1,
  id: 'bootstrap',
  version: 1,
  columns: { officers: officers.join(' ') },
})

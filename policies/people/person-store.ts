import type { Tx } from '../../core/tx.ts'
import type { Person } from './person.ts'

/** The persons. Trusted for nothing: each row is sealed, and one that was edited is refused with `integrity-failed`. Reads see what is committed. */
export interface PersonStore {
  find(id: string): Promise<Person | undefined>
  findByName(name: string): Promise<Person | undefined>
  /** In the order of their names, after `after` (an id). */
  list(page: { readonly after?: string; readonly limit: number }): Promise<Person[]>
  /** Throws `conflict` when the name is taken; a revoked person's name stays taken. */
  insert(tx: Tx, person: Person): Promise<void>
  /** Replaces version - 1. Throws `conflict` when that is not what stands. */
  update(tx: Tx, person: Person): Promise<void>
}

import type { Sql } from '../../core/tx.ts'
import type { AnyOperation } from '../operation.ts'
import type { Deps } from './operations/deps.ts'
import { erasePersonal } from './operations/erase-personal.ts'
import { findPersonal } from './operations/find-personal.ts'
import { revealPersonal } from './operations/reveal.ts'
import { PgPersonalStore } from './personal-store.pg.ts'

/** Personal values behind the log's commitments: shown to auditors, and erased, by two persons. */
export function personalFeature({ sql, ...parts }: Omit<Deps, 'personal'> & { readonly sql: Sql }): { readonly operations: readonly AnyOperation[] } {
  const deps: Deps = { ...parts, personal: new PgPersonalStore(sql) }
  return { operations: [revealPersonal(deps), findPersonal(deps), erasePersonal(deps)] }
}

import type { GenerationsInUse, TokenIdentity } from '../../pkcs11/index.ts'

/** What the database has recorded of generations of the root keys. Not trusted: its rows are sealed. */
export interface GenerationStore {
  /** Cheap. Grows with every change. */
  number(): Promise<number>
  /** Throws `integrity-failed` where a row was changed. */
  load(identity: TokenIdentity): Promise<GenerationsInUse>
}

import type { RowDigest, RowSealer } from '../../../core/row.ts'
import type { SealedTable } from '../../../core/sealed-table.ts'
import type { Tx } from '../../../core/tx.ts'
import type { KeyBackup, RootKeyCeremonies, SealedGeneration, TokenBackup, TokenIdentity } from '../../../pkcs11/index.ts'
import type { Integrity } from '../../../pkcs11/integrity.ts'
import type { GroupTable } from '../../../policies/audit/index.ts'
import type { SamePerson } from '../../../policies/caller.ts'
import type { CeremonyAuthorisation } from '../ceremony-authorisation.ts'
import type { RotationStore } from '../rotation-store.ts'

/** What the operations share. */
export interface Deps {
  readonly hsm: RootKeyCeremonies
  readonly sealer: RowSealer
  readonly integrity: Pick<Integrity, 'reviewRows' | 'reviewGroups' | 'macRows' | 'macGroups'>
  /** As the token was found at the start: of it the first generations, which no rotation has recorded. */
  readonly identity: Pick<TokenIdentity, 'keys' | 'serial'>
  readonly rotations: RotationStore
  readonly authorisations: { insert(tx: Tx, authorisation: CeremonyAuthorisation): Promise<void> }
  readonly backups: {
    /** The last of the token, each MAC checked. Undefined: it has none. */
    load(): Promise<TokenBackup | undefined>
    /** Ids of keys that live in the token and have no backup under this backup KEK. */
    unsaved(kek: Uint8Array): Promise<string[]>
  }
  readonly generations: {
    /** All that were ever recorded, each MAC checked. */
    load(): Promise<SealedGeneration[]>
    insert(tx: Tx, generation: SealedGeneration): Promise<void>
    /** Throws `conflict`. */
    update(tx: Tx, generation: SealedGeneration): Promise<void>
    /** With the generation that it is of; nothing where the token has no backup KEK. */
    insertBackup(tx: Tx, backup: KeyBackup | undefined): Promise<RowDigest[]>
  }
  /** Every table whose rows bear MACs. Asked when it is needed: the features that have them are made later. */
  readonly tables: () => readonly SealedTable[]
  readonly groups: GroupTable
  /** Whether the caller is the person of a URN. */
  readonly samePerson: SamePerson
  /** Processes that do not work with what is recorded now. */
  readonly countBehind: () => Promise<number>
  readonly now: () => Date
  /** Which dates what is durable. */
  readonly databaseNow: () => Promise<Date>
  readonly newId: () => string
  readonly random: (bytes: number) => Uint8Array
  /** Called when there is something to do, or something was recorded of generations. */
  readonly wake: () => void
}

import type { Hsm } from '../../pkcs11/index.ts'
import type { SamePerson } from '../../policies/caller.ts'
import type { BindingStore } from '../binding-store.ts'
import type { ChallengeStore } from '../challenge-store.ts'
import type { DecoyStore } from '../decoy-store.ts'
import type { CardDeps } from '../known-card.ts'
import type { SqnStore } from '../sqn-store.ts'
import type { UnbindRequestStore } from '../unbind-request-store.ts'

/** What the operations share. */
export interface Deps extends CardDeps {
  readonly hsm: Hsm
  readonly challenges: ChallengeStore
  readonly sequences: SqnStore
  readonly decoys: DecoyStore
  readonly bindings: BindingStore
  readonly unbindRequests: UnbindRequestStore
  readonly samePerson: SamePerson
  readonly now: () => Date
  /** The database's clock, which dates what is durable. */
  readonly databaseNow: () => Promise<Date>
  /** The same, off by the time of a statement, and nearly always without one. */
  readonly databaseNearlyNow: () => Promise<Date>
  /** `n` unpredictable bytes. */
  readonly random: (n: number) => Uint8Array
  /** Name and version of the appraising software, for results. */
  readonly build: string
}

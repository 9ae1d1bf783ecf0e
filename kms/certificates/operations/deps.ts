import type { CardFacts } from '../../../core/card-facts.ts'
import type { RowSealer } from '../../../core/row.ts'
import type { CallerKind } from '../../../policies/caller.ts'
import type { Hsm } from '../../../pkcs11/index.ts'
import type { CertificateStore } from '../certificate-store.ts'

/** A registered caller, as certificates need it. Whoever hands it in has checked its row. */
export interface Registration {
  readonly id: string
  readonly kind: CallerKind
  readonly name: string
  readonly state: 'active' | 'revoked'
  readonly version: number
}

/** What the operations on certificates share. */
export interface CertificateDeps {
  readonly hsm: Hsm
  readonly sealer: RowSealer
  readonly certificates: CertificateStore
  readonly callers: { find(callerId: string): Promise<Registration | undefined> }
  /** What policies see of a card, by its id. Whoever hands it in has checked its rows. */
  readonly cardFacts: (cardId: string) => Promise<CardFacts>
  readonly now: () => Date
  /** Cryptographically random bytes. */
  readonly random: (bytes: number) => Uint8Array
  /** The O of every name. 1 to 64 characters. */
  readonly organization: string
  /** Base URL of the CRLs, without a slash at its end. Absent: certificates name none. */
  readonly crlUrl?: string | undefined
}

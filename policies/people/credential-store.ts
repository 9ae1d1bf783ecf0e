import type { SealedRow } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { OtpRecord, PasswordRecord, TicketRecord } from './credentials.ts'

/** What persons log in with. Trusted for nothing, as the persons. Reads see what is committed. */
export interface CredentialStore {
  findPassword(personId: string): Promise<PasswordRecord | undefined>
  /** Several at once, for lists. */
  findPasswords(personIds: readonly string[]): Promise<PasswordRecord[]>
  /** With its sealed row, which the token checks before it uses the secret. */
  findOtp(personId: string): Promise<{ readonly otp: OtpRecord; readonly sealed: SealedRow } | undefined>
  findTicket(digest: Uint8Array): Promise<TicketRecord | undefined>
  findTicketOf(personId: string): Promise<TicketRecord | undefined>
  /** Version 1 is new; any other replaces version - 1. Throws `conflict` when that is not what stands. */
  putPassword(tx: Tx, record: PasswordRecord): Promise<void>
  putOtp(tx: Tx, record: OtpRecord): Promise<void>
  putTicket(tx: Tx, record: TicketRecord): Promise<void>
}

import type { Row } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { CrlRecord, FoundCrl } from './crl.ts'
import type { AuthorityName } from './profile.ts'

/**
 * The CRL of each authority. Not trusted: a reader checks the row's MAC, and the SHA-256 of the DER that the row names.
 * Reads see what was committed when they ran; writes stand with their transaction. Every write is over version `version - 1` and throws `conflict` when that
 * is not the present one: of two that plan at once, one takes the number.
 */
export interface CrlStore {
  find(authority: AuthorityName): Promise<FoundCrl | undefined>
  /** The DER of the issued list, as long as the row has this version. */
  readDer(authority: AuthorityName, version: number): Promise<Uint8Array | undefined>
  /** Takes the planned number; the issued list stays. */
  reserveCrl(tx: Tx, record: CrlRecord): Promise<Row>
  /** The new list in place of the old one. */
  replaceCrl(tx: Tx, record: CrlRecord, der: Uint8Array): Promise<Row>
}

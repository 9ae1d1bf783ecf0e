import type { Row } from '../../core/row.ts'
import type { Tx } from '../../core/tx.ts'
import type { Admission } from './admission.ts'

/** A page of admissions as they are now, in the order of their callers' URNs. */
export interface AdmissionPage {
  /** Only those whose assessment ends before. */
  readonly expiresBefore?: Date
  /** The last caller id of the page before. */
  readonly after?: string
  readonly limit: number
}

/** Admissions. Trusted for nothing: each row is sealed, and one that was edited is refused with `integrity-failed`. Reads see what is committed. */
export interface AdmissionStore {
  /** The version that counts. */
  find(callerId: string): Promise<Admission | undefined>
  /** All versions below `before`, the newest first. */
  history(callerId: string, page: { readonly before?: number; readonly limit: number }): Promise<Admission[]>
  list(page: AdmissionPage): Promise<Admission[]>
  /** Adds a version. Throws `conflict` where it is there already. */
  insert(tx: Tx, admission: Admission): Promise<Row>
}
